"""metrics.jsonl: losses and scores by step, a JSON object a line; and the services that may have them as well."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from argparse import Namespace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import loggers
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

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
            # A validation after n steps is shown at n and was made before the checkpoint of that step: it stays.
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


class JsonLinesLogger(Logger):
    """Appends one line a logged step."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        """Lightning's name for the logger."""
        return "jsonl"

    @property
    def version(self) -> str:
        """There is one file a run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the recipe lies beside the metrics."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a line; what is not finite, which JSON has no word for, is left out."""
        finite = {key: value for key, value in metrics.items() if key != "epoch" and math.isfinite(value)}
        values = {key: float(f"{value:.6g}") for key, value in finite.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


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
