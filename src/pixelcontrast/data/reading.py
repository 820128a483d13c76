"""Reading files with care: again where a file system fails for a moment, none that would fill the memory.

Whatever a decoder runs into is told as the file's own error.
"""

from __future__ import annotations

import io
import math
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from pixelcontrast.data.retrying import retried
from pixelcontrast.errors import DataError, UnreadableFileError

_MOST_PIXELS = 2 * 89_478_485  # where Pillow refuses
_IMAGE = "an image (PNG, JPEG, WebP or TIFF)"
_LOCK = threading.Lock()
_raised, _usual = 0, Image.MAX_IMAGE_PIXELS  # readers that have raised Pillow's limit, and what it was before
_LIMIT_VARIABLE = "PIXELCONTRAST_MAX_PIXELS"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Encoded:
    """A file that lies inside another, such as a row of parquet.

    Attributes:
        path: What messages call it.
        data: Its bytes.
    """

    path: Path
    data: bytes = field(repr=False)


File = Path | Encoded


def path_of(file: File) -> Path:
    """Where a file lies, or what it is called."""
    return file if isinstance(file, Path) else file.path


def opened(file: File) -> io.BufferedReader | io.BytesIO:
    """The file, open for reading."""
    return file.open("rb") if isinstance(file, Path) else io.BytesIO(file.data)


def reading(read: Callable[[], Result], file: File, *, wanted: str = _IMAGE) -> Result:
    """Call `read`, again where a file system fails for a moment; whatever it raises says that the file is unreadable.

    Args:
        read: Decodes the file.
        file: The file.
        wanted: What it should hold.

    Raises:
        UnreadableFileError: Whatever the decoder raised.
    """
    try:
        return retried(read, path_of(file))
    except UnreadableFileError:
        raise
    except Exception as error:  # decoders raise whatever their parsers run into
        raise UnreadableFileError(_why_unreadable(file, error, wanted), str(path_of(file))) from error


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


def check_size(shape: tuple[int, ...], path: Path) -> None:
    """Refuse what declares too many pixels, before any of them is decoded."""
    if math.prod(shape) > max_pixels():
        raise UnreadableFileError(_too_large(path, "x".join(map(str, shape)), math.prod(shape)), str(path))


@contextmanager
def pillow_takes(pixels: int) -> Iterator[None]:
    """Let Pillow decode so many pixels; its own limit, which all users of Pillow share, is changed where need be only.

    It refuses at twice the number that it is given.
    """
    if pixels <= _MOST_PIXELS:
        yield
        return
    global _raised, _usual  # noqa: PLW0603 - Pillow's limit is a global as well
    with _LOCK:
        if _raised == 0:
            _usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        _raised += 1
    try:
        yield
    finally:
        with _LOCK:
            _raised -= 1
            if _raised == 0:
                Image.MAX_IMAGE_PIXELS = _usual


def _too_large(path: Path, size: str, pixels: int) -> str:
    return (
        f"{path}: expected at most {max_pixels()} pixels, got {size}: it may be made to fill the memory. If it is "
        f"meant to be so large, set the environment variable {_LIMIT_VARIABLE}={pixels}"
    )


def _why_unreadable(file: File, error: Exception, wanted: str) -> str:
    path = path_of(file)
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; it was there when the data set was opened, or its name in a list is wrong"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{path}: cannot be read: {error.strerror}"
    if isinstance(error, Image.DecompressionBombError) and (said := re.search(r"\d+", str(error))):
        return _too_large(path, said[0], int(said[0]))
    size = _size_of(file)
    if size == 0:
        return f"{path}: expected {wanted}, got an empty file; copy or download it again"
    if isinstance(error, UnidentifiedImageError):
        error = ValueError("not in a format that is known")
    return (
        f"{path}: expected {wanted}, got {size} bytes that do not decode: "
        f"{str(error) or type(error).__name__}. "
        "The file is probably truncated or of another format; copy or download it again, or leave it out"
    )


def _size_of(file: File) -> int | None:
    try:
        return file.stat().st_size if isinstance(file, Path) else len(file.data)
    except OSError:
        return None
