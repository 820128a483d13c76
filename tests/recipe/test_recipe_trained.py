"""Every shipped recipe builds, trains, evaluates and predicts on a small data set in its own layout."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dataset_layouts import BUILDERS, scene
from pixelcontrast.cli.app import app
from pixelcontrast.data.datasets import synthetic
from pixelcontrast.engine.scores import Scores
from pixelcontrast.recipe.root import load
from pixelcontrast.recipe.sources import shipped_names
from training_runs import metrics_of, run

WHOLE = [name for name in shipped_names() if not name.startswith(("contrast/", "base/", "model/"))]
SMALL = (
    "model.pretrained=false",
    "data.crop_size=[64, 64]",
    "data.batch_size=2",
    "data.workers=0",
    "contrast.start_step=1",
    "contrast.memory.pixels_per_class=16",
    "contrast.memory.regions_per_class=4",
    "trainer={max_steps: 2, log_every: 1, accelerator: cpu, devices: 1, precision: 32}",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_a_shipped_recipe_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "NUM_IMAGES", {"train": 2, "val": 1})
    monkeypatch.setattr(synthetic, "scene", scene)
    recipe = load(name, SMALL)
    layout = BUILDERS[type(recipe.data)](tmp_path / "data")
    scores, _ = run(replace(recipe, data=replace(recipe.data, root=layout.options.root)), tmp_path / "run")
    lines = metrics_of(tmp_path / "run")
    assert ["loss/contrast" in line for line in lines] == [False, True]
    assert any(key.startswith("loss/auxiliary") for key in lines[0]) == (recipe.model.auxiliary or "ocr" in name)
    assert scores.step == 2

    folder, photo = tmp_path / "run", tmp_path / "photo.png"
    assert command("evaluate", folder, "--window", "40x48", "--flip", "--set", "data.workers=0") == 0
    assert Scores.load(folder / "evaluations" / "val-flip-window_40x48_overlap_0.333" / "scores.json").images > 0
    Image.fromarray(np.zeros((50, 70, 3), dtype=np.uint8)).save(photo)
    assert command("predict", folder, photo, "--output", tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "labels" / "photo.png") as labels:
        assert labels.size == (70, 50)


def command(*arguments: object) -> int:
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False).exit_code
