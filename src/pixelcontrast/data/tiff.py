"""TIFFs with all their bands, by tifffile: Pillow knows neither more than four bands nor more than 8 bits in several.

Source: github.com/cgohlke/tifffile; an extra, for most data sets hold none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pixelcontrast.data.reading import check_size, reading
from pixelcontrast.errors import DataError, UnreadableFileError

SUFFIXES = (".tif", ".tiff")


def read_tiff(path: Path, *, count: int | None = None) -> np.ndarray:
    """Read the first image of a file, bands first, as it is stored.

    Args:
        path: The file.
        count: Bands that are expected; tells bands from rows where the file does not.

    Raises:
        DataError: If tifffile is not installed.
        UnreadableFileError: If the file is missing, too large, no TIFF or damaged, or holds more than height, width
            and bands.
    """
    try:
        import tifffile
    except ImportError as error:
        raise DataError(f"{path}: bands of a TIFF need tifffile: pip install 'pixelcontrast[tif]'") from error

    def read() -> tuple[np.ndarray, str]:
        with tifffile.TiffFile(path) as file:
            _check_pages(page.offset for page in file.pages)
            series = file.series[0]
            check_size(series.shape, path)
            pixels = np.asarray(series.asarray())
            if not pixels.size:  # of no bits
                raise ValueError("it holds no pixel")
            return pixels, str(series.axes)

    pixels, axes = reading(read, path)
    if pixels.ndim == 2:
        return pixels[None]
    if pixels.ndim != 3:
        message = f"{path}: expected height, width and bands, got an array of {pixels.shape} (axes {axes})"
        raise UnreadableFileError(message, str(path))
    bands_last = axes.endswith("S") or (count is not None and count == pixels.shape[2] and count != pixels.shape[0])
    return pixels.transpose(2, 0, 1) if bands_last else pixels


def _check_pages(offsets: Iterable[int]) -> None:
    """Refuse a file whose pages lead back to one of them, which tifffile follows for ever."""
    seen: set[int] = set()
    for offset in offsets:
        if offset in seen:
            raise ValueError("its pages lead round in a circle")
        seen.add(offset)


def describe(pixels: np.ndarray) -> str:
    """Bands, depth, and what they measure, as a recipe states it: of 8 bits on a scale of 0 to 1."""
    flat = pixels.reshape(len(pixels), -1) / (255 if pixels.dtype == np.uint8 else 1)
    flat = np.where(np.isfinite(flat), flat, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a band without a number, which measures nan
        measured = np.nanmean(flat, axis=1), np.nanstd(flat, axis=1)
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in measured)
    return f"{len(pixels)} bands of {pixels.dtype}; this one measures data.mean=[{mean}] data.std=[{std}]"
