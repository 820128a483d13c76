"""Which image a person looks at: one of a split, or a file they dropped; read, bounded and ready for a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Integer, Real, UInt8
from PIL import Image
from torch import Tensor

from pixelcontrast.data import DataSet
from pixelcontrast.data.decoding import FORMATS, read_image
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.data.transforms import visible
from pixelcontrast.errors import DataError, did_you_mean
from pixelcontrast.ops.resize import resize_images, resize_labels

# A Cityscapes image is looked at as it is; larger ones, and those of many classes, are made smaller.
MOST_PIXELS, MOST_PROBABILITIES = 1 << 21, 1 << 27
MOST_DROPPED_PIXELS = 50_000_000
MOST_DROPPED_BYTES = 20_000_000


@dataclass(frozen=True)
class Choice:
    """An image by where it comes from.

    Attributes:
        split: Of the data set; empty for a file that was dropped.
        name: In the split, or the path of the file.
    """

    split: str
    name: str

    @property
    def title(self) -> str:
        """What it is called on the page."""
        return f"{self.split}: {self.name}" if self.split else Path(self.name).name


@dataclass(frozen=True)
class Picture:
    """An image as it is looked at.

    Attributes:
        title: What it is called on the page.
        image: RGB, 0 to 255; or bands, as a network is given them.
        labels: Class ids on the same grid; None where there are none.
    """

    title: str
    image: Real[Tensor, "c H W"]
    labels: Integer[Tensor, "H W"] | None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[1], self.image.shape[2]

    @property
    def pixels(self) -> UInt8[Tensor, "3 H W"]:
        """What people see of it."""
        return visible(self.image)

    def fitted(self, most_pixels: int) -> Picture:
        """The picture, made smaller if it has more pixels."""
        height, width = self.size
        if height * width <= most_pixels:
            return self
        factor = math.sqrt(most_pixels / (height * width))
        size = max(1, int(height * factor)), max(1, int(width * factor))
        image = resize_images(self.image[None].float(), size)[0]
        if self.image.dtype == torch.uint8:
            image = image.round().clamp(0, 255).byte()
        labels = None if self.labels is None else resize_labels(self.labels[None], size)[0]
        return Picture(self.title, image, labels)


class Splits:
    """The splits of a data set, opened when they are first asked for.

    Args:
        data: The data section of a recipe.
    """

    def __init__(self, data: DataSet) -> None:
        self._data = data
        self._open: dict[str, SegmentationDataset] = {}
        self._indices: dict[str, dict[str, int]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The splits whose files are there, validation first."""
        found = []
        for split in sorted(self._data.splits, key=lambda name: name != "val"):
            try:
                self.open(split)
                found.append(split)
            except DataError:
                continue
        return tuple(found)

    def require_one(self) -> None:
        """Raise DataError, which says what is amiss, if the files of no split are there."""
        if not self.names:
            self.open(self._data.splits[0])

    def open(self, split: str) -> SegmentationDataset:
        """Return a split.

        Raises:
            DataError: If its files are not there.
        """
        if split not in self._open:
            self._open[split] = self._data.open(split)
        return self._open[split]

    def images(self, split: str) -> Sequence[str]:
        """Names of the images of a split."""
        return list(self._index(split))

    def read(self, choice: Choice) -> Picture:
        """Read an image of a split with its labels.

        Raises:
            DataError: If there is no such image, or its files cannot be read.
        """
        index = self._index(choice.split)
        if choice.name not in index:
            near = did_you_mean(choice.name, list(index)[:10_000])
            raise DataError(f"no image '{choice.name}' in the {choice.split} split.{near}")
        sample = self.open(choice.split)[index[choice.name]]
        return Picture(choice.title, sample.image, sample.labels)

    def _index(self, split: str) -> dict[str, int]:
        if split not in self._indices:
            self._indices[split] = {name: index for index, name in enumerate(self.open(split).names)}
        return self._indices[split]


def read_dropped(path: Path) -> Picture:
    """Read a file that a person dropped on the page.

    Raises:
        DataError: If it is no image, or declares more pixels than are taken.
    """
    name = path.name
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        width = height = 0  # `read_image` says what is amiss
    if width * height > MOST_DROPPED_PIXELS:
        raise DataError(
            f"{name} has {width} x {height} pixels; at most {MOST_DROPPED_PIXELS // 10**6} million are taken. "
            "Make it smaller."
        )
    try:
        return Picture(name, read_image(path), None)
    except DataError as error:
        raise DataError(str(error).replace(str(path), name)) from error


def pixels_for(num_classes: int) -> int:
    """Most pixels of an image whose probabilities are computed at once."""
    return min(MOST_PIXELS, MOST_PROBABILITIES // num_classes)
