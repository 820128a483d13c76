"""Where samples come from: files paired with their labels, and a cache in memory in front of any source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Integer, UInt8
from torch import Tensor

from pixelcontrast.data.decoding import read_image, read_labels
from pixelcontrast.data.labels import UNKNOWN, LabelSpace
from pixelcontrast.errors import LabelFormError, LabelIdError
from pixelcontrast.types import Sample


@runtime_checkable
class SegmentationDataset(Protocol):
    """Images of one split, by index."""

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class Pair:
    """An image file and its label file, None where the split has no labels."""

    image: Path
    labels: Path | None
    name: str


@dataclass(frozen=True)
class Leftover:
    """Files of a split that lack their other half.

    Attributes:
        message: What is missing, with the first few names, and what to do.
        files: All of them.
    """

    message: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Found:
    """What there is of a split.

    Attributes:
        dataset: The images that can be used.
        leftovers: The files that cannot, for they do not pair up; training refuses a split that has any.
    """

    dataset: SegmentationDataset
    leftovers: tuple[Leftover, ...] = ()


@dataclass(frozen=True)
class PairedFiles:
    """A split whose labels are files of ids.

    Attributes:
        pairs: In the order of the split.
        label_space: The classes.
        raw_ids: Class id, `IGNORE_INDEX` or `UNKNOWN` by the id in the file.
        advice: What to do about ids that the data set does not define, for the error.
    """

    pairs: Sequence[Pair]
    label_space: LabelSpace
    raw_ids: UInt8[Tensor, " 256"]
    advice: str

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one image and its labels.

        Raises:
            FileError: If a file does not decode, the sizes differ, or an id is not one of the data set's.
        """
        pair = self.pairs[index]
        image = read_image(pair.image)
        if pair.labels is None:
            return Sample(image, None, pair.name)
        raw = read_labels(pair.labels)
        check_same_size(image, raw, pair)
        return Sample(image, map_ids(raw, self.raw_ids, path=pair.labels, advice=self.advice), pair.name)


@dataclass(frozen=True)
class Cached:
    """Any source, its samples kept in memory as they come from the files: uint8, before any transform."""

    source: SegmentationDataset
    _samples: dict[int, Sample] = field(default_factory=dict)

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the source."""
        return self.source.label_space

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample, reading it at its first use."""
        if index not in self._samples:
            self._samples[index] = self.source[index]
        return self._samples[index]


def map_ids(
    raw: Integer[Tensor, "H W"], table: UInt8[Tensor, " 256"], *, path: Path, advice: str
) -> UInt8[Tensor, "H W"]:
    """Bring ids as stored to class ids by a table.

    Raises:
        LabelIdError: If an id is `UNKNOWN` to the table, with file, id, first position and count.
    """
    wide = raw if raw.dtype == torch.uint8 else raw.clamp(max=UNKNOWN).where(raw < UNKNOWN, UNKNOWN)
    labels = table.index_select(0, wide.flatten().int()).view_as(raw)
    wrong = labels == UNKNOWN
    if not wrong.any():
        return labels
    value = int(raw[wrong][0])
    same = raw == value
    row, column = (int(i) for i in same.nonzero()[0])
    known = _ranges([raw_id for raw_id, label in enumerate(table.tolist()) if label != UNKNOWN])
    ids, counts = torch.unique(raw[wrong], return_counts=True)
    raise LabelIdError(
        f"{path}: label id {value} at row {row}, column {column} ({int(same.sum())} pixels of it, "
        f"{int(wrong.sum())} of {raw.numel()} pixels with unknown ids); expected ids {known}. {advice}",
        str(path),
        dict(zip(ids.tolist(), counts.tolist(), strict=True)),
    )


def check_same_size(image: UInt8[Tensor, "c H W"], labels: Integer[Tensor, "h w"], pair: Pair) -> None:
    """Refuse labels of another size than their image.

    Raises:
        LabelFormError: With both files and sizes.
    """
    if image.shape[1:] != labels.shape:
        (height, width), (rows, columns) = image.shape[1:], labels.shape
        raise LabelFormError(
            f"{pair.labels}: expected labels of {height}x{width} (height x width) as {pair.image} has, got "
            f"{rows}x{columns}; export the labels at the image's size (resize by nearest neighbour, never bilinearly)",
            str(pair.labels),
        )


def _ranges(ids: Sequence[int]) -> str:
    """[0, 1, 2, 11, 255] -> '0-2, 11, 255'."""
    parts: list[list[int]] = []
    for number in ids:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
