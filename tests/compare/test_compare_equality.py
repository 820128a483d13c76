"""Arms differ in what they declare, and start from equal weights and samples: what breaks either is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dataset_layouts import camvid
from pixelcontrast.compare import equality
from pixelcontrast.compare.arms import Arm
from pixelcontrast.compare.equality import require_declared, require_equal_starts
from pixelcontrast.data import Camvid
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.errors import RecipeError
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.recipe.root import Recipe, load

RECIPE = "camvid/hrnet_w18_small"
BASELINE = Arm("cross_entropy", ("contrast=null",))


def check(*overrides: str) -> None:
    arm = Arm("changed", overrides)
    require_declared(load(RECIPE, BASELINE.overrides), arm, load(RECIPE, overrides), baseline_arm=BASELINE)


def test_what_an_arm_names_may_differ() -> None:
    check("contrast.mining=hardest", "trainer.max_steps=7")
    check("base=contrast/released")


@pytest.mark.parametrize("base", ["base/camvid", "synthetic/hrnet_w18_small"])
def test_what_comes_unseen_with_a_base_is_refused(base: str) -> None:
    with pytest.raises(RecipeError, match=r"(?s)arm changed differs.*trainer.max_steps: 1800, now.*Name each"):
        check(f"base={base}")


def test_data_and_devices_that_come_unseen_with_a_base_are_refused(tmp_path: Path) -> None:
    """They are no difference between two sessions of one run, but are one between arms."""
    hidden = tmp_path / "hidden.yaml"
    hidden.write_text("data:\n  root: /elsewhere\ntrainer:\n  non_finite: skip\n")
    with pytest.raises(RecipeError, match=r"(?s)data.root.*trainer.non_finite"):
        check(f"base={hidden}")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    camvid(tmp_path)
    return Recipe(
        model=ModelOptions(backbone="resnet10t", head=FCN()),
        data=Camvid(root=str(tmp_path), batch_size=2, crop_size=(64, 64), workers=0),
    )


def test_arms_of_one_seed_start_equal(recipe: Recipe) -> None:
    arms = {"a": recipe, "b": replace(recipe, trainer=replace(recipe.trainer, max_steps=3))}
    assert require_equal_starts(arms) == ("first weights", "first batch")


def test_what_arms_declare_to_differ_is_not_called_equal(recipe: Recipe) -> None:
    other = replace(recipe, model=replace(recipe.model, output_stride=16), data=replace(recipe.data, flip=0.0))
    assert require_equal_starts({"a": recipe, "b": other}) == ()


def test_other_weights_are_refused(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    build, calls = equality.build_task, []

    def disturbed(recipe: Recipe) -> SegmentationTask:
        task = build(recipe)
        calls.append(task)
        with torch.no_grad():
            next(task.segmentor.parameters()).add_(1e-6 * (len(calls) - 1))
        return task

    monkeypatch.setattr(equality, "build_task", disturbed)
    with pytest.raises(RecipeError, match="arm b starts from other weights than a"):
        require_equal_starts({"a": recipe, "b": recipe})


def test_other_samples_are_refused(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    build, calls = equality.build_task, []

    def disturbed(recipe: Recipe) -> SegmentationTask:
        task = build(recipe)
        calls.append(task)
        task.training_data = replace(task.training_data, seed=len(calls))
        return task

    monkeypatch.setattr(equality, "build_task", disturbed)
    with pytest.raises(RecipeError, match="arm b is fed other samples than a"):
        require_equal_starts({"a": recipe, "b": recipe})
