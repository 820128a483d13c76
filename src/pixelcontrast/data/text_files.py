"""Text that comes with a data set: lists, tables and YAML of people one does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pixelcontrast.data.retrying import retried
from pixelcontrast.errors import DataError

_MOST_BYTES = 256 << 20  # of a list; a million pairs take some 100 MB
_MOST_YAML_BYTES = 1 << 20


def read_text(path: Path, *, most_bytes: int = _MOST_BYTES) -> str:
    """Read a UTF-8 file of moderate size.

    Raises:
        DataError: If it cannot be read, is too large, or is no UTF-8.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise DataError(f"{path}: expected text of at most {most_bytes} bytes, got {path.stat().st_size}")
        return retried(lambda: path.read_text(encoding="utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected text in UTF-8 that can be read; {error}") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values: no tags, no aliases (a few lines of which can stand for gigabytes).

    Raises:
        DataError: If it cannot be read.
        ValueError: If it is no such YAML; says why.
    """
    text = read_text(path, most_bytes=_MOST_YAML_BYTES)
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ValueError("it holds an alias (*name); write the value out")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def name_below(path: str) -> str:
    """Name of an image by its path as a list gives it, without suffix: unlike the path it leads out of no folder.

    What lies above or elsewhere keeps its folders: `../a/1.png` is `up/a/1`, `/data/1.png` is `data/1`.
    """
    parts = [part if part != ".." else "up" for part in Path(path).with_suffix("").parts if part != Path(path).anchor]
    return "/".join(parts)
