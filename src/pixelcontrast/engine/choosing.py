"""Which pixels and regions of a split are looked at: equally many of each class, a pure function of the seed.

The network has no say in the choice, so two runs on one data set are looked at in the same places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from pixelcontrast.ops.hashing import RANDOM_BITS, hash_rows, mix

_PIXELS, _REGIONS = range(2)  # streams of randomness


@dataclass(frozen=True)
class ChosenPixels:
    """Pixels of a split, class by class, those of a class in random order: a prefix of a class is a smaller choice.

    Attributes:
        image: Index in the split.
        row: In the labels.
        column: In the labels.
        label: Class id.
    """

    image: Int[Tensor, " n"]
    row: Int[Tensor, " n"]
    column: Int[Tensor, " n"]
    label: Int[Tensor, " n"]


@dataclass(frozen=True)
class ChosenRegions:
    """Regions (all pixels of one class in one image) of a split, ordered as `ChosenPixels` are.

    Attributes:
        image: Index in the split.
        box: Top, left, bottom, right in the labels; the last two are exclusive.
        size: Number of pixels.
        label: Class id.
    """

    image: Int[Tensor, " n"]
    box: Int[Tensor, "n 4"]
    size: Int[Tensor, " n"]
    label: Int[Tensor, " n"]


class LowestLots:
    """Keeps the rows of each class that drew the lowest lots: a random sample, in whatever order rows come.

    Args:
        limit: Most rows of a class.
        width: Integers a row.
    """

    def __init__(self, limit: int, width: int) -> None:
        self.limit = limit
        self._keys = torch.zeros(0, dtype=torch.int64)  # class, then lot
        self._rows = torch.zeros(0, width, dtype=torch.int64)

    def add(self, labels: Int[Tensor, " n"], lots: Int[Tensor, " n"], rows: Int[Tensor, "n w"]) -> None:
        """Take rows in; lots lie in [0, 2^31)."""
        keys = torch.cat([self._keys, (labels << RANDOM_BITS) | lots])
        keys, order = keys.sort(stable=True)
        first = torch.searchsorted(keys, (keys >> RANDOM_BITS) << RANDOM_BITS)
        kept = torch.arange(keys.shape[0]) - first < self.limit
        self._keys, self._rows = keys[kept], torch.cat([self._rows, rows])[order[kept]]

    def result(self) -> tuple[Int[Tensor, " n"], Int[Tensor, "n w"]]:
        """Labels and rows, by class and lot."""
        return self._keys >> RANDOM_BITS, self._rows


def choose(
    labels_of: Iterable[Int[Tensor, "H W"]],
    *,
    num_classes: int,
    pixels_per_class: int,
    regions_per_class: int,
    seed: int,
) -> tuple[ChosenPixels, ChosenRegions]:
    """Draw pixels of every class, uniformly over all of its pixels in the split, and regions over all of its images.

    Args:
        labels_of: Labels of every image, in the order of the split.
        num_classes: Ids from 0 to this are classes; all others are left out.
        pixels_per_class: Most pixels of a class.
        regions_per_class: Most regions of a class.
        seed: Equal seeds draw equal pixels and regions.
    """
    pixels, regions = LowestLots(pixels_per_class, width=3), LowestLots(regions_per_class, width=6)
    for image, labels in enumerate(labels_of):
        present = [label for label in torch.unique(labels).tolist() if 0 <= label < num_classes]
        if pixels_per_class:
            pixels.add(*_draw_pixels(image, labels, present, limit=pixels_per_class, seed=seed))
        if regions_per_class:
            regions.add(*_draw_regions(image, labels, present, seed=seed))
    label, rows = pixels.result()
    image, row, column = rows.T.contiguous()
    region_label, region_rows = regions.result()
    where, *box, size = region_rows.T.contiguous()
    return ChosenPixels(image, row, column, label), ChosenRegions(where, torch.stack(box, dim=1), size, region_label)


def evenly_spaced(count: int, *, most: int) -> Int[Tensor, " n"]:
    """At most `most` of `count` indices; of rows that lie class by class, each class keeps its share."""
    return torch.arange(count) if count <= most else torch.arange(most) * count // most


def _draw_pixels(
    image: int, labels: Int[Tensor, "H W"], present: Sequence[int], *, limit: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, lots and (image, row, column) of one image's pixels that can be among the lowest of their class."""
    flat = labels.flatten()
    lots = hash_rows(mix(seed, _PIXELS, image), torch.arange(flat.shape[0]))
    found = [torch.zeros(0, dtype=torch.int64)]
    for label in present:
        where = (flat == label).nonzero()[:, 0]
        found.append(where[lots[where].argsort(stable=True)[:limit]])
    near = torch.cat(found)
    rows = torch.stack([torch.full_like(near, image), near // labels.shape[1], near % labels.shape[1]], dim=1)
    return flat[near], lots[near], rows


def _draw_regions(
    image: int, labels: Int[Tensor, "H W"], present: Sequence[int], *, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, lots and (image, box, size) of one image's regions."""
    rows = [[image, *_box_and_size(labels == label)] for label in present]
    classes = torch.tensor(present, dtype=torch.int64)
    lots = hash_rows(mix(seed, _REGIONS, image), classes)
    return classes, lots, torch.tensor(rows, dtype=torch.int64).view(-1, 6)


def _box_and_size(member: Tensor) -> tuple[int, int, int, int, int]:
    rows, columns = (member.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    top, bottom, left, right = (int(end) for side in (rows, columns) for end in (side[0], side[-1]))
    return top, left, bottom + 1, right + 1, int(member.sum())
