"""Names the training images that could not be read, and stops a run that has too many of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from pixelcontrast.engine.incidents import append_incident
from pixelcontrast.errors import DataError
from pixelcontrast.types import Batch


class WatchUnreadable(Callback):
    """Tells of each unreadable image once, on the rank that met it.

    Args:
        path: incidents.jsonl of the run.
        most: How many images may be unreadable.
        console: Where messages go.
    """

    def __init__(self, path: Path, *, most: int, console: Console) -> None:
        self.path, self.most, self.console = path, most, console
        self._told: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        """What was told."""
        return {"told": self._told}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._told = list(state_dict["told"])

    def on_train_batch_start(self, trainer: L.Trainer, task: L.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Tell of the images that others in this batch stand in for.

        Raises:
            DataError: If there have been too many.
        """
        for message in batch.unreadable:
            if message in self._told:
                continue
            self._told.append(message)
            append_incident(self.path, step=trainer.global_step, kind="unreadable", text=message)
            self.console.print(f"step {trainer.global_step}: an image is skipped: {message}", style="yellow")
        if len(self._told) > self.most:
            raise DataError(
                f"{len(self._told)} images cannot be read, more than data.max_unreadable={self.most}; the last: "
                f"{self._told[-1]}. `pixelcontrast check` finds all of them"
            )
