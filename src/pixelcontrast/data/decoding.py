"""Image and label files to tensors, whatever their bit depth, palette or channels: the one home of decoding.

Pillow decodes: torchvision's own decoders are deprecated (0.29), and Pillow names the file's mode, which label files
need.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from PIL import ExifTags, Image
from torch import Tensor

from pixelcontrast.data import matlab, tiff
from pixelcontrast.data.reading import File, check_size, max_pixels, opened, path_of, pillow_takes, reading
from pixelcontrast.errors import DataError, LabelFormError, UnreadableFileError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
LABEL_SUFFIXES = (".png", ".tif", ".tiff", matlab.SUFFIX)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY = 0
_BITS_PER_SAMPLE = 258  # a tag of TIFFs
_ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "LA")
# Whatever a file is called, no other format is tried: some of Pillow's start other programs, such as Ghostscript.
_LOSSY = ("JPEG", "MPO")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


def read_image(file: File) -> UInt8[Tensor, "3 H W"]:
    """Read an image as RGB: grey is repeated, alpha dropped, a PNG's 16 bits scaled to 8 (65535 becomes 255).

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image, or a TIFF of other than 8 bits or RGB.
    """
    path = path_of(file)
    try:
        image = decode(file)
    except UnreadableFileError as error:
        raise _needs_statistics(path) or error from error
    if max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))) > 8:  # of a TIFF, whose range nobody knows
        raise _needs_statistics(path) or UnreadableFileError(f"{path}: expected RGB of 8 bits, got more", str(path))
    if image.mode in ("I", "I;16"):
        grey = (np.asarray(image, dtype=np.int64) + 128) // 257
        return torch.from_numpy(grey.clip(0, 255).astype(np.uint8)).expand(3, -1, -1).clone()
    # A view with the channels last in memory, which is what resizing is fastest on.
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def read_labels(file: File) -> Integer[Tensor, "H W"]:
    """Read label ids as they are stored, in grey or palette PNGs of 1 to 16 bits; a palette gives ids, not its colours.

    A MATLAB file (version 5 to 7) is read as COCO-Stuff's 10k release stores labels, in its matrix S.

    Returns:
        uint8, or int32 for a 16-bit file.

    Raises:
        UnreadableFileError: If the file is missing, truncated or no image.
        LabelFormError: If it holds colours or is a JPEG, or a MATLAB file no whole numbers.
    """
    path = path_of(file)
    if isinstance(file, Path) and path.suffix.lower() == matlab.SUFFIX:
        return _read_matrix(path)
    image = decode(file)
    if image.format in _LOSSY:
        raise LabelFormError(
            f"{path}: expected ids as they were written, got a JPEG, which changes them; save labels as PNG", str(path)
        )
    if image.mode not in _ID_MODES:
        got = "floating point" if image.mode == "F" else f"{len(image.getbands())} channels of colour"
        raise LabelFormError(
            f"{path}: expected one label id a pixel (a grey or palette PNG), got {got}; save the class ids themselves, "
            "or, if it is a drawing of them, read it by data.name=folder with data.label_colors=true",
            str(path),
        )
    if image.mode == "LA":
        image = image.getchannel("L")  # the ids are the grey, whatever is transparent
    if image.mode in ("I", "I;16", "I;16B"):
        return torch.from_numpy(np.asarray(image).astype(np.int32))
    ids = torch.from_numpy(np.array(image, dtype=np.uint8))
    depth = reading(lambda: _grey_bits(file), file)
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
    matrix = reading(lambda: matlab.read_matrix(path, "S"), path, wanted="labels in a MATLAB file")
    if matrix.ndim != 2:
        raise LabelFormError(f"{path}: expected a matrix S of two dimensions, got {matrix.ndim}", str(path))
    with np.errstate(invalid="ignore"):  # of numbers that are none, which differ from whatever they become
        ids = matrix.astype(np.int32)
    if not np.array_equal(ids, matrix):
        raise LabelFormError(f"{path}: expected whole numbers in its matrix S, the label ids, got others", str(path))
    return torch.from_numpy(np.ascontiguousarray(ids))


def decode(file: File) -> Image.Image:
    """Open and decode a file with Pillow.

    Raises:
        UnreadableFileError: If it is missing, truncated, too large or of a format that is not known.
    """

    def read() -> Image.Image:
        with warnings.catch_warnings(), pillow_takes(max_pixels()):
            warnings.simplefilter("ignore")  # about odd metadata, which does not concern pixels
            with opened(file) as stream, Image.open(stream, formats=FORMATS) as image:
                check_size((image.height, image.width), path_of(file))
                image.load()
                return image

    return reading(read, file)


def is_turned(path: Path) -> bool:
    """Whether a camera's note (EXIF) asks to show an image otherwise than it is read, turned or mirrored.

    Only the header is read. False for a TIFF, which Pillow turns itself, and for a file that cannot be read, which
    reading its pixels tells.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
    except Exception:  # noqa: BLE001 - decoders raise whatever their parsers run into
        return False


def _needs_statistics(path: Path) -> UnreadableFileError | None:
    """The error of a TIFF whose bands are not RGB of 8 bits; None for any other file."""
    if path.suffix.lower() not in tiff.SUFFIXES:
        return None
    try:
        pixels = tiff.read_tiff(path)
    except DataError:
        return None
    return UnreadableFileError(
        f"{path}: expected RGB of 8 bits, or data.mean and data.std, by which other bands are normalised, one number a "
        f"band; got {tiff.describe(pixels)}",
        str(path),
    )


def _grey_bits(file: File) -> int | None:
    """Bits a pixel of a grey PNG, from its header; None for any other file."""
    bits, color_type = png_header(file) or (None, None)
    return bits if color_type == _GRAY else None


def png_header(file: File) -> tuple[int, int] | None:
    """Bits a sample and colour type (0: grey) of a PNG; None for any other file."""
    with opened(file) as stream:
        head = stream.read(26)
    return (head[24], head[25]) if len(head) == 26 and head.startswith(_PNG_SIGNATURE) else None
