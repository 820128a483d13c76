"""How fast a run is and how much memory it takes, step by step; apart from the metrics, which runs repeat exactly."""

from __future__ import annotations

import math
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from pixelcontrast.engine.json_lines import append_line, read_lines

if sys.platform == "win32":
    import psutil
else:
    import resource


class MeasureSpeed(Callback):
    """Appends images per second (wall time, evaluation and saving included) and peak memory every `every` steps."""

    def __init__(self, path: Path, *, images_per_step: int, every: int) -> None:
        self.path, self.images_per_step, self.every = path, images_per_step, every
        self._marked_at, self._marked_step = 0.0, 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Begin to count."""
        self._marked_at, self._marked_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, task: L.LightningModule, *_: Any) -> None:
        """Write a line where the step says so, from the first rank."""
        step, now = trainer.global_step, time.monotonic()
        if step == self._marked_step or step % self.every or not trainer.is_global_zero:
            return
        rate = (step - self._marked_step) * self.images_per_step / max(now - self._marked_at, 1e-9)
        self._marked_at, self._marked_step = now, step
        line = {"step": step - 1, "images_per_second": round(rate, 3), "peak_bytes": peak_bytes(task.device)}
        append_line(self.path, line)


@dataclass(frozen=True)
class Speed:
    """What a run cost.

    Attributes:
        images_per_second: Median over the run; evaluations and checkpoints fall into few of its lines.
        peak_bytes: Most memory held at any time.
    """

    images_per_second: float
    peak_bytes: int


def read_speed(path: Path) -> Speed | None:
    """Sum up a run's speed.jsonl; None if there is none, or nothing in it."""
    keys = ("images_per_second", "peak_bytes")
    lines = [line for line in read_lines(path) if all(_is_number(line, key) for key in keys)]
    if not lines:
        return None
    rate = statistics.median(float(line["images_per_second"]) for line in lines)
    return Speed(rate, max(int(line["peak_bytes"]) for line in lines))


def _is_number(line: dict[str, Any], key: str) -> bool:
    return isinstance(line.get(key), int | float) and math.isfinite(line[key])


def peak_bytes(device: torch.device) -> int:
    """Most memory held so far: of a GPU what torch allocated, else what the system gave this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
