"""metrics.jsonl: losses and scores by step, a JSON object a line, for people and programs without TensorBoard."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only


class JsonLinesLogger(Logger):
    """Appends one line a logged step; on resume, lines from the resumed step on are dropped, to be written anew."""

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
        """Append a line."""
        values = {key: float(f"{value:.6g}") for key, value in metrics.items() if key != "epoch"}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    @rank_zero_only
    def drop_from(self, step: int) -> None:
        """Forget what was logged at `step` and later: a run that goes on there writes it again."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text().splitlines() if _step(line) < step]
        self.path.write_text("".join(line + "\n" for line in kept))


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line torn by a crash
        return float("inf")
