"""What the processes of one run tell each other beside gradients; one process alone is the plain case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank_and_count() -> tuple[int, int]:
    """This process's number, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if _several() else (0, 1)


def gathered(own: Sequence[T]) -> list[T]:
    """Entries of all ranks, those of rank 0 first."""
    if not _several():
        return list(own)
    of_ranks: list[Sequence[T]] = [()] * dist.get_world_size()
    dist.all_gather_object(of_ranks, own)
    return [entry for entries in of_ranks for entry in entries]


def sum_over_ranks(counts: Tensor) -> None:
    """Add up a tensor over all ranks, in place."""
    if _several():
        dist.all_reduce(counts)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
