"""Parameters outside of DistributedDataParallel whose gradients are averaged over ranks all the same."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pixelcontrast.contrast import ranks


def averaged_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters by name, as views whose gradient is the mean over ranks; one exchange for all of them.

    For `torch.func.functional_call`. Every rank must run as many backward passes; a rank whose loss does not depend on
    the parameters takes part with zeros.
    """
    named: dict[str, Tensor] = dict(module.named_parameters())
    if not named or ranks.world_size() == 1 or not torch.is_grad_enabled():
        return named
    return dict(zip(named, _Average.apply(*named.values()), strict=True))


@torch.no_grad()
def agree(module: nn.Module, calls: int, device: torch.device) -> None:
    """Give every rank the parameters and buffers of rank 0, as DistributedDataParallel does when it is made.

    Raises:
        ValueError: If the ranks have counted different numbers of calls.
    """
    if ranks.world_size() > 1:
        ranks.require_equal(torch.tensor([calls], device=device), "calls in training")
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, src=0)


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parameters: Tensor) -> tuple[Tensor, ...]:
        return tuple(parameter.view_as(parameter) for parameter in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        total = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(total)
        parts = torch.split(total / ranks.world_size(), [gradient.numel() for gradient in gradients])
        return tuple(part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True))
