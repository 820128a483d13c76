"""Image and label files to tensors, whatever their bit depth, palette or channels: the one home of decoding.

Pillow decodes: torchvision's own decoders are deprecated (0.29), and Pillow names the file's mode, which label files
need.
"""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pixelcontrast.errors import LabelFormError, UnreadableFileError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LABEL_SUFFIXES = (".png", ".mat")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY = 0
_ID_MODES = ("1", "L", "P", "I", "I;16", "LA")


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
    depth = _grey_bits(path)
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
    from scipy.io import loadmat  # half a second to import, for one data set

    try:
        matrix = loadmat(str(path), variable_names=["S"])["S"]
    except KeyError as error:
        message = f"{path}: expected a MATLAB file with a matrix S of label ids; it has none"
        raise UnreadableFileError(message, str(path)) from error
    except (OSError, ValueError, TypeError, NotImplementedError, zlib.error) as error:
        raise UnreadableFileError(_why_unreadable(path, error), str(path)) from error
    return torch.from_numpy(matrix.astype(np.int32))


def _decode(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # about odd metadata, which does not concern pixels
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableFileError(_why_unreadable(path, error), str(path)) from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if not path.exists():
        return f"{path}: no such file; it was there when the data set was opened, or its name in a list is wrong"
    if path.stat().st_size == 0:
        return f"{path}: expected an image, got an empty file; copy or download it again"
    if isinstance(error, UnidentifiedImageError):
        error = ValueError("not in a format that is known")
    return (
        f"{path}: expected an image (PNG, JPEG or WebP), got {path.stat().st_size} bytes that do not decode: {error}. "
        "The file is probably truncated or of another format; copy or download it again, or leave it out"
    )


def _grey_bits(path: Path) -> int | None:
    """Bits a pixel of a grey PNG, from its header; None for any other file."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or not head.startswith(_PNG_SIGNATURE) or head[25] != _GRAY:
        return None
    return head[24]
