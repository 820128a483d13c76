"""Images of any number of bands and of any unit: satellite and microscope images, mostly TIFFs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pixelcontrast.data import tiff
from pixelcontrast.data.decoding import decode, png_header
from pixelcontrast.data.reading import reading
from pixelcontrast.errors import UnreadableFileError
from pixelcontrast.types import BandStatistics


def read_bands(path: Path, bands: BandStatistics) -> UInt8[Tensor, "c H W"] | Float[Tensor, "c H W"]:
    """Read all bands of a file: 8 bits as they are, everything else as float32 in the file's own units.

    Values that are not finite (no data) become the mean of their band.

    Args:
        path: A TIFF with its bands first or last, or any file that Pillow reads.
        bands: One mean a band.

    Raises:
        UnreadableFileError: If the file is missing or does not decode, or has another number of bands.
        DataError: If it is a TIFF and tifffile is not installed.
    """
    count = len(bands.mean)
    pixels = _all_bands(path, count)
    if len(pixels) != count:
        message = f"{path}: expected {count} bands, a number of data.mean for each, got {tiff.describe(pixels)}"
        raise UnreadableFileError(message, str(path))
    if pixels.dtype == np.uint8:
        return torch.from_numpy(np.array(pixels, order="C"))
    image = torch.from_numpy(np.array(pixels, dtype=np.float32, order="C"))
    return image.where(image.isfinite(), torch.tensor(bands.mean)[:, None, None])


def _all_bands(path: Path, count: int) -> np.ndarray:
    """Bands first."""
    if path.suffix.lower() in tiff.SUFFIXES:
        return tiff.read_tiff(path, count=count)
    image = decode(path)
    bits, color_type = reading(lambda: png_header(path), path) or (8, 0)
    if bits == 16 and color_type != 0:
        message = f"{path}: a colour PNG of 16 bits, of which Pillow keeps 8; save it as TIFF"
        raise UnreadableFileError(message, str(path))
    pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "CMYK", "YCbCr") else image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
