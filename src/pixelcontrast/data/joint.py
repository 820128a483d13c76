"""Several data sets in one training, their classes brought to one label space by name."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import ClassVar, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from pixelcontrast.data.datasets import SingleDataSet
from pixelcontrast.data.labels import IGNORE_INDEX, UNKNOWN, Color, LabelSpace
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.sources import Found, SegmentationDataset
from pixelcontrast.errors import DataError, did_you_mean
from pixelcontrast.types import BandStatistics, Sample

_OWN_OF_A_PART = {"root"}  # of the options that all data sets have


@dataclass(frozen=True, kw_only=True)
class JointPart:
    """One of the data sets that are trained on together.

    Attributes:
        data: The data set. How images are fed to training (batch_size, crop_size, ...) is said once, beside `parts`.
        rename: Name in the joint label space by name in this data set; null ignores the class. Classes that are not
            listed keep their name.
        share: Share of the training samples, in proportion to the other parts' (1 and 3 are a quarter and three). All
            parts have one or none; without, each image is as likely as any other.
        evaluate: Whether its val and test splits are part of the joint ones.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    data: SingleDataSet
    rename: dict[str, str | None] = field(default_factory=dict)
    share: float | None = None
    evaluate: bool = True

    def __post_init__(self) -> None:
        if self.share is not None and self.share <= 0:
            raise ValueError(f"share: expected a positive number, got {self.share}")
        usual = type(self.data)()
        for option in fields(DataOptions):
            if option.name in _OWN_OF_A_PART:
                continue
            if getattr(self.data, option.name) != getattr(usual, option.name):
                raise ValueError(f"data: {option.name} is said once for all parts: set data.{option.name}")


@dataclass(frozen=True, kw_only=True)
class Joint(DataOptions):
    """Several data sets in one training, their classes brought to one label space by name.

    Layout: that of each part.

    A class keeps its name or is renamed, part by part; names that are then equal are one class. `classes` says which
    there are and in which order; a class of a part that is not among them has to be renamed, or ignored by null.

    A recipe says, beside `base: camvid/hrnet_w18_small` for all the rest, `data: {name: joint, parts: [{data: {name:
    camvid, root: A}}, {data: {name: folder, root: B}, rename: {street: road, mud: null}}]}`.

    Attributes:
        root: Not used: each part has its own.
        parts: The data sets.
        classes: Names of the joint label space; null takes the names of all parts in the order of their appearance.
    """

    name: Literal["joint"] = "joint"
    parts: tuple[JointPart, ...] = ()
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({part.share is None for part in self.parts}) > 1:
            raise ValueError("parts: expected a share in all parts or in none")
        if self.root is not None:
            raise ValueError("root: expected none, for each part has its own: set data.parts.0.data.root and so on")

    @property
    def bands(self) -> BandStatistics | None:
        """What all parts agree on.

        Raises:
            DataError: If they do not.
        """
        if len({part.data.bands for part in self.parts}) > 1:
            raise DataError(
                "parts: expected images of the same bands and statistics (data.mean, data.std) in all parts"
            )
        return self.parts[0].data.bands if self.parts else None

    @property
    def label_space(self) -> LabelSpace:
        """The joint classes, each in the colour it has in the first part that knows it.

        Raises:
            DataError: If a class has no place, a name is not known, or a part's classes cannot be read.
        """
        colors: dict[str, Color] = {}
        for number, part in enumerate(self.parts):
            for joint, color in _renamed(part, f"parts.{number}"):
                if self.classes is not None and joint not in self.classes:
                    raise DataError(
                        f"parts.{number}: class '{joint}' of {part.data.name} is not among data.classes; give its name "
                        f"there in data.parts.{number}.rename, or ignore it with null."
                        f"{did_you_mean(joint, self.classes)}"
                    )
                colors.setdefault(joint, color)
        if not colors:
            raise DataError("Joint needs its parts: set data.parts to a list of {data: {name: ..., root: ...}}")
        names = self.classes or tuple(colors)
        if missing := [name for name in names if name not in colors]:
            raise DataError(f"classes: no part has '{missing[0]}'.{did_you_mean(missing[0], colors)}")
        if len(names) > UNKNOWN:
            raise DataError(
                f"the parts have {len(names)} classes together, expected at most {UNKNOWN}; bring some to one name by "
                "data.parts.N.rename, or ignore them with null"
            )
        return LabelSpace(names, tuple(colors[name] for name in names))

    def find(self, split: str) -> Found:
        """Find the split in every part; in those that are evaluated, if it is not `train`."""
        space, _ = self.label_space, self.bands
        chosen = [part for part in self.parts if split == "train" or part.evaluate]
        if split == "test":
            chosen = [part for part in chosen if "test" in part.data.splits]
        if not chosen:
            raise DataError(f"no part has the split '{split}'; set evaluate: true in one")
        found = [part.data.find(split) for part in chosen]
        parts = tuple(
            Relabelled(each.dataset, space, label_table(part, space), name)
            for each, part, name in zip(found, chosen, _part_names(chosen), strict=True)
        )
        shares = tuple(part.share for part in chosen if part.share is not None)
        return Found(Joined(parts, space, shares), tuple(file for each in found for file in each.leftovers))


