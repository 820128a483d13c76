"""What the images of a split hold, as plain facts; findings are drawn from these."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pixelcontrast.data.counting import ClassCounts
from pixelcontrast.data.decoding import is_turned
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace
from pixelcontrast.data.sources import Leftover, PairedFiles, SegmentationDataset
from pixelcontrast.data.threads import on_threads
from pixelcontrast.errors import DataError

STATISTICS_STRIDE = 4  # means and deviations are taken on every 4th pixel of every 4th row


@dataclass(frozen=True)
class ImageFacts:
    """One image that could be read.

    Attributes:
        index: In its split.
        name: As in the data set.
        size: Height and width.
        pixels: How many pixels each class id has, and 255; None for an image without labels.
        digest: Equal for images of equal pixels.
        moments: Per band, of every 4th pixel of every 4th row: number, sum, sum of squares.
    """

    index: int
    name: str
    size: tuple[int, int]
    pixels: dict[int, int] | None
    digest: bytes
    moments: Float[Tensor, "3 c"]

    @property
    def is_void(self) -> bool:
        """Whether it has labels, but none of them is a class."""
        return self.pixels is not None and not self.pixels.keys() - {IGNORE_INDEX}


@dataclass(frozen=True)
class SplitFacts:
    """A split.

    Attributes:
        split: Its name.
        label_space: The classes.
        images: Those that could be read, in the split's order.
        errors: Why the others could not.
        leftovers: Files that do not pair up.
        turned: Names of images that a camera's note (EXIF) asks to show turned or mirrored.
    """

    split: str
    label_space: LabelSpace
    images: tuple[ImageFacts, ...]
    errors: tuple[DataError, ...]
    leftovers: tuple[Leftover, ...]
    turned: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """Pairs there are, whether they could be read or not."""
        return len(self.images) + len(self.errors)

    @cached_property
    def sizes(self) -> dict[tuple[int, int], int]:
        """How many images have each height and width, the most frequent first."""
        return dict(Counter(image.size for image in self.images).most_common())

    @cached_property
    def counts(self) -> ClassCounts:
        """Pixels and images of each class."""
        pixels, images = torch.zeros(2, IGNORE_INDEX + 1, dtype=torch.int64)
        labelled = [image.pixels for image in self.images if image.pixels is not None]
        for counted in labelled:
            ids = torch.tensor(list(counted), dtype=torch.int64)
            pixels[ids] += torch.tensor(list(counted.values()), dtype=torch.int64)
            images[ids] += 1
        size = self.label_space.num_classes
        return ClassCounts(self.label_space.names, pixels[:size], images[:size], int(pixels[-1]), len(labelled))

    @cached_property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each band, as `BandStatistics` has them; empty if bands differ or none is."""
        if len({image.moments.shape for image in self.images}) != 1:
            return [], []
        number, total, squares = torch.stack([image.moments for image in self.images]).sum(0)
        mean = total / number
        return mean.tolist(), (squares / number - mean**2).clamp(min=0).sqrt().tolist()


def examine(dataset: SegmentationDataset, index: int) -> ImageFacts | DataError:
    """Read one image and its labels; what is wrong with its files comes as a value."""
    try:
        sample = dataset[index]
    except DataError as error:
        return error
    pixels = None
    if sample.labels is not None:
        counts = torch.bincount(sample.labels.flatten(), minlength=IGNORE_INDEX + 1).tolist()
        pixels = {label: count for label, count in enumerate(counts) if count}
    height, width = sample.image.shape[1:]
    return ImageFacts(index, sample.name, (height, width), pixels, _digest(sample.image), _moments(sample.image))


def gather(
    dataset: SegmentationDataset,
    *,
    split: str,
    leftovers: tuple[Leftover, ...] = (),
    workers: int,
    progress: Callable[[], None] = lambda: None,
) -> SplitFacts:
    """Examine every image of a split on `workers` threads: decoding releases Python's lock.

    Args:
        dataset: The split.
        split: Its name.
        leftovers: Of its files, to be kept with the facts.
        workers: Threads.
        progress: Called once an image.
    """
    images, errors = [], []
    for facts in on_threads(partial(examine, dataset), len(dataset), threads=workers):
        progress()
        if isinstance(facts, DataError):
            errors.append(facts)
        else:
            images.append(facts)
    pairs = dataset.pairs if isinstance(dataset, PairedFiles) else ()
    turned = tuple(pair.name for pair in pairs if is_turned(pair.image))
    return SplitFacts(split, dataset.label_space, tuple(images), tuple(errors), leftovers, turned)


def _digest(image: Shaped[Tensor, "c H W"]) -> bytes:
    # Decoders leave the channels last, where this copies nothing.
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    return hashlib.blake2b(pixels.data, digest_size=16, key=str(pixels.shape).encode()).digest()


def _moments(image: Shaped[Tensor, "c H W"]) -> Float[Tensor, "3 c"]:
    some = image[:, ::STATISTICS_STRIDE, ::STATISTICS_STRIDE].flatten(1).double()
    some /= 255 if image.dtype == torch.uint8 else 1
    number = torch.full((len(some),), some.shape[1], dtype=torch.float64)
    return torch.stack([number, some.sum(1), some.square().sum(1)])
