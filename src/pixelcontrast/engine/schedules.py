"""Learning rate as a function of the step, and the optimiser's parameter groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch.optim import Optimizer as TorchOptimizer

from pixelcontrast.engine.options import SGD, AdamW, Constant, Cosine, Poly


def learning_rate_factor(schedule: Poly | Cosine | Constant, max_steps: int) -> Callable[[int], float]:
    """What the base rate is multiplied by at a step (0 to max_steps): linear warm-up times the schedule's decay."""

    def factor(step: int) -> float:
        progress = min(step / max_steps, 1.0)
        match schedule:
            case Poly():
                decay = math.pow(1 - progress, schedule.power)
            case Cosine():
                decay = schedule.final_factor + (1 - schedule.final_factor) * (1 + math.cos(math.pi * progress)) / 2
            case Constant():
                decay = 1.0
        return decay * min((step + 1) / (schedule.warmup_steps + 1), 1.0)

    return factor


def build_optimizer(
    options: SGD | AdamW, *, backbone: Iterable[torch.nn.Parameter], head: Iterable[torch.nn.Parameter]
) -> TorchOptimizer:
    """An optimiser over two groups: the backbone at the base rate, everything else at `head_lr_factor` times it."""
    groups = [{"params": list(backbone), "lr": options.lr}]
    groups.append({"params": list(head), "lr": options.lr * options.head_lr_factor})
    match options:
        case SGD():
            return torch.optim.SGD(groups, momentum=options.momentum, weight_decay=options.weight_decay)
        case AdamW():
            return torch.optim.AdamW(groups, betas=options.betas, weight_decay=options.weight_decay)
