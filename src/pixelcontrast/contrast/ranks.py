"""What the ranks of a distributed run exchange, so that all of them hold the same memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor

from pixelcontrast.types import PixelSet

# torch 2.14 renamed it, and warns at the old name
_all_gather: Any = getattr(dist, "all_gather_single", None) or getattr(dist, "all_gather_into_tensor", None)


def is_distributed() -> bool:
    """Whether this process is a rank of a run; a run of one may be, too."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Number of processes of the run, 1 where `torch.distributed` is not in use."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Number of this process, 0 where `torch.distributed` is not in use."""
    return dist.get_rank() if is_distributed() else 0


def gather(rows: Shaped[Tensor, "n *rest"]) -> Shaped[Tensor, "n2 *rest"]:
    """Concatenate the equally shaped tensors of all ranks in the order of their numbers; no gradient flows."""
    rows = rows.contiguous()
    everyone = rows.new_empty(world_size() * rows.shape[0], *rows.shape[1:])
    _all_gather(everyone, rows)
    return everyone


def require_equal(values: Shaped[Tensor, " n"], what: str) -> None:
    """Refuse to go on where ranks count differently; every rank must ask.

    Raises:
        ValueError: On all ranks; the text says what each has of the first value that differs.
    """
    everyone = gather(values[None])
    differing = (everyone != everyone[0]).any(dim=0).nonzero().flatten().tolist()
    if differing:
        found = ", ".join(map(str, everyone[:, differing[0]].tolist()))
        raise ValueError(
            f"the ranks of this run have different {what}: {found}, in the order of ranks; load the same checkpoint of"
            " contrast on every rank, or on none"
        )


def gather_set(rows: PixelSet) -> PixelSet:
    """Concatenate the equally sized sets of all ranks in the order of their numbers; no gradient flows."""
    return PixelSet(gather(rows.embeddings.detach()), gather(rows.labels))


def gather_with_gradient(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n2 d"]:
    """As `gather`, with gradients: each rank receives the sum of what all ranks' losses ask of its rows.

    Under DistributedDataParallel, which averages over ranks, this gives the gradient of the mean of the ranks' losses.
    """
    gathered: Tensor = _Gather.apply(rows)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return gather(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]
