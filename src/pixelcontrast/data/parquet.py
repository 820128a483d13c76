"""Rows of parquet files by number, a block of rows at a time, on this disk or on the hub: no file is downloaded whole.

A block is a row group, some hundred rows that lie together; the blocks of the last rows are kept, so that rows should
be asked for in an order that stays within few blocks for a while.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelcontrast.data.retrying import retried
from pixelcontrast.errors import DataError

KEPT_BLOCKS = 4


@dataclass(frozen=True)
class _Block:
    """A row group: its file, its number there, and the number of its first row in the whole table."""

    file: str
    group: int
    first: int


@dataclass(frozen=True)
class ParquetTable:
    """The rows of some files, one after another.

    Attributes:
        files: Paths, or URLs that fsspec opens, such as hf://datasets/owner/name/data/train-00000-of-00002.parquet.
        columns: Those that are read.
        blocks: How many rows each block has.
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    blocks: tuple[int, ...]
    _places: tuple[_Block, ...]
    _kept: OrderedDict[int, list[dict[str, Any]]] = field(default_factory=OrderedDict, compare=False)

    @classmethod
    def open(cls, files: Sequence[str], columns: Sequence[str]) -> ParquetTable:
        """Read where the blocks lie, and nothing else.

        Raises:
            DataError: If a file cannot be read, or lacks a column.
        """
        blocks: list[int] = []
        places: list[_Block] = []
        for file in files:
            with _opened(file) as parquet:
                if missing := [name for name in columns if name not in parquet.schema_arrow.names]:
                    known = ", ".join(parquet.schema_arrow.names)
                    raise DataError(f"{file}: expected a column '{missing[0]}', got {known}; name another")
                for group in range(parquet.num_row_groups):
                    places.append(_Block(file, group, sum(blocks)))
                    blocks.append(parquet.metadata.row_group(group).num_rows)
        return cls(tuple(files), tuple(columns), tuple(blocks), tuple(places))

    def __len__(self) -> int:
        return sum(self.blocks)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Return a row, from memory if its block was read a short time ago."""
        number = bisect_right(self._places, index, key=lambda block: block.first) - 1
        block = self._places[number]
        rows = self._kept.get(number)
        if rows is None:
            with _opened(block.file) as parquet:
                rows = parquet.read_row_group(block.group, columns=list(self.columns)).to_pylist()
            self._kept[number] = rows
            if len(self._kept) > KEPT_BLOCKS:
                self._kept.popitem(last=False)
        return rows[index - block.first]

    def __getstate__(self) -> dict[str, Any]:
        """A worker reads its own blocks."""
        return {**self.__dict__, "_kept": OrderedDict()}


def _opened(file: str) -> Any:  # noqa: ANN401 - pyarrow is not typed
    """A parquet file, its footer read.

    Raises:
        DataError: If it cannot be opened, or is no parquet.
    """
    import fsspec
    import pyarrow
    from pyarrow import parquet

    try:
        system, path = fsspec.core.url_to_fs(file)
        return retried(lambda: parquet.ParquetFile(path, filesystem=system), Path(file))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{file}: expected a parquet file that can be read, got {error}") from error
