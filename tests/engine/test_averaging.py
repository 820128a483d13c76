"""The average of the weights follows its formula, and is what is evaluated and deployed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pixelcontrast.engine.averaging import update_average
from pixelcontrast.engine.options import TrainerOptions
from pixelcontrast.recipe.root import Recipe
from training_runs import metrics_of, run, shortened


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_the_average_moves_by_the_rest_of_the_decay_and_counters_are_copied() -> None:
    average, trained = network(), network()
    trained(torch.randn(2, 3, 4, 4))
    before = {name: value.clone() for name, value in average.state_dict().items()}
    update_average(average, trained, decay=0.75)
    for name, value in trained.state_dict().items():
        expected = 0.75 * before[name] + 0.25 * value if value.is_floating_point() else value
        torch.testing.assert_close(average.state_dict()[name], expected)
    assert average[1].num_batches_tracked == 1


def test_a_decay_of_0_deploys_the_last_weights_and_training_does_not_see_the_average(
    recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, contrast=None)
    for name, decay in (("none", None), ("zero", 0.0), ("high", 0.9)):
        run(shortened(recipe, max_steps=3, ema_decay=decay, evaluate_every=2), tmp_path / name)
    none, zero, high = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("none", "zero", "high"))
    assert none == zero
    assert none != high
    losses = [[line["loss"] for line in metrics_of(tmp_path / name) if "loss" in line] for name in ("none", "high")]
    assert losses[0] == losses[1]
    scores = [
        [line["val/aAcc"] for line in metrics_of(tmp_path / name) if "val/aAcc" in line] for name in ("none", "high")
    ]
    assert scores[0] != scores[1], "what is evaluated is the average"


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_is_a_share(decay: float) -> None:
    with pytest.raises(ValueError, match="ema_decay must be at least 0 and below 1"):
        TrainerOptions(ema_decay=decay)
