"""The arms of a comparison: one recipe, changed in one thing each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pixelcontrast.errors import RecipeError, did_you_mean
from pixelcontrast.recipe.root import Recipe, load

BUILT_IN = ("cross_entropy", "contrast")


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: Of its folder and its row.
        overrides: What it changes in the recipe, as `--set` takes it.
    """

    name: str
    overrides: tuple[str, ...]


def choose_arms(names: Sequence[str], definitions: Sequence[str], recipe: Recipe) -> tuple[Arm, ...]:
    """The arms that were asked for; the first is the one that the others are compared with.

    `cross_entropy` is the recipe with `contrast: null`; `contrast` is the recipe as it is, with contrast at its
    defaults if the recipe has none. Each definition, `NAME: KEY=VALUE KEY=VALUE`, adds an arm with these changes.

    Raises:
        RecipeError: If an arm is unknown, defined twice, or not written as above; or if there are fewer than two.
    """
    known = {
        "cross_entropy": Arm("cross_entropy", ("contrast=null",)),
        "contrast": Arm("contrast", ("contrast={}",) if recipe.contrast is None else ()),
    }
    own = [_define(definition) for definition in definitions]
    for arm in own:
        if arm.name in known:
            raise RecipeError(f"--arm {arm.name}: there is an arm of that name; choose another")
        known[arm.name] = arm
    wanted = list(dict.fromkeys((*names, *(arm.name for arm in own))))
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known)
            raise RecipeError(f"--arms: no arm '{name}'; known are {', '.join(known)}, and --arm adds one.{hint}")
    if len(wanted) < 2:
        raise RecipeError(f"--arms: expected at least two arms to compare, got {', '.join(wanted) or 'none'}")
    return tuple(known[name] for name in wanted)


def recipe_of(arm: Arm, source: str, overrides: Sequence[str], *, seed: int) -> Recipe:
    """The recipe of one run."""
    try:
        return replace(load(source, (*overrides, *arm.overrides)), seed=seed)
    except RecipeError as error:
        raise RecipeError(f"arm {arm.name}: {error}") from None


def _define(definition: str) -> Arm:
    name, colon, changes = definition.partition(":")
    name = name.strip()
    overrides = tuple(shlex.split(changes))
    if not colon or not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not overrides:
        raise RecipeError(
            f"--arm {definition}: expected 'NAME: KEY=VALUE KEY=VALUE', such as 'hardest: contrast.mining=hardest'"
        )
    return Arm(name, overrides)
