"""Rows sorted into rings, one per class: the index arithmetic of the memory, and of what ranks send each other."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from pixelcontrast.types import PixelSet


class ClassRanks(NamedTuple):
    """Rows in order of their class, without changing the order within a class.

    Attributes:
        order: Indices of the rows, those without a class last.
        labels: Of the rows in that order; `num_classes` for those without one.
        ranks: Number of the row within its class, from 0.
        counts: Rows of each class, and of none (last).
    """

    order: Int[Tensor, " n"]
    labels: Int[Tensor, " n"]
    ranks: Int[Tensor, " n"]
    counts: Int[Tensor, " k1"]


def class_ranks(labels: Int[Tensor, " n"], num_classes: int) -> ClassRanks:
    """Rank every row within its class, by one stable sort; ids outside 0..num_classes-1 are no class."""
    known = (labels >= 0) & (labels < num_classes)
    ordered, order = labels.where(known, num_classes).sort(stable=True)
    bounds = torch.searchsorted(ordered, torch.arange(num_classes + 2, device=labels.device))
    ranks = torch.arange(labels.shape[0], device=labels.device) - bounds[ordered]
    return ClassRanks(order, ordered, ranks, bounds[1:] - bounds[:-1])


def ring_slots(ranked: ClassRanks, cursors: Int[Tensor, " k"], capacity: int) -> Int[Tensor, " n"]:
    """Slot of each ordered row in its class's ring, -1 for a row that a later one of the same call would overwrite."""
    classes = ranked.labels.clamp(max=cursors.shape[0] - 1)
    kept = (ranked.labels < cursors.shape[0]) & (ranked.ranks >= ranked.counts[classes] - capacity)
    return ((cursors[classes] + ranked.ranks) % max(capacity, 1)).where(kept, -1)


def compact(rows: PixelSet, *, num_classes: int, capacity: int) -> PixelSet:
    """Lay rows out class by class, `capacity` slots each, the last ones in their order; label -1 in free slots."""
    ranked = class_ranks(rows.labels, num_classes)
    place = ranked.ranks - (ranked.counts[ranked.labels] - capacity).clamp(min=0)
    spare = num_classes * capacity
    targets = (ranked.labels * capacity + place).where((place >= 0) & (ranked.labels < num_classes), spare)
    embeddings = rows.embeddings.new_zeros(spare + 1, rows.embeddings.shape[1])
    labels = rows.labels.new_full((spare + 1,), -1)
    return PixelSet(
        embeddings.index_copy(0, targets, rows.embeddings[ranked.order])[:-1],
        labels.index_copy(0, targets, ranked.labels)[:-1],
    )


@torch.library.custom_op("pixelcontrast::overwrite", mutates_args=("rows",))
def overwrite(rows: Tensor, source: Tensor, targets: Tensor) -> None:
    """Write each source row into its target row, in place; the last row takes what is not to be stored and stays zero.

    A registered operator, since a compiler given the plain operations copies all rows to write a few.
    """
    rows.index_copy_(0, targets.to(rows.device), source.to(rows.device))
    rows[-1].zero_()
