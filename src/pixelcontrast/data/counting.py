"""How much of each class a split holds, and which classes it does not hold at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.data.labels import IGNORE_INDEX
from pixelcontrast.data.sources import SegmentationDataset


@dataclass(frozen=True)
class ClassCounts:
    """Sums over a split.

    Attributes:
        names: Of the classes.
        pixels: Labelled pixels of each class.
        images: Images that hold at least one pixel of it.
        ignored: Pixels without a class.
        num_images: Of the split, those without labels left out.
    """

    names: tuple[str, ...]
    pixels: Int[Tensor, " k"]
    images: Int[Tensor, " k"]
    ignored: int
    num_images: int

    @property
    def shares(self) -> Float[Tensor, " k"]:
        """Share of each class among the labelled pixels, 0 to 1; all 0 if nothing is labelled."""
        return self.pixels.double() / self.pixels.sum().clamp(min=1)

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes without a single pixel in the split."""
        return tuple(name for name, count in zip(self.names, self.pixels.tolist(), strict=True) if count == 0)


def count_classes(dataset: SegmentationDataset) -> ClassCounts:
    """Read a split once and count its labels.

    Raises:
        DataError: If a file cannot be used.
    """
    size = dataset.label_space.num_classes
    pixels = torch.zeros(256, dtype=torch.int64)
    images = torch.zeros(256, dtype=torch.int64)
    num_images = 0
    for index in range(len(dataset)):
        labels = dataset.labels(index)
        if labels is None:
            continue
        counts = torch.bincount(labels.flatten(), minlength=256)
        pixels += counts
        images += counts > 0
        num_images += 1
    return ClassCounts(
        names=dataset.label_space.names,
        pixels=pixels[:size],
        images=images[:size],
        ignored=int(pixels[IGNORE_INDEX]),
        num_images=num_images,
    )
