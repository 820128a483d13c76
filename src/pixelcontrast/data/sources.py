"""Where samples come from: files paired with their labels, and a cache in memory in front of any source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Integer, Real, UInt8
from torch import Tensor

from pixelcontrast.data.bands import read_bands
from pixelcontrast.data.decoding import read_image
from pixelcontrast.data.label_files import LabelFiles
from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.errors import LabelFormError
from pixelcontrast.types import BandStatistics, Sample


@runtime_checkable
class SegmentationDataset(Protocol):
    """Images of one split, by index."""

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the labels."""

    @property
    def names(self) -> Sequence[str]:
        """Of the images, in their order; known before any is read."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def labels(self, index: int) -> UInt8[Tensor, "H W"] | None:
        """Labels alone, which are read faster than images."""


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
    """A split of files.

    Attributes:
        pairs: In the order of the split.
        label_space: The classes.
        label_files: What the files of labels hold.
        bands: How images are read that are not RGB of 8 bits.
    """

    pairs: Sequence[Pair]
    label_space: LabelSpace
    label_files: LabelFiles
    bands: BandStatistics | None = None

    @property
    def names(self) -> Sequence[str]:
        """Of the pairs."""
        return [pair.name for pair in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one image and its labels.

        Raises:
            FileError: If a file does not decode, the sizes differ, or an id is not one of the data set's.
        """
        pair = self.pairs[index]
        image = read_image(pair.image) if self.bands is None else read_bands(pair.image, self.bands)
        if pair.labels is None:
            return Sample(image, None, pair.name)
        raw = self.label_files.read(pair.labels, pair.name)
        check_same_size(image, raw, labels=pair.labels, image_file=pair.image)
        return Sample(image, self.label_files.classes_of(raw, pair.labels), pair.name)

    def labels(self, index: int) -> UInt8[Tensor, "H W"] | None:
        """Read the labels of an image alone."""
        pair = self.pairs[index]
        if pair.labels is None:
            return None
        return self.label_files.classes_of(self.label_files.read(pair.labels, pair.name), pair.labels)


@dataclass(frozen=True)
class Cached:
    """Any source, its samples kept in memory as they come from the files, before any transform."""

    source: SegmentationDataset
    _samples: dict[int, Sample] = field(default_factory=dict)

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the source."""
        return self.source.label_space

    @property
    def names(self) -> Sequence[str]:
        """Of the source."""
        return self.source.names

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample, reading it at its first use."""
        if index not in self._samples:
            self._samples[index] = self.source[index]
        return self._samples[index]

    def labels(self, index: int) -> UInt8[Tensor, "H W"] | None:
        """Labels alone, which are not kept unless the sample is."""
        return self._samples[index].labels if index in self._samples else self.source.labels(index)


def check_same_size(
    image: Real[Tensor, "c H W"], raw: Integer[Tensor, "h w"], *, labels: Path, image_file: Path
) -> None:
    """Refuse labels of another size than their image.

    Raises:
        LabelFormError: With both files and sizes.
    """
    if image.shape[1:] != raw.shape:
        (height, width), (rows, columns) = image.shape[1:], raw.shape
        advice = "export the labels at the image's size (resize by nearest neighbour, never bilinearly)"
        if (height, width) == (columns, rows):
            advice = "one of the two is turned, maybe by EXIF, which is not followed; store both as they are to be seen"
        raise LabelFormError(
            f"{labels}: expected labels of {height}x{width} (height x width) as {image_file} has, got "
            f"{rows}x{columns}; {advice}",
            str(labels),
        )
