"""Small pictures of the surroundings of pixels, kept together in one JPEG."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from pixelcontrast.data.reading import pillow_takes
from pixelcontrast.errors import RunError

SIDE = 64  # a multiple of JPEG's blocks, so that neighbours do not bleed into each other
COLUMNS = 64
_SHARE = 4  # a crop shows this part of an image's height
_OUTSIDE = 128
_QUALITY = 80


def crop_around(image: UInt8[Tensor, "3 H W"], *, row: int, column: int, side: int = SIDE) -> Image.Image:
    """A quarter of the image's height, the pixel at its centre; grey where it reaches beyond the image.

    Args:
        image: RGB.
        row: Of the pixel, in the image.
        column: Of the pixel, in the image.
        side: Pixels of a side of the crop.
    """
    height, width = image.shape[1:]
    half = max(height // (2 * _SHARE), SIDE // 4)
    canvas = np.full((2 * half, 2 * half, 3), _OUTSIDE, dtype=np.uint8)
    top, left = row - half, column - half
    rows, columns = slice(max(top, 0), min(row + half, height)), slice(max(left, 0), min(column + half, width))
    inside = np.asarray(image[:, rows, columns].permute(1, 2, 0))
    canvas[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    return Image.fromarray(canvas).resize((side, side), Image.Resampling.BILINEAR)


def as_sheet(crops: Sequence[Image.Image]) -> UInt8[np.ndarray, " bytes"]:
    """Lay crops out row after row, `COLUMNS` in each; the bytes of a JPEG, which holds 65,000 of them at most."""
    sheet = Image.new("RGB", _sheet_size(len(crops)), (_OUTSIDE,) * 3)
    for number, crop in enumerate(crops):
        sheet.paste(crop, (number % COLUMNS * SIDE, number // COLUMNS * SIDE))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=_QUALITY)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def read_sheet(sheet: UInt8[np.ndarray, " bytes"], count: int) -> Image.Image:
    """Decode what `as_sheet` made of so many crops; of the most it is larger than Pillow lets pictures be.

    Raises:
        RunError: If it is no sheet, or larger than so many crops are.
    """
    pixels = math.prod(_sheet_size(count))
    try:
        with warnings.catch_warnings(), pillow_takes(pixels):
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(sheet.tobytes()), formats=("JPEG",)) as opened:
                if opened.width * opened.height > pixels:
                    raise ValueError(f"{opened.width} x {opened.height} pixels")
                return opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RunError(
            f"expected a JPEG of the crops of {count} pixels, got {error}; run `pixelcontrast embed` again"
        ) from error


def _sheet_size(count: int) -> tuple[int, int]:
    """Width and height of the sheet of so many crops."""
    return COLUMNS * SIDE, max(-(-count // COLUMNS), 1) * SIDE
