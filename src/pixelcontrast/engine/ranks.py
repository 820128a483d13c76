"""What the processes of one run tell each other beside gradients; one process alone is the plain case."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pixelcontrast.contrast.ranks import is_distributed, rank, world_size

T = TypeVar("T")


def best_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@contextmanager
def joined_ranks() -> Iterator[torch.device]:
    """The device to compute on; where `torchrun` started several processes, they are joined for as long as this lasts.

    Each of them has a GPU of its own, if there are any.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield best_device()
        return
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def gathered(own: Sequence[T]) -> list[T]:
    """Entries of all ranks, those of rank 0 first."""
    if not is_distributed():
        return list(own)
    of_ranks: list[Sequence[T]] = [()] * world_size()
    dist.all_gather_object(of_ranks, own)
    return [entry for entries in of_ranks for entry in entries]


def sum_over_ranks(counts: Tensor) -> None:
    """Add up a tensor over all ranks, in place."""
    if is_distributed():
        dist.all_reduce(counts)


@torch.no_grad()
def share_buffers(module: nn.Module) -> None:
    """Give every rank the buffers of the first: batch statistics, which each rank keeps of its own images."""
    if not is_distributed():
        return
    buffers = dict(module.named_buffers())
    # As an object: after a training on GPUs, the network may lie where the ranks' backend cannot send tensors from.
    box = [{name: buffer.cpu() for name, buffer in buffers.items()} if rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    for name, value in (box[0] or {}).items():
        buffers[name].copy_(value)
