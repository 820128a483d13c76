"""Under which conditions a run was begun and goes on, and what is said where they have changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from pixelcontrast.data import DataSet
from pixelcontrast.engine.json_lines import append_line
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.provenance import provenance


class KeepProvenance(Callback):
    """Adds a line to a run's provenance at the start and at each resume, and keeps the same in each checkpoint.

    Where a checkpoint was made under other conditions, the run goes on and says so: the same numbers come out again
    only from the same images, on the same hardware and libraries, with as many threads and ranks.
    """

    def __init__(self, path: Path, console: Console, data: DataSet) -> None:
        self.path, self.console, self.data = path, console, data
        self._now: dict[str, Any] = {}

    def setup(self, trainer: L.Trainer, task: L.LightningModule, stage: str) -> None:
        """Take the conditions down, now that the ranks have found each other and share the threads."""
        assert isinstance(task, SegmentationTask)
        self._now = provenance({"train": task.training_data.dataset.names, "val": self.data.open("val").names})
        if trainer.is_global_zero:
            append_line(self.path, self._now)

    def on_save_checkpoint(self, trainer: L.Trainer, task: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the conditions that led to a checkpoint."""
        checkpoint["provenance"] = self._now

    def on_load_checkpoint(self, trainer: L.Trainer, task: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say what has changed since."""
        changes = changed(checkpoint["provenance"], self._now)
        if changes and trainer.is_global_zero:
            self.console.print(
                f"changed since the checkpoint: {'; '.join(changes)}. The run goes on, but not bit for bit.",
                style="yellow",
            )


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between two provenances, but for the time: `threads 1, now 2` each."""
    found: list[str] = []
    for name in dict.fromkeys((*before, *now)):
        was, became = before.get(name), now.get(name)
        if name == "started" or was == became:
            continue
        if isinstance(was, Mapping) and isinstance(became, Mapping):
            found += (f"{name} of {change}" if name == "images" else change for change in changed(was, became))
        else:
            found.append(f"{name} {was}, now {became}")
    return tuple(found)