def _renamed(part: JointPart, called: str) -> Iterator[tuple[str, Color]]:
    """Joint name and colour of each class of a part that is not ignored.

    Raises:
        DataError: If a class is to be renamed that the part does not have.
    """
    space = part.data.label_space
    for name in part.rename:
        if name not in space.names:
            hint = did_you_mean(name, space.names) or f" It has {', '.join(space.names)}."
            raise DataError(f"{called}.rename: {part.data.name} has no class '{name}'.{hint}")
    for name, color in zip(space.names, space.palette, strict=True):
        joint = part.rename.get(name, name)
        if joint is not None:
            yield joint, color


def label_table(part: JointPart, space: LabelSpace) -> UInt8[Tensor, " 256"]:
    """Joint class id by the part's own class id."""
    table = torch.full((256,), IGNORE_INDEX, dtype=torch.uint8)
    for number, name in enumerate(part.data.label_space.names):
        joint = part.rename.get(name, name)
        table[number] = IGNORE_INDEX if joint is None else space.names.index(joint)
    return table


@dataclass(frozen=True)
class Relabelled:
    """A data set whose class ids are those of another label space.

    Attributes:
        source: The data set.
        label_space: The other label space.
        table: Class id there by class id here.
        prefix: Folder that names are put below, so that two data sets cannot have one in common.
    """

    source: SegmentationDataset
    label_space: LabelSpace
    table: UInt8[Tensor, " 256"]
    prefix: str

    @property
    def names(self) -> Sequence[str]:
        """Of the source, below the folder."""
        return [self._named(name) for name in self.source.names]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample of the source under the other ids."""
        sample = self.source[index]
        labels = None if sample.labels is None else self._mapped(sample.labels)
        return Sample(sample.image, labels, self._named(sample.name))

    def labels(self, index: int) -> UInt8[Tensor, "H W"] | None:
        """Labels alone."""
        labels = self.source.labels(index)
        return None if labels is None else self._mapped(labels)

    def _named(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def _mapped(self, labels: UInt8[Tensor, "H W"]) -> UInt8[Tensor, "H W"]:
        return self.table.index_select(0, labels.flatten().int()).view_as(labels)


@dataclass(frozen=True)
class Joined:
    """Several data sets of one label space, one after another.

    Attributes:
        parts: The data sets.
        label_space: The classes of all.
        shares: Of the training samples; none where each image is as likely as any other.
    """

    parts: tuple[Relabelled, ...]
    label_space: LabelSpace
    shares: tuple[float, ...]

    @property
    def names(self) -> Sequence[str]:
        """Of the parts, one after another."""
        return [name for part in self.parts for name in part.names]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> Sample:
        """Return a sample of the part that it falls into."""
        part, inner = self._place(index)
        return part[inner]

    def labels(self, index: int) -> UInt8[Tensor, "H W"] | None:
        """Labels alone."""
        part, inner = self._place(index)
        return part.labels(inner)

    def _place(self, index: int) -> tuple[Relabelled, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        ends = list(accumulate(map(len, self.parts)))
        number = bisect_right(ends, index)
        return self.parts[number], index - ends[number] + len(self.parts[number])


def _part_names(parts: list[JointPart]) -> list[str]:
    """The name of each data set, with a number where it is there twice."""
    names = [part.data.name for part in parts]
    return [name if names.count(name) == 1 else f"{name}-{names[: i + 1].count(name)}" for i, name in enumerate(names)]
