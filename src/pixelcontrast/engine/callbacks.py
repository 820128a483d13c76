"""What happens around training steps: evaluation every so often, and the progress a person watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pixelcontrast.contrast import PixelContrast
from pixelcontrast.data.labels import IGNORE_INDEX, lost_foreground
from pixelcontrast.engine.logging import append_metrics, validations
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.steps import AfterStep
from pixelcontrast.errors import Stopped
from pixelcontrast.types import Batch

_STEPS_OF_MASKS = 10


class EvaluateEvery(Callback):
    """Evaluates on the validation split every `every` optimiser steps, but for the last, which the run ends with.

    Which evaluations are done, and the best of them, is read off metrics.jsonl, so that a run that stopped in one makes
    up for it, and does none twice.
    """

    def __init__(self, evaluate: Callable[[int], Scores], *, every: int, metrics: Path, console: Console) -> None:
        self.evaluate, self.every, self.metrics, self.console = evaluate, every, metrics, console
        self._done: dict[int, float] = {}

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Find out what is done, and make up for an evaluation that did not come to its end."""
        self._done = trainer.strategy.broadcast(validations(self.metrics))
        self.on_train_batch_end(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Evaluate where the step says so; all ranks take part."""
        step = trainer.global_step
        if step == 0 or step in self._done or step % self.every or step >= trainer.max_steps or trainer.should_stop:
            return
        try:
            scores = self.evaluate(step)
        except Stopped:  # the training stops at the end of this step too, and a resumed run makes up for it
            return
        self._done[step] = scores.mIoU
        metrics = {"val/mIoU": scores.mIoU, "val/aAcc": scores.aAcc, "val/mAcc": scores.mAcc}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)
        if trainer.is_global_zero:
            append_metrics(self.metrics, metrics, step=step)
            self.console.print(scores.table(f"validation at step {step}"))
            best = max(self._done, key=lambda each: self._done[each])
            self.console.print(f"best so far: mIoU {self._done[best]:.2f} at step {best}")


class WarnOfCollapse(AfterStep):
    """Says once if all embeddings share one direction though their classes differ: contrast then teaches nothing.

    It looks at the anchors and at the memory, and speaks where one of them is collapsed twice in a row: a network's
    first steps may pass by there.
    """

    def __init__(self, console: Console, *, every: int) -> None:
        self.console, self.every = console, every
        self._said = False
        self._looks = {"embeddings": 0, "memory": 0}  # in a row at which it was collapsed

    def after_step(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Look every so often, for looking waits for the device."""
        step, contrast = trainer.global_step, task.contrast
        due = step % self.every == 0 and not self._said and trainer.is_global_zero
        if not due or not isinstance(contrast, PixelContrast) or contrast.weight_at(step - 1) == 0:
            return
        for what, judge in (("embeddings", contrast.has_collapsed), ("memory", contrast.memory_has_collapsed)):
            self._looks[what] = self._looks[what] + 1 if judge() else 0
        collapsed = [what for what, looks in self._looks.items() if looks >= 2]
        if collapsed:
            self._said = True
            self.console.print(
                f"warning: at step {step} all classes point one way (collapse) in the {' and the '.join(collapsed)}; "
                "lower contrast.weight or optimizer.lr, or raise contrast.temperature",
                style="yellow",
            )


class WarnOfMasks(Callback):
    """Says so if the first batches look as if their masks were of 0 and 255, whose 255 is ignored."""

    def __init__(self, names: Sequence[str], console: Console) -> None:
        self.names, self.console = names, console
        self._seen: set[int] = set()

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: object, batch: Batch, batch_idx: int) -> None:
        """Look until the second of two classes is met, in the first steps of a run."""
        step, last = trainer.global_step, min(_STEPS_OF_MASKS, trainer.max_steps) - 1
        if len(self.names) != 2 or 1 in self._seen or step > last or not trainer.is_global_zero:
            return
        self._seen.update(torch.unique(batch.labels).tolist())
        if step == last and self._seen == {0, IGNORE_INDEX}:
            message = f"warning: in the first {last + 1} steps {lost_foreground(self.names)}"
            self.console.print(message, style="yellow", markup=False)


class ShowProgress(Callback):
    """A bar with loss, images per second and time left; where there is no terminal, a line every half minute."""

    def __init__(self, console: Console, *, batch_size: int, title: str, every: int = 10) -> None:
        self.console, self.batch_size, self.title, self.every = console, batch_size, title, every
        self._progress: Progress | None = None
        self._started = self._spoke = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Begin to count."""
        self._started = self._spoke = time.monotonic()
        self._first_step = trainer.global_step
        if trainer.is_global_zero and self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"),
                TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[loss]}"),
                console=self.console,
            )  # fmt: skip
            self._progress.add_task(
                self.title, total=trainer.max_steps, completed=trainer.global_step, speed="", loss=""
            )
            self._progress.start()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Show where training is; the loss is read off the device only every few steps."""
        step = trainer.global_step
        if not trainer.is_global_zero or (step % self.every and step < trainer.max_steps):
            return
        elapsed = time.monotonic() - self._started
        steps_per_second = (step - self._first_step) / max(elapsed, 1e-9)
        speed, loss = f"{steps_per_second * self.batch_size:.1f} images/s", _loss_text(trainer)
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=step, speed=speed, loss=loss)
        elif time.monotonic() - self._spoke > 30 or step >= trainer.max_steps:
            self._spoke = time.monotonic()
            left = (trainer.max_steps - step) / max(steps_per_second, 1e-9)
            self.console.print(f"{self.title}: step {step}/{trainer.max_steps}, {speed}, {left:.0f} s left, {loss}")

    def on_train_end(self, *_: Any) -> None:
        """Take the bar down."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def on_exception(self, *_: Any) -> None:
        """Take the bar down, so that a message can be read."""
        self.on_train_end()


def _loss_text(trainer: L.Trainer) -> str:
    """The losses of the last logged step, with what contrast's can at best and by chance be."""
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    text = f"loss {values['loss']:.3f}" if "loss" in values else ""
    if "loss/contrast" in values:
        text += f", contrast {values['loss/contrast']:.3f}"
    if "contrast/floor" in values:
        text += f" (floor {values['contrast/floor']:.2f}, chance {values['contrast/chance_level']:.2f})"
    return text
