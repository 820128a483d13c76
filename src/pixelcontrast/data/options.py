"""The options that every data set has, and the card that `list data` prints of it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.data.rare_classes import RareClasses
from pixelcontrast.data.sources import Cached, Found, SegmentationDataset
from pixelcontrast.errors import DataError, did_you_mean
from pixelcontrast.files import expanded, is_folder, is_there
from pixelcontrast.types import BandStatistics


@dataclass(frozen=True, kw_only=True)
class DataOptions(ABC):
    """What to read and how to feed it to training; each data set adds its `name` and what only it has.

    Attributes:
        root: The folder of the data set. `~` is the home folder.
        batch_size: Images in a training step, over all ranks together.
        crop_size: Height and width of training crops, in pixels.
        workers: Processes that prepare samples beside the training; 0 does it in the training process.
        cache: Keep decoded images in memory after their first reading. With workers, each keeps its own copy.
        scale: Range of the random factor by which images are resized before the crop; (1, 1) turns it off.
        flip: Probability of a left-right flip.
        photometric: Whether to vary brightness, contrast, saturation and hue.
        max_class_share: Highest share of one class in a crop, for which up to 10 crops are tried; 1 turns it off.
        rare_classes: Draw images and crops by the classes they show, the rare ones more often; null treats all alike.
        on_error: What an unreadable training image does: `error` stops the run; `skip` names it, and trains on another
            in its place, which depends on the seed and the number of the sample alone. Evaluation always stops.
        max_unreadable: How many images a run may skip, each counted once, before it stops; a rank counts its own.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {}  # images of each split, in the releases there are

    root: str | None = None
    batch_size: int = 8
    crop_size: tuple[int, int] = (360, 480)
    workers: int = 2
    cache: bool = False
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    photometric: bool = True
    max_class_share: float = 0.75
    rare_classes: RareClasses | None = None
    on_error: Literal["error", "skip"] = "error"
    max_unreadable: int = 10

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require(min(self.crop_size) >= 1, "crop_size", "a height and a width of at least 1", self.crop_size)
        _require(self.workers >= 0, "workers", "0 or more", self.workers)
        low, high = self.scale
        _require(0 < low <= high, "scale", "0 < lowest <= highest", self.scale)
        _require(0 <= self.flip <= 1, "flip", "a probability from 0 to 1", self.flip)
        _require(0 < self.max_class_share <= 1, "max_class_share", "a share above 0, at most 1", self.max_class_share)
        _require(self.max_unreadable >= 1, "max_unreadable", "at least 1", self.max_unreadable)

    @property
    def bands(self) -> BandStatistics | None:
        """What images are normalised with that are not RGB of 8 bits; None for RGB, which the backbone normalises."""
        return None

    @property
    @abstractmethod
    def label_space(self) -> LabelSpace:
        """The classes, known before any file is read."""

    @abstractmethod
    def find(self, split: str) -> Found:
        """Find the files of a split and pair them; contents are checked when they are read.

        Raises:
            DataError: If folders or lists are missing.
        """

    def open(self, split: str) -> SegmentationDataset:
        """Return the images of a split, ready to be read.

        Raises:
            DataError: If files are missing or do not pair up, or there is no such split.
        """
        self.check_split(split)
        found = self.find(split)
        if found.leftovers:
            raise DataError(found.leftovers[0].message)
        return Cached(found.dataset) if self.cache else found.dataset

    def folder(self) -> Path:
        """Return `root` as a path.

        Raises:
            DataError: If it is not set or not a folder.
        """
        what = type(self).__name__
        if self.root is None:
            raise DataError(f"{what} needs its folder; set data.root=PATH. Expected there: {self.layout()}")
        path = expanded(self.root)
        if not is_folder(path):
            state = "is a file" if is_there(path) else "does not exist"
            raise DataError(f"{path} {state} (data.root, from {Path.cwd()}); expected a folder with {self.layout()}")
        return path

    def check_split(self, split: str) -> None:
        """Refuse a split that the data set does not have.

        Raises:
            DataError: With the splits there are.
        """
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise DataError(f"no split {split!r}; expected one of {known}.{did_you_mean(split, self.splits)}")

    @classmethod
    def layout(cls) -> str:
        """The folders the data set is expected to have, in words: the docstring's line that starts with `Layout:`."""
        for paragraph in (inspect.getdoc(cls) or "").split("\n\n"):
            if paragraph.startswith("Layout:"):
                return " ".join(paragraph.removeprefix("Layout:").split()).removesuffix(".")
        raise TypeError(f"{cls.__name__} has no 'Layout:' paragraph in its docstring")


def _require(holds: bool, field: str, expected: str, got: object) -> None:  # noqa: FBT001
    if not holds:
        raise ValueError(f"{field}: expected {expected}, got {got}")


@dataclass(frozen=True)
class DataCard:
    """What `list data` prints of a data set.

    Attributes:
        name: As a recipe's `data.name`.
        summary: One line.
        layout: The folders it is read from.
        splits: In the order training uses them.
        classes: Names by id; empty where the user's files decide.
    """

    name: str
    summary: str
    layout: str
    splits: tuple[str, ...]
    classes: tuple[str, ...]


def describe(options: type[DataOptions]) -> DataCard:
    """Describe a data set without touching its files, from its docstring and label table."""
    defaults = options()
    try:
        classes = defaults.label_space.names
    except DataError:
        classes = ()
    return DataCard(
        name=str(getattr(defaults, "name")),  # noqa: B009 - the field is each data set's own Literal
        summary=(inspect.getdoc(options) or "").split("\n")[0],
        layout=options.layout(),
        splits=options.splits,
        classes=classes,
    )
