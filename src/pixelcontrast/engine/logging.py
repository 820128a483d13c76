"""metrics.jsonl: losses and scores by step, a JSON object a line; and the services that may have them as well."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import lightning as L
from lightning.pytorch import loggers
from lightning.pytorch.loggers.logger import Logger

from pixelcontrast.engine.json_lines import append_line, read_lines
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.steps import AfterStep
from pixelcontrast.errors import RecipeError
from pixelcontrast.files import write_text

LoggerKind = Literal["tensorboard", "wandb", "mlflow", "none"]
_PROJECT = "pixelcontrast"


def require_logger(kind: LoggerKind) -> None:
    """Raise RecipeError, which says what to install, if the package of a logger is not there."""
    if kind in ("wandb", "mlflow") and importlib.util.find_spec(kind) is None:
        raise RecipeError(
            f"trainer.logger: '{kind}' needs a package that is not installed; pip install {kind}, or choose tensorboard"
        )


def service_loggers(kind: LoggerKind, run_dir: Path, *, start_step: int = 0) -> list[Logger]:
    """The logger that a recipe names, if any; runs are called by the last two folders of the run's path.

    The environment variables of W&B and MLflow count (WANDB_PROJECT, WANDB_MODE, MLFLOW_TRACKING_URI, ...).

    Args:
        kind: Which one.
        run_dir: The run folder.
        start_step: Where the run begins or goes on; TensorBoard then drops what an earlier process showed of later
            steps.
    """
    name = "/".join(run_dir.resolve().parts[-2:])
    match kind:
        case "tensorboard":
            # A validation after n steps is shown at n; if it was done, it is not done again: it stays.
            purge = start_step + 1 if start_step else 0
            return [loggers.TensorBoardLogger(run_dir, name="tensorboard", version="", purge_step=purge)]
        case "wandb":
            project = os.environ.get("WANDB_PROJECT", _PROJECT)
            return [loggers.WandbLogger(name=name, project=project, save_dir=run_dir)]
        case "mlflow":
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
            return [loggers.MLFlowLogger(experiment_name=experiment, run_name=name)]
        case "none":
            return []


class KeepMetrics(AfterStep):
    """Appends a line to metrics.jsonl every `every` steps, before anything else happens after a step.

    Lightning tells loggers of a step when all callbacks are through; a checkpoint of that step would then be older than
    its line, and a kill between the two would lose the line.
    """

    def __init__(self, path: Path, *, every: int) -> None:
        self.path, self.every = path, every

    def after_step(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Append the figures of the step, if it is one that is to be logged."""
        assert isinstance(task, SegmentationTask)
        step = trainer.global_step
        if step % self.every == 0 and trainer.is_global_zero:
            append_metrics(self.path, {name: float(value) for name, value in task.figures.items()}, step=step - 1)


def append_metrics(path: Path, metrics: Mapping[str, float], *, step: int) -> None:
    """Append a line to metrics.jsonl; what is not finite, which JSON has no word for, is left out."""
    values = {key: float(f"{value:.6g}") for key, value in metrics.items() if math.isfinite(value)}
    append_line(path, {"step": step, **values})


def validations(path: Path) -> dict[int, float]:
    """The mIoU of each validation that metrics.jsonl holds, by step."""
    found = {line.get("step"): line.get("val/mIoU") for line in read_lines(path)}
    return {s: mIoU for s, mIoU in found.items() if isinstance(s, int) and isinstance(mIoU, int | float)}


def drop_from(step: int, path: Path) -> None:
    """Take out of a file of lines by step what was written at `step` and later: a run that goes on writes it again."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(errors="replace").splitlines() if _step(line) < step]
    write_text(path, "".join(line + "\n" for line in kept))


def _step(line: str) -> float:
    """The training step that a line is of, from 0; a validation after n steps follows step n - 1."""
    try:
        values = json.loads(line)
        return float(values["step"]) - any(key.startswith("val/") for key in values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # a line torn by a crash
        return float("inf")
