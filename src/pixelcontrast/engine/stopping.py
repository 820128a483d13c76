"""Stopping in good order: a signal ends the step, the state is saved, and a message says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

from pixelcontrast.contrast.ranks import is_distributed
from pixelcontrast.engine.checkpoints import KeepCheckpoints
from pixelcontrast.engine.steps import AfterStep
from pixelcontrast.errors import Stopped


def ending_signals() -> tuple[signal.Signals, ...]:
    """What asks a process to end: SIGTERM, SIGINT, and SIGHUP of a lost terminal unless it is ignored, as by nohup."""
    asked = [signal.SIGTERM, signal.SIGINT]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return tuple(asked)


@contextmanager
def ended_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Hand what asks to end, but for SIGINT, to a handler meanwhile; in the main thread, where Python allows it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in ending_signals() if number != signal.SIGINT}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class StopSignals:
    """Takes the signals that ask to end and, in a SLURM job, the one that asks for a requeue, while it is entered.

    The first one is remembered, for whoever asks at a moment when nothing is half done; a second SIGINT raises
    KeyboardInterrupt at once. Outside the main thread, where Python allows no handlers, nothing is taken.

    Attributes:
        received: The first signal that came to this process.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.requeue = SLURMEnvironment().requeue_signal if SLURMEnvironment.detect() else None
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}
        self._group: Any = None

    def __enter__(self) -> StopSignals:
        self._before = self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def install(self) -> dict[signal.Signals, Any]:
        """Take the signals; return who took them before."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        wanted = [*ending_signals(), *([self.requeue] if self.requeue is not None else [])]
        return {number: signal.signal(number, self._take) for number in wanted}

    def none_received(self) -> bool:
        """Whether this process may go on, as far as it knows."""
        return self.received is None

    def agreed(self) -> signal.Signals | None:
        """The signal that came to any rank, the same for all of them; every rank must ask."""
        if not is_distributed():
            return self.received
        if self._group is None:  # exchanges what lies on the CPU, so that no step waits for a GPU's queue
            self._group = dist.new_group(backend="gloo")
        numbers = torch.tensor([self.received or 0])
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=self._group)
        if not numbers:
            return None  # what came to this rank in the meantime is for the next time that all are asked
        self.received = signal.Signals(int(numbers))
        return self.received

    def stop_if_agreed(self) -> None:
        """Raise Stopped if a signal came to any rank; every rank must ask."""
        if (number := self.agreed()) is not None:
            raise Stopped(number)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked child, such as a worker of a loader: its parent decides
            return
        if self.received is None:
            self.received = signal.Signals(number)
            hint = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
                # Not through the console: its lock may be held by the code that was interrupted.
                with suppress(OSError):  # the terminal that hung up
                    os.write(2, f"\n{self.received.name}: ending the step and saving{hint}\n".encode())
        elif number == signal.SIGINT:
            signal.default_int_handler(number, frame)


class StopAtStep(AfterStep):
    """Ends the training after the step in which a signal came to any rank, with a checkpoint of that step."""

    def __init__(self, signals: StopSignals, checkpoints: KeepCheckpoints) -> None:
        self.signals, self.checkpoints = signals, checkpoints

    def on_train_start(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Take the signals over from Lightning, which by now has put its own handler of SIGTERM before ours.

        Lightning's speaks to the other ranks from within the handler, in the midst of whatever they exchange, and stops
        between the batches of one step.
        """
        super().on_train_start(trainer, task)
        self.signals.install()
        trainer.should_stop = self.signals.agreed() is not None

    def after_step(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Stop if any rank was told to."""
        if trainer.global_step < trainer.max_steps and self.signals.agreed() is not None:
            self.checkpoints.save(trainer)
            trainer.should_stop = True


def requeue_job() -> None:
    """Ask SLURM to start this job again, as Lightning's own handler would, but not from within a signal handler."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    subprocess.run(["scontrol", "requeue", job], check=False)
