"""A network for images of other bands than RGB trains, is evaluated and drawn, and says what it takes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dataset_layouts import folder_bands
from pixelcontrast import Segmentor
from pixelcontrast.cli.app import app
from pixelcontrast.engine.kept_step import KeptStep, save_kept_step
from pixelcontrast.engine.networks import load_network, untrained_network
from pixelcontrast.engine.replay import replay_step
from pixelcontrast.engine.rollback import StepStart
from pixelcontrast.engine.training import build_task
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.recipe.root import Recipe
from training_runs import metrics_of, run, shortened

pytest.importorskip("tifffile")


def test_bands_are_trained_on_and_evaluated(recipe: Recipe, tmp_path: Path) -> None:
    data = folder_bands(tmp_path / "data").options
    recipe = replace(
        shortened(recipe, max_steps=2),
        data=replace(data, batch_size=2, crop_size=(32, 32), workers=0),
        model=ModelOptions(backbone="test_resnet", head=recipe.model.head),
    )
    scores, _ = run(recipe, tmp_path / "run")
    assert scores.step == 2
    assert "loss/contrast" in metrics_of(tmp_path / "run")[0]
    assert len(list((tmp_path / "run" / "pictures").rglob("*.png"))) == 2
    segmentor = Segmentor.from_pretrained(tmp_path / "run")
    assert segmentor.bands == data.bands
    assert segmentor.in_channels == 4

    checkpoint = next((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    alone = untrained_network(recipe.model, recipe.data)
    assert load_network(checkpoint, untrained=lambda: alone).in_channels == 4

    task = build_task(recipe)
    batches = list(task.training_data.loader(task.segmentor, num_steps=1))
    start = StepStart.of(task, [], images=2, batches=1)
    save_kept_step(KeptStep.of(task, batches, start, 0, "32", 1.0), tmp_path / "step_00000000.pt")
    replay, found = replay_step(recipe, tmp_path / "step_00000000.pt", device=torch.device("cpu"))
    assert replay.images()[0].image.shape[1] == 4
    assert len(found) == 1

    command = ["predict", str(tmp_path / "run"), str(tmp_path / "data" / "images" / "val"), "--output"]
    result = CliRunner().invoke(app, [*command, str(tmp_path / "predicted")], catch_exceptions=False)
    assert result.exit_code == 0
    assert len(list((tmp_path / "predicted" / "overlay").iterdir())) == 2
