"""Exponential moving average of the network's weights (Polyak and Juditsky, 1992), with the warm-up of TensorFlow."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import lightning as L
import torch
from torch.distributed.tensor import DTensor

from pixelcontrast.engine.steps import AfterStep
from pixelcontrast.nn.segmentor import Segmentor


class AverageWeights(AfterStep):
    """Keeps an average of the segmentor's weights and batch statistics, and updates it after every optimiser step.

    average <- d average + (1 - d) weights, with d = min(decay, (1 + step) / (10 + step)), so that the first weights are
    soon forgotten. The criterion is not averaged: it is not deployed. No step waits for the device.

    Args:
        segmentor: The network before its first step.
        decay: Share of the average that is kept, at least 0, below 1.

    Attributes:
        network: The average, in eval mode and without gradients; it is what is evaluated and deployed.
    """

    def __init__(self, segmentor: Segmentor, *, decay: float) -> None:
        self.decay, self._trained = decay, segmentor
        self.network = deepcopy(segmentor).requires_grad_(False).eval()

    def on_train_start(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Go to the device of the network that is trained."""
        super().on_train_start(trainer, task)
        self.network.to(task.device)

    def after_step(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Take the new weights in."""
        decay = min(self.decay, (1 + trainer.global_step) / (10 + trainer.global_step))
        update_average(self.network, self._trained, decay=decay)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the average."""
        return dict(self.network.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the average of a checkpoint."""
        self.network.load_state_dict(state_dict)


@torch.no_grad()
def update_average(average: torch.nn.Module, network: torch.nn.Module, *, decay: float) -> None:
    """Move the floating-point weights and buffers of `average` towards those of `network`; copy its counters."""
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    floating = [(old, new) for old, new in pairs if old.is_floating_point() and not isinstance(new, DTensor)]
    torch._foreach_lerp_([old for old, _ in floating], [new for _, new in floating], 1 - decay)
    for old, new in pairs:
        if isinstance(new, DTensor):  # a sharded one is put together and dropped, one at a time
            old.lerp_(new.full_tensor(), 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)
