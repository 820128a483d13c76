"""The arms of a comparison: one recipe, changed in one thing each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pixelcontrast.errors import RecipeError, did_you_mean
from pixelcontrast.recipe.root import Recipe, load

BUILT_IN = ("cross_entropy", "contrast")
_OWN_FILES = ("compare.json", "compare.md", "report.html", "recipes", "logs")


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: Of its folder and its row.
        overrides: What it changes in the recipe, as `--set` takes it.
    """

    name: str
    overrides: tuple[str, ...]

    @property
    def keys(self) -> frozenset[str]:
        """The options that its overrides name."""
        return frozenset(change.partition("=")[0].strip() for change in self.overrides)


def choose_arms(
    names: Sequence[str], definitions: Sequence[str], recipe: Recipe, *, study: Sequence[Arm] = ()
) -> tuple[Arm, ...]:
    """The arms that were asked for; the first is the one that the others are compared with.

    `cross_entropy` is the recipe with `contrast: null`; `contrast` is the recipe as it is, with contrast at its
    defaults if the recipe has none; a study brings arms of its own.

    Args:
        names: Of the arms, in order; none: all of the study, or without one the two above.
        definitions: Arms more, `NAME: KEY=VALUE KEY=VALUE` each, with these changes.
        recipe: That the arms change.
        study: Arms that may be named.

    Raises:
        RecipeError: If an arm is unknown, defined twice, not written as above, or names a seed; or if there are fewer
            than two.
    """
    contrast = Arm("contrast", ("contrast={}",) if recipe.contrast is None else ())
    known = {arm.name: arm for arm in (Arm("cross_entropy", ("contrast=null",)), contrast, *study)}
    own = [_define(definition) for definition in definitions]
    for arm in own:
        if arm.name in known:
            raise RecipeError(f"--arm {arm.name}: there is an arm of that name; choose another")
        known[arm.name] = arm
    default = [arm.name for arm in study] or list(BUILT_IN)
    wanted = list(dict.fromkeys((*(names or default), *(arm.name for arm in own))))
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known)
            raise RecipeError(f"--arms: no arm '{name}'; known are {', '.join(known)}, and --arm adds one.{hint}")
        if "seed" in known[name].keys:
            raise RecipeError(f"arm {name}: all arms have the same seeds; choose the first by --set seed=N")
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
    try:
        overrides = tuple(shlex.split(changes))
    except ValueError:  # a quotation mark without its other half
        overrides = ()
    if not colon or not is_arm_name(name) or not overrides:
        raise RecipeError(
            f"--arm {definition}: expected 'NAME: KEY=VALUE KEY=VALUE', such as 'hardest: contrast.mining=hardest'"
        )
    return Arm(name, overrides)


def is_arm_name(name: str) -> bool:
    """Whether a name can be a folder's everywhere, beside a comparison's own files."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name) is not None and name not in _OWN_FILES
