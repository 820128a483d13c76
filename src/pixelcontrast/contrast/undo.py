"""Taking back what training calls stored in a memory, without a copy of the whole of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from pixelcontrast.contrast import ranks
from pixelcontrast.contrast.memory import MemoryBank

_SMALL = ("cursors", "fill", "clock")


class MemoryMark(NamedTuple):
    """What a memory held where the next calls will write.

    Attributes:
        slots: The rows that may be overwritten.
        rows: Their embeddings.
        labels: Their labels.
        stamps: When they were stored.
        small: Cursors, fill and clock.
    """

    slots: Int[Tensor, " s"]
    rows: Shaped[Tensor, "s d"]
    labels: Int[Tensor, " s"]
    stamps: Int[Tensor, " s"]
    small: tuple[Tensor, ...]


@torch.no_grad()
def mark(memory: MemoryBank, *, images: int, calls: int = 1) -> MemoryMark:
    """Keep what `calls` training calls of `images` images a rank can overwrite: a few rows a class, no wait.

    The rows of a class are written one after the other from its cursor on, so it is known before a call which slots it
    can reach.
    """
    candidates = images * calls * ranks.world_size()
    spare = memory.labels.shape[0] - 1  # the row that takes what is not stored
    slots = [memory.labels.new_full((1,), spare)]
    classes = torch.arange(memory.num_classes, device=memory.labels.device)[:, None]
    for kind, most in enumerate((candidates, candidates * memory.pixels_per_region)):
        capacity = memory.capacities[kind]
        steps = torch.arange(min(most, capacity), device=classes.device)
        reached = (memory.cursors[kind][:, None] + steps) % max(capacity, 1)
        slots.append(memory.rows_of(kind, classes, reached).flatten())
    at_risk = torch.cat(slots)
    small = tuple(getattr(memory, name).clone() for name in _SMALL)
    rows = memory.rows[at_risk.to(memory.rows.device)]
    return MemoryMark(at_risk, rows, memory.labels[at_risk], memory.stamps[at_risk], small)


@torch.no_grad()
def take_back(memory: MemoryBank, to: MemoryMark) -> None:
    """Bring a memory back to where it was at a mark; no more may have been stored since than the mark was made for."""
    memory.rows[to.slots.to(memory.rows.device)] = to.rows
    memory.labels[to.slots], memory.stamps[to.slots] = to.labels, to.stamps
    for name, value in zip(_SMALL, to.small, strict=True):
        getattr(memory, name).copy_(value)
