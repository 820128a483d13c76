"""Image and label files to tensors, whatever their bit depth, palette or channels: the one home of decoding."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Integer, UInt8
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image, read_file

from pixelcontrast.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3


def read_image(path: Path) -> UInt8[Tensor, "3 H W"]:
    """Read an image as RGB: grey is repeated, alpha dropped, 16 bits scaled to 8 (65535 becomes 255).

    Raises:
        DataError: If the file is missing, truncated or no image.
    """
    return _to_uint8(_decode(path, ImageReadMode.RGB))


def read_labels(path: Path) -> Integer[Tensor, "H W"]:
    """Read label ids as they are stored, in grey or palette PNGs of 1 to 16 bits; a palette gives ids, not its colours.

    Returns:
        uint8, or int32 for a 16-bit file.

    Raises:
        DataError: If the file is missing, truncated, no image, or holds colours.
    """
    planes = _decode(path, ImageReadMode.UNCHANGED)
    if planes.shape[0] == 2:
        planes = planes[:1]  # grey and alpha: the ids are the grey
    if planes.shape[0] != 1:
        raise DataError(
            f"{path}: expected one label id a pixel (a grey or palette PNG), got {planes.shape[0]} channels of colour; "
            "save the class ids themselves, not a drawing of them"
        )
    depth = _grey_bits(path)
    if depth is not None and depth < 8:
        # Decoders stretch grey of 1, 2 and 4 bits to 0..255; ids must come back as they were.
        planes = planes // (255 // (2**depth - 1))
    return planes[0].to(torch.int32) if planes.dtype == torch.uint16 else planes[0]


def read_color_labels(path: Path) -> UInt8[Tensor, "3 H W"]:
    """Read labels that are stored as colours.

    Raises:
        DataError: If the file is missing, truncated or no image.
    """
    return read_image(path)


def _decode(path: Path, mode: ImageReadMode) -> Tensor:
    try:
        planes: Tensor = decode_image(read_file(str(path)), mode=mode)
    except RuntimeError as error:
        raise DataError(_why_unreadable(path, error)) from error
    return planes


def _why_unreadable(path: Path, error: RuntimeError) -> str:
    if not path.exists():
        return f"{path}: no such file; it was there when the data set was opened, or its name in a list is wrong"
    if path.stat().st_size == 0:
        return f"{path}: expected an image, got an empty file; copy or download it again"
    reason = str(error).split(", ", 2)[-1]  # torchvision puts function and source line first
    return (
        f"{path}: expected an image (PNG, JPEG or WebP), got {path.stat().st_size} bytes that do not decode: {reason}. "
        "The file is probably truncated or of another format; copy or download it again, or leave it out"
    )


def _to_uint8(planes: Tensor) -> UInt8[Tensor, "c H W"]:
    if planes.dtype != torch.uint16:
        return planes
    return ((planes.to(torch.int32) + 128) // 257).to(torch.uint8)


def _grey_bits(path: Path) -> int | None:
    """Bits a pixel of a grey PNG, from its header; None for any other file."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or not head.startswith(_PNG_SIGNATURE) or head[25] != _GRAY:
        return None
    return head[24]
