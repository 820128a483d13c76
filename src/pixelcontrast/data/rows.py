"""A split whose samples are rows of a table: an encoded image, and an encoded picture of its label ids, in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from pixelcontrast.data.decoding import read_image, read_labels
from pixelcontrast.data.label_files import IdFiles
from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.data.reading import Encoded, File, path_of
from pixelcontrast.data.sources import check_same_size
from pixelcontrast.errors import UnreadableFileError
from pixelcontrast.types import Sample


@runtime_checkable
class Table(Protocol):
    """Rows by number, each a mapping from column to value."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Rows:
    """Samples out of a table.

    Attributes:
        table: The rows.
        label_space: The classes.
        label_files: What the ids in the pictures of labels mean.
        image: Column of images.
        label: Column of labels; a row may have none.
        where: What messages call the table.
    """

    table: Table
    label_space: LabelSpace
    label_files: IdFiles
    image: str
    label: str
    where: Path

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many rows lie together each time, where reading one of them reads them all; else none."""
        return tuple(getattr(self.table, "blocks", ()))

    @property
    def names(self) -> Sequence[str]:
        """The number of each row, which is unique."""
        return [_name(index) for index in range(len(self))]

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        """Decode one row.

        Raises:
            FileError: If a cell does not decode, the sizes differ, or an id is not one of the data set's.
        """
        row = self.table[index]
        image_file = self._file(row, self.image, index)
        image, name = read_image(image_file), _name(index)
        if row.get(self.label) is None:
            return Sample(image, None, name)
        file = self._file(row, self.label, index)
        raw = read_labels(file)
        check_same_size(image, raw, labels=path_of(file), image_file=path_of(image_file))
        return Sample(image, self.label_files.classes_of(raw, path_of(file)), name)

    def labels(self, index: int) -> UInt8[Tensor, "H W"] | None:
        """Decode the labels of a row alone."""
        row = self.table[index]
        if row.get(self.label) is None:
            return None
        file = self._file(row, self.label, index)
        return self.label_files.classes_of(read_labels(file), path_of(file))

    def _file(self, row: Mapping[str, Any], column: str, index: int) -> File:
        """A cell's file: its bytes, or where it lies."""
        cell, called = row.get(column), self.where / str(index) / column
        if isinstance(cell, Mapping):
            if cell.get("bytes") is None and cell.get("path"):
                return Path(cell["path"])
            cell = cell.get("bytes")
        if not isinstance(cell, bytes):
            message = f"{called}: expected the bytes of an image, got {type(cell).__name__}; name another column"
            raise UnreadableFileError(message, str(called))
        return Encoded(called, cell)


def _name(index: int) -> str:
    return f"{index:06d}"
