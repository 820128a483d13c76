"""Stops a run, or leaves a step out, before a loss or gradient that is not finite reaches a weight.

The loss and the norm of the gradient are judged on the device; the answer is read once a step, when all of its backward
pass is queued and before the optimiser. That one wait is the price of stopping within the step: an optimiser that
was already queued could not be taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor

from pixelcontrast.contrast import MemoryBank
from pixelcontrast.contrast.ranks import is_distributed
from pixelcontrast.engine.diagnosis import Diagnosis, diagnose
from pixelcontrast.engine.incidents import append_incident
from pixelcontrast.engine.kept_step import KeptStep, save_kept_step
from pixelcontrast.engine.logging import append_metrics
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.random_state import set_torch_state, torch_state
from pixelcontrast.engine.rollback import StepStart
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.sharding import whole
from pixelcontrast.errors import RunError
from pixelcontrast.types import Batch

_MOST_IN_A_ROW = 10


class WatchNumbers(Callback):
    """Looks at every step's loss and gradient before the optimiser does; logs the gradient's norm on the way.

    A skipped step changes no weight, no batch statistic and no row of the memory; schedule and data go on.

    Args:
        folder: Of the run.
        policy: What to do about a step that is not finite.
        precision: Of the recipe, for the replay.
        console: Where messages go.
    """

    def __init__(self, folder: RunFolder, *, policy: Literal["stop", "skip"], precision: str, console: Console) -> None:
        self.folder, self.policy, self.precision, self.console = folder, policy, precision, console
        self.skipped = 0
        self._in_a_row = 0
        self._batches: list[Batch] = []
        self._finite: list[Tensor] = []
        self._start: StepStart | None = None

    def state_dict(self) -> dict[str, Any]:
        """How many steps were skipped."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped = state_dict["skipped"]

    def on_train_batch_start(self, trainer: L.Trainer, task: L.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Keep the batch, and where its step begins."""
        if not self._batches:
            self._start = StepStart.of(
                task, _memories(task), images=batch.image.shape[0], batches=trainer.accumulate_grad_batches
            )
        self._batches.append(batch)

    def on_before_backward(self, trainer: L.Trainer, task: L.LightningModule, loss: Tensor) -> None:
        """Note, on the device, whether a batch's loss is finite."""
        self._finite.append(loss.detach().isfinite())

    def on_before_optimizer_step(self, trainer: L.Trainer, task: L.LightningModule, optimizer: Any) -> None:
        """Read whether the step may be taken."""
        norm = gradient_norm(task)
        assert isinstance(task, SegmentationTask)
        task.record({"gradient_norm": norm})
        finite = torch.stack([torch.stack(self._finite).all(), norm.isfinite()]).to(torch.int32)
        if is_distributed():
            dist.all_reduce(finite, dist.ReduceOp.MIN)  # all ranks do the same
        loss_is_finite, gradient_is_finite = map(bool, finite.tolist())  # the one wait
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = None if scaler is None else scaler.get_scale()
        match verdict(loss=loss_is_finite, gradient=gradient_is_finite, scale=scale):
            case "take":
                self._in_a_row = 0
            case "scaler":
                self._count(trainer, f"gradients overflow in float16; the loss scale {scale:g} is halved")
            case "refuse":
                self._refuse(trainer, task, scale or 1.0)
        self._batches, self._finite, self._start = [], [], None

    def _refuse(self, trainer: L.Trainer, task: L.LightningModule, scale: float) -> None:
        """Undo the step's forward passes, find out what was not finite, and stop or leave the step out."""
        assert isinstance(task, SegmentationTask)
        assert self._start is not None
        self._start.restore(task, _memories(task))
        kept = KeptStep.of(task, self._batches, self._start, trainer.global_step, self.precision, scale)
        saved = self._save(kept, trainer) if self.policy == "stop" or self.skipped == 0 else ""
        text = _text(self._diagnose(task, trainer.precision_plugin.forward_context, scale, trainer.global_step))
        self._in_a_row += 1
        if self.policy == "stop" or self._in_a_row >= _MOST_IN_A_ROW:
            where = f"step {trainer.global_step} is not finite"
            if self.policy == "skip":
                where = f"{self._in_a_row} steps in a row are not finite; the last, {trainer.global_step}"
            self._note(trainer, "not_finite", text)
            raise RunError(f"{where}: {text}.{saved}\n{_ADVICE}")
        task.zero_grad(set_to_none=True)  # without gradients, the optimiser leaves everything as it is
        self._count(trainer, f"{text}.{saved}")

    def _diagnose(
        self, task: SegmentationTask, precision: Callable[[], AbstractContextManager[Any]], scale: float, step: int
    ) -> tuple[Diagnosis, ...]:
        """Run the step again from its start, looking at everything, and leave the state as at the start."""
        assert self._start is not None
        now = torch_state()
        set_torch_state(self._start.generators)
        names = task.segmentor.class_names
        found = diagnose(task, self._batches, step=step, class_names=names, precision=precision, scale=scale)
        self._start.restore(task, _memories(task))
        set_torch_state(now)
        return found

    def _save(self, kept: KeptStep, trainer: L.Trainer) -> str:
        path = self.folder.replay / f"step_{trainer.global_step:08d}{_of_rank(trainer)}.pt"
        try:
            save_kept_step(kept, path)
        except (OSError, RunError) as error:
            return f" The step could not be kept for a replay: {error}"
        return f" Kept as {path}: `pixelcontrast replay {self.folder.path}` runs it again"

    def _count(self, trainer: L.Trainer, text: str) -> None:
        self.skipped += 1
        self._note(trainer, "skipped_step", text)
        counted = {"skipped_steps": float(self.skipped)}
        for logger in trainer.loggers:
            logger.log_metrics(counted, step=trainer.global_step)
        if trainer.is_global_zero:
            append_metrics(self.folder.metrics, counted, step=trainer.global_step)
        self.console.print(f"step {trainer.global_step} is skipped ({self.skipped} so far): {text}", style="yellow")

    def _note(self, trainer: L.Trainer, kind: str, text: str) -> None:
        if trainer.is_global_zero:
            names = [name for batch in self._batches for name in batch.names]
            append_incident(self.folder.incidents, step=trainer.global_step, kind=kind, text=text, files=names)


_ADVICE = (
    "--resume --set trainer.non_finite=skip goes on and leaves such steps out. What changes training needs a new run:"
    " a lower optimizer.lr, a longer schedule.warmup_steps, trainer.gradient_clip, for float16 trainer.precision=bf16."
)


def verdict(*, loss: bool, gradient: bool, scale: float | None) -> Literal["take", "scaler", "refuse"]:
    """What becomes of a step whose loss and gradient are finite or not.

    Args:
        loss: Whether the loss is finite.
        gradient: Whether the gradient is.
        scale: Of float16's loss scaler; None without one. The scaler skips a step whose gradient overflows and halves
            its scale: that is how it finds it, and no fault until there is nothing left to halve.
    """
    if loss and gradient:
        return "take"
    return "scaler" if loss and scale is not None and scale >= 1 else "refuse"


@torch.no_grad()
def gradient_norm(task: torch.nn.Module) -> Tensor:
    """L2 norm of all gradients, what clipping goes by; not finite if one of them is not. Waits for nothing."""
    gradients = [parameter.grad for parameter in task.parameters() if parameter.grad is not None]
    return whole(torch.nn.utils.get_total_norm(gradients))


def _memories(task: Any) -> list[MemoryBank]:
    return [criterion.memory for criterion in task.criteria if criterion.memory is not None]


def _of_rank(trainer: L.Trainer) -> str:
    return f"-rank_{trainer.global_rank}" if trainer.world_size > 1 else ""


def _text(found: tuple[Diagnosis, ...]) -> str:
    last = found[-1]
    if last.found:
        return last.text()
    names = ", ".join(name for each in found for name in each.names)
    return f"run again, this rank's batch is finite, so it was another rank's, or rounding; files: {names}"
