"""How a run ends before its last step, and what is said of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from pixelcontrast.contrast.ranks import is_distributed, rank
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.stopping import StopSignals, requeue_job
from pixelcontrast.errors import RunError, Stopped
from pixelcontrast.files import is_full, no_room

# What gloo and NCCL say when the process at the other end is gone.
_GONE = re.compile(r"connection (was )?(closed|reset)|broken pipe|remote process exited|socket timeout", re.IGNORECASE)


@contextmanager
def told_plainly(folder: RunFolder) -> Iterator[None]:
    """Turn what only the outside can mend, a full disk and a lost process, into a message instead of a traceback.

    Raises:
        RunError: For these; every other error as it is.
    """
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise no_room(folder.path) from error
        if is_distributed() and _GONE.search(str(error)):
            raise RunError(
                f"another process of this run has ended or cannot be reached, so that this one (rank {rank()})"
                " ends too; see what the other said, then start all of them again with --resume"
            ) from error
        raise


def how_to_go_on(folder: RunFolder, trainer: L.Trainer, signals: StopSignals) -> str:
    """What the first rank of a run that was told to stop says at last; if SLURM told it, SLURM is asked for more."""
    if signals.received == signals.requeue and signals.requeue is not None:
        requeue_job()
        return f"stopped after step {trainer.global_step} of {trainer.max_steps}; SLURM is asked to start the job again"
    place = shlex.quote(str(folder.path))
    command = f"pixelcontrast train {shlex.quote(str(folder.recipe))} --run-dir {place} --resume"
    return f"stopped after step {trainer.global_step} of {trainer.max_steps}, which is saved; to go on:\n  {command}"


def end_of_rank(stop: Stopped, trainer: L.Trainer) -> BaseException:
    """How this process ends: the ranks that Lightning started without an error, lest it kills the first one in turn."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    started_by_lightning = isinstance(environment, LightningEnvironment) and environment.local_rank() > 0
    return SystemExit(0) if started_by_lightning else stop
