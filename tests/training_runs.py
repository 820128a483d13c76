"""Short real runs for tests: train a recipe into a folder, and read what it logged."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.training import train
from pixelcontrast.recipe.root import Recipe, dump


def run(recipe: Recipe, run_dir: Path, *, resume: bool = False) -> tuple[Scores, str]:
    console = Console(file=io.StringIO(), width=120)
    scores = train(recipe, recipe_text=dump(recipe), run_dir=run_dir, resume=resume, console=console)
    return scores, console.file.getvalue()


def metrics_of(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def shortened(recipe: Recipe, **trainer: float) -> Recipe:
    return replace(recipe, trainer=replace(recipe.trainer, **trainer))


@contextmanager
def before_each_batch(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object]) -> Iterator[None]:
    """Call `act(step)` before each training batch."""
    step = SegmentationTask.training_step

    def acting(task: SegmentationTask, batch: object, batch_idx: int) -> torch.Tensor:
        act(task.global_step)
        return step(task, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "training_step", acting)
        yield
