"""A compiled network trains as the network itself does."""

from dataclasses import replace
from pathlib import Path

import pytest

from pixelcontrast.nn.heads import FCN
from pixelcontrast.recipe.root import Recipe
from training_runs import metrics_of, run, shortened


@pytest.mark.compiled
@pytest.mark.slow
def test_compiled_training_gives_the_same_losses_and_files(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.contrast is not None
    model = replace(recipe.model, head=FCN(dropout=0.0))  # compiled code draws other numbers
    recipe = shortened(replace(recipe, model=model, optimizer=replace(recipe.optimizer, lr=1e-3)), max_steps=10)
    for name, chosen in (("plain", recipe), ("compiled", shortened(recipe, compile=True))):
        run(chosen, tmp_path / name)
    plain, compiled = (metrics_of(tmp_path / name) for name in ("plain", "compiled"))
    for one, other in zip(plain, compiled, strict=True):
        assert one["loss/cross_entropy"] == pytest.approx(other["loss/cross_entropy"], rel=1e-2)
    assert (tmp_path / "compiled" / "scores.json").exists()
