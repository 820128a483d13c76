"""Image and label files to tensors, whatever their bit depth, palette or channels: the one home of decoding.

Pillow decodes: torchvision's own decoders are deprecated (0.29), and Pillow names the file's mode, which label files
need.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pixelcontrast.data.retrying import retried
from pixelcontrast.errors import DataError, LabelFormError, UnreadableFileError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LABEL_SUFFIXES = (".png", ".mat")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY = 0
_ID_MODES = ("1", "L", "P", "I", "I;16", "LA")
# Whatever a file is called, no other format is tried: some of Pillow's start other programs, such as Ghostscript.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
_MOST_PIXELS = 2 * 89_478_485  # where Pillow refuses
_LIMIT_VARIABLE = "PIXELCONTRAST_MAX_PIXELS"

Result = TypeVar("Result")


def read_image(path: Path) -> UInt8[Tensor, "3 H W"]:
    """Read an image as RGB: grey is repeated, alpha dropped, 16 bits scaled to 8 (65535 becomes 255).

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image.
    """
    image = _decode(path)
    if image.mode in ("I", "I;16"):
        grey = (np.asarray(image, dtype=np.int64) + 128) // 257
        return torch.from_numpy(grey.clip(0, 255).astype(np.uint8)).expand(3, -1, -1).clone()
    # A view with the channels last in memory, which is what resizing is fastest on.
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def read_labels(path: Path) -> Integer[Tensor, "H W"]:
    """Read label ids as they are stored, in grey or palette PNGs of 1 to 16 bits; a palette gives ids, not its colours.

    A MATLAB file is read as COCO-Stuff's 10k release stores labels, in its matrix S.

    Returns:
        uint8, or int32 for a 16-bit file.

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image.
        LabelFormError: If it holds colours.
    """
    if path.suffix == ".mat":
        return _read_matrix(path)
    image = _decode(path)
    if image.mode not in _ID_MODES:
        raise LabelFormError(
            f"{path}: expected one label id a pixel (a grey or palette PNG), got {len(image.getbands())} channels of "
            "colour; save the class ids themselves, not a drawing of them",
            str(path),
        )
    if image.mode == "LA":
        image = image.getchannel("L")  # the ids are the grey, whatever is transparent
    if image.mode in ("I", "I;16"):
        return torch.from_numpy(np.asarray(image).astype(np.int32))
    ids = torch.from_numpy(np.array(image, dtype=np.uint8))
    depth = _reading(lambda: _grey_bits(path), path)
    # Decoders stretch grey of 2 and 4 bits to 0..255; ids must come back as they were.
    return ids // (255 // (2**depth - 1)) if depth in (2, 4) else ids


def read_colors(path: Path) -> Integer[Tensor, "H W"]:
    """Read a drawing of labels; each pixel's colour as the number red * 65536 + green * 256 + blue.

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image.
    """
    image = read_image(path).int()
    return (image * torch.tensor([1 << 16, 1 << 8, 1], dtype=torch.int32)[:, None, None]).sum(0, dtype=torch.int32)


def _read_matrix(path: Path) -> Integer[Tensor, "H W"]:
    from scipy.io import loadmat, whosmat  # half a second to import, for one data set

    def read() -> Any:
        with path.open("rb") as file:
            shapes = {name: shape for name, shape, _ in whosmat(file)}
            if "S" not in shapes:
                raise ValueError("a MATLAB file without a matrix S of label ids")
            _check_size(shapes["S"], path)
            file.seek(0)
            return loadmat(file, variable_names=["S"])["S"].astype(np.int32)

    matrix = _reading(read, path)
    if matrix.ndim != 2:
        raise LabelFormError(f"{path}: expected a matrix S of two dimensions, got {matrix.ndim}", str(path))
    return torch.from_numpy(matrix)


def _decode(path: Path) -> Image.Image:
    def read() -> Image.Image:
        with warnings.catch_warnings(), _pillow_takes(max_pixels()):
            warnings.simplefilter("ignore")  # about odd metadata, which does not concern pixels
            with Image.open(path, formats=_FORMATS) as image:
                _check_size((image.height, image.width), path)
                image.load()
                return image

    return _reading(read, path)


def _reading(read: Callable[[], Result], path: Path) -> Result:
    """Call `read`, again where a file system fails for a moment; whatever it raises says that the file is unreadable.

    Raises:
        UnreadableFileError: Whatever the decoder raised.
    """
    try:
        return retried(read, path)
    except UnreadableFileError:
        raise
    except Exception as error:  # decoders raise whatever their parsers run into
        raise UnreadableFileError(_why_unreadable(path, error), str(path)) from error


def max_pixels() -> int:
    """Most pixels that an image may declare: Pillow's limit, or what PIXELCONTRAST_MAX_PIXELS says.

    Raises:
        DataError: If that is no positive number.
    """
    wanted = os.environ.get(_LIMIT_VARIABLE, "")
    if not wanted:
        return _MOST_PIXELS
    if not wanted.isdecimal() or int(wanted) < 1:
        raise DataError(f"{_LIMIT_VARIABLE} must be a positive number of pixels, got '{wanted}'")
    return int(wanted)


def _check_size(shape: tuple[int, ...], path: Path) -> None:
    """Refuse what declares too many pixels, before any of them is decoded."""
    if math.prod(shape) > max_pixels():
        size = "x".join(map(str, shape))
        raise UnreadableFileError(
            f"{path}: expected at most {max_pixels()} pixels, got {size}: it may be made to fill the memory. If it is "
            f"meant to be so large, set the environment variable {_LIMIT_VARIABLE}={math.prod(shape)}",
            str(path),
        )


@contextmanager
def _pillow_takes(pixels: int) -> Iterator[None]:
    """Let Pillow decode so many pixels; its own limit, which all users of Pillow share, is changed where need be only.

    It refuses at twice the number that it is given.
    """
    if pixels <= _MOST_PIXELS:
        yield
        return
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; it was there when the data set was opened, or its name in a list is wrong"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{path}: cannot be read: {error.strerror}"
    size = _size_of(path)
    if size == 0:
        return f"{path}: expected an image, got an empty file; copy or download it again"
    if isinstance(error, UnidentifiedImageError):
        error = ValueError("not in a format that is known")
    return (
        f"{path}: expected an image (PNG, JPEG or WebP), got {size} bytes that do not decode: "
        f"{str(error) or type(error).__name__}. "
        "The file is probably truncated or of another format; copy or download it again, or leave it out"
    )


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _grey_bits(path: Path) -> int | None:
    """Bits a pixel of a grey PNG, from its header; None for any other file."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or not head.startswith(_PNG_SIGNATURE) or head[25] != _GRAY:
        return None
    return head[24]
