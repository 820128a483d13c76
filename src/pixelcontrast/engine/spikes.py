"""Says when a term of the loss leaps above what it has been lately, with the step and its files; stops nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor

from pixelcontrast.engine.incidents import append_incident
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.types import Batch

_WINDOW, _FEWEST = 200, 50
_LEAST_SPREAD = 0.02  # of the median: a loss that hardly moves must not be reported for a trifle
_FILES_SHOWN = 32


class SpikeWatch:
    """One term's running median and median absolute deviation, over its last 200 finite values.

    A value is a spike if it lies `factor` robust standard deviations (1.4826 MAD, and 2 % of the median at least) above
    the median of at least 50 values before it.
    """

    def __init__(self, factor: float, values: Sequence[float] = ()) -> None:
        self.factor = factor
        self.values = deque(values, maxlen=_WINDOW)

    def judge(self, value: float) -> float | None:
        """Take a value in; return the median before it if the value is a spike."""
        before = median(self.values) if len(self.values) >= _FEWEST else None
        spike = before is not None and value > before + self.factor * self._spread(before)
        if abs(value) < float("inf"):
            self.values.append(value)
        return before if spike else None

    def _spread(self, middle: float) -> float:
        deviation = median(abs(value - middle) for value in self.values)
        return max(1.4826 * deviation, _LEAST_SPREAD * abs(middle))


class WatchSpikes(Callback):
    """Watches every term of the loss, at every batch; values are read off the device every `every` steps only.

    Args:
        path: incidents.jsonl of the run.
        factor: See `SpikeWatch`.
        every: Steps between readings.
        console: Where messages go.
    """

    def __init__(self, path: Path, *, factor: float, every: int, console: Console) -> None:
        self.path, self.factor, self.every, self.console = path, factor, every, console
        self._watches: dict[str, SpikeWatch] = {}
        self._unread: list[tuple[int, tuple[str, ...], dict[str, Tensor]]] = []
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """The values of each term that the next ones are compared with."""
        self._read()
        return {name: list(watch.values) for name, watch in self._watches.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on watching."""
        self._watches = {name: SpikeWatch(self.factor, values) for name, values in state_dict.items()}

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Note which step the batch belongs to."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, task: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the batch's terms, and read what was kept where the step says so."""
        assert isinstance(task, SegmentationTask)
        self._unread.append((self._step, batch.names, task.parts))
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self._read()

    def _read(self) -> None:
        unread, self._unread = self._unread, []
        if not unread:
            return
        values = torch.stack([value for *_, parts in unread for value in parts.values()]).tolist()
        numbers = iter(values)
        for step, names, parts in unread:
            for name, value in zip(parts, numbers, strict=False):
                watch = self._watches.setdefault(name, SpikeWatch(self.factor))
                before = watch.judge(value)
                if before is not None:
                    self._report(step, names, name, value, before)

    def _report(self, step: int, names: Sequence[str], term: str, value: float, before: float) -> None:
        text = f"{term} is {value:.4g}, its median over the steps before {before:.4g}"
        append_incident(self.path, step=step, kind="spike", text=text, files=names)
        shown = ", ".join(names[:_FILES_SHOWN])
        self.console.print(f"loss spike at step {step}: {text}; files: {shown}", style="yellow")
