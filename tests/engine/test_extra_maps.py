"""Contrast at several scales: each extra map has its own projection, memory and weight, and is named in the log."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pixelcontrast.contrast import ExtraMap
from pixelcontrast.engine.training import build_task
from pixelcontrast.errors import RecipeError
from pixelcontrast.recipe.root import Recipe
from training_runs import metrics_of, run, shortened


def with_maps(recipe: Recipe, *maps: ExtraMap) -> Recipe:
    assert recipe.contrast is not None
    return replace(recipe, contrast=replace(recipe.contrast, extra_maps=maps))


def losses(recipe: Recipe) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    task = build_task(recipe)
    batch = next(iter(task.training_data.loader(task.segmentor, num_steps=1)))
    torch.manual_seed(1)  # of dropout
    return task.loss_of(batch, step=0)


def test_the_objective_adds_each_map_by_its_weight(recipe: Recipe) -> None:
    alone, _ = losses(recipe)
    both, parts = losses(with_maps(recipe, ExtraMap(map=0, weight=0.5), ExtraMap(map=-1, weight=2.0)))
    assert recipe.contrast is not None
    expected = alone + recipe.contrast.weight * (0.5 * parts["loss/contrast_map_0"] + 2 * parts["loss/contrast_map_-1"])
    torch.testing.assert_close(both, expected)


def test_each_map_has_its_own_projection_and_a_memory_unless_it_has_none(recipe: Recipe) -> None:
    task = build_task(with_maps(recipe, ExtraMap(map=0), ExtraMap(map=1, memory=False)))
    assert [criterion.in_channels for criterion in task.criteria] == [
        task.segmentor.feature_channels, task.segmentor.map_channels(0), task.segmentor.map_channels(1),
    ]  # fmt: skip
    assert [criterion.memory is None for criterion in task.criteria] == [False, False, True]


def test_a_run_with_extra_maps_resumes_exactly_and_deploys_the_plain_network(recipe: Recipe, tmp_path: Path) -> None:
    recipe = shortened(with_maps(recipe, ExtraMap(map=0, weight=0.5)), max_steps=4, checkpoint_every=2)
    run(recipe, tmp_path / "whole")
    run(shortened(recipe, max_steps=4), tmp_path / "parts")
    for name in ("scores.json", "checkpoints/step_00000004.ckpt", "checkpoints/step_00000004.sha256"):
        (tmp_path / "parts" / name).unlink()
    run(recipe, tmp_path / "parts", resume=True)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert metrics_of(whole) == metrics_of(parts)
    assert "loss/contrast_map_0" in metrics_of(whole)[0]
    assert (whole / "weights.safetensors").read_bytes() == (parts / "weights.safetensors").read_bytes()
    run(shortened(replace(recipe, contrast=None), max_steps=1), tmp_path / "plain")
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("whole", "plain")]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("change", ["contrast.extra_maps", "model"])
def test_a_map_that_is_not_there_is_told_before_training(recipe: Recipe, change: str) -> None:
    wrong = with_maps(recipe, ExtraMap(map=7))
    if change == "model":
        wrong = replace(recipe, model=replace(recipe.model, contrast_map=7))
    with pytest.raises(RecipeError, match=rf"{change}.*must be from -4 to 3, got 7"):
        build_task(wrong)
