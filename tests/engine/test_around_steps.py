"""What happens around a step: on which devices, how often a warning looks, what a dry run measures."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from rich.console import Console

from pixelcontrast.contrast import PixelContrast
from pixelcontrast.engine import assembly, planning
from pixelcontrast.engine.callbacks import WarnOfCollapse
from pixelcontrast.engine.options import TrainerOptions
from pixelcontrast.engine.training import build_task
from pixelcontrast.recipe.root import Recipe
from training_runs import shortened


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_cpu_is_one_device_however_many_gpus_there_are(strategy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert assembly._strategy(TrainerOptions(accelerator="cpu", strategy=strategy), None) == "auto"
    several = assembly._strategy(TrainerOptions(accelerator="gpu", strategy=strategy), None)
    assert several != "auto"


def test_a_collapse_is_looked_for_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    warn = WarnOfCollapse(Console(file=printed), every=10)
    monkeypatch.setattr(PixelContrast, "has_collapsed", lambda _: True)
    monkeypatch.setattr(PixelContrast, "memory_has_collapsed", lambda _: False)
    task = Mock(spec=L.LightningModule, contrast=PixelContrast(4, 3))
    warn.on_train_start(Mock(spec=L.Trainer, global_step=0), task)
    for step, said in ((9, False), (10, False), (10, False), (11, False), (20, True)):
        warn.on_train_batch_end(Mock(spec=L.Trainer, global_step=step, is_global_zero=True), task)
        assert ("collapse" in printed.getvalue()) is said


def test_a_resumed_run_does_not_look_at_the_step_it_goes_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(PixelContrast, "has_collapsed", lambda _: looks.append(1))
    warn = WarnOfCollapse(Console(file=io.StringIO()), every=10)
    trainer = Mock(spec=L.Trainer, global_step=10, is_global_zero=True)
    task = Mock(spec=L.LightningModule, contrast=PixelContrast(4, 3))
    warn.on_train_start(trainer, task)
    warn.on_train_batch_end(trainer, task)
    assert looks == []


def test_a_dry_run_times_a_step_of_all_its_batches(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_seconds_of", lambda *_, **__: 3.0)
    recipe = shortened(recipe, max_steps=1200, accumulate=4)
    printed = io.StringIO()
    planning.plan(recipe, picture=tmp_path / "batch.png", console=Console(file=printed, width=200))
    assert "12.00 s a step on cpu, so about 4.0 h for 1200 steps" in printed.getvalue()


def test_a_dry_run_computes_in_the_precision_of_the_recipe(recipe: Recipe) -> None:
    task = build_task(replace(recipe, trainer=replace(recipe.trainer, precision="bf16")))
    seen = []
    task.segmentor.backbone.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    batch = next(iter(task.training_data.loader(task.segmentor, num_steps=1)))
    planning._seconds_of(task, batch, device=torch.device("cpu"))
    assert seen == [True]
