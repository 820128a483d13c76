"""What acts after optimiser steps, which are not batches: several batches may be accumulated for one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback


class AfterStep(Callback, ABC):
    """Calls `after_step` once for each optimiser step that this process takes, at the end of the step's last batch."""

    _step = 0

    def on_train_start(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """The step that a run goes on from has ended."""
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, task: L.LightningModule, *_: Any) -> None:
        """Act, if this batch ended a step."""
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self.after_step(trainer, task)

    @abstractmethod
    def after_step(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Act on the step that has just ended, number `trainer.global_step`, counted from 1."""
