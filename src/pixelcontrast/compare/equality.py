"""What a fair comparison rests on: arms differ in what they declare, and start from equal weights and equal data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pixelcontrast.compare.arms import Arm
from pixelcontrast.engine.training import build_task
from pixelcontrast.errors import RecipeError
from pixelcontrast.recipe.difference import differences
from pixelcontrast.recipe.root import Recipe


def require_declared(baseline: Recipe, arm: Arm, recipe: Recipe, *, baseline_arm: Arm) -> None:
    """Refuse an arm that differs from the baseline in an option that neither of the two declares.

    An override declares the option it names and all within; `base=` declares only what lies in `contrast`, for it names
    nothing and could change the length of training or the data unseen.

    Raises:
        RecipeError: With the options that differ and must be named.
    """
    declared = {"contrast" if key == "base" else key for key in baseline_arm.keys | arm.keys}
    found = differences(baseline, recipe, environment=True)
    hidden = [line for line in found if not _is_within(line.partition(": ")[0], declared)]
    if hidden:
        listed = "\n".join(f"  {line}" for line in hidden)
        raise RecipeError(
            f"arm {arm.name} differs from {baseline_arm.name} in options that it does not name:\n{listed}\n"
            "Name each in the arm (KEY=VALUE), or set it for all arms with --set."
        )


def _is_within(option: str, declared: set[str]) -> bool:
    return any(option == key or option.startswith(f"{key}.") for key in declared)


def require_equal_starts(recipes: Mapping[str, Recipe]) -> tuple[str, ...]:
    """Build every arm and compare what its first step starts from with the first arm's.

    Args:
        recipes: Of one seed, by arm; the first is the baseline.

    Returns:
        What was found equal over all arms, for the tables: "first weights" and "first batch", each left out where an
        arm declares another model, or other data.

    Raises:
        RecipeError: If arms of an equal model start from other weights, or arms of equal data from another first batch.
        UserError: If a recipe cannot be built, or its data cannot be read.
    """
    (baseline, first), *others = recipes.items()
    weights, batch = _start(first)
    for name, recipe in others:
        their_weights, their_batch = _start(recipe)
        if recipe.model == first.model and not _equal(weights, their_weights):
            raise RecipeError(f"arm {name} starts from other weights than {baseline}, though their models are equal")
        if recipe.data == first.data and not _equal(batch, their_batch):
            raise RecipeError(f"arm {name} is fed other samples than {baseline}, though their data is equal")
    found = {
        "first weights": all(recipe.model == first.model for recipe in recipes.values()),
        "first batch": all(recipe.data == first.data for recipe in recipes.values()),
    }
    return tuple(what for what, equal in found.items() if equal)


def _start(recipe: Recipe) -> tuple[list[Tensor], list[Tensor]]:
    """The segmentor's first weights, and images and labels of the first step, loaded in this process."""
    task = build_task(recipe)
    data = replace(task.training_data, options=replace(task.training_data.options, workers=0))
    batch = next(iter(data.loader(task.segmentor, num_steps=1)))
    return list(task.segmentor.state_dict().values()), [batch.image, batch.labels]


def _equal(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
