"""A comparison before its runs: a recipe for each, and what must be equal between them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pixelcontrast.compare.arms import Arm, recipe_of
from pixelcontrast.compare.equality import require_declared, require_equal_starts
from pixelcontrast.compare.jobs import Job
from pixelcontrast.engine.oddities import oddities
from pixelcontrast.errors import RecipeError, RunError
from pixelcontrast.files import alone_with, make_folder, write_text
from pixelcontrast.recipe.difference import changed_since
from pixelcontrast.recipe.root import Recipe, dump


@dataclass(frozen=True)
class Plan:
    """A comparison whose runs may be trained, here or elsewhere.

    Attributes:
        source: Name or path of the recipe.
        overrides: `--set` of all runs.
        arms: The first is the baseline.
        recipes: By arm and seed.
        jobs: The runs; their recipes are written.
        equal: What was found equal at the start of all arms.
        output: Folder of the comparison.
    """

    source: str
    overrides: tuple[str, ...]
    arms: tuple[Arm, ...]
    recipes: Mapping[tuple[str, int], Recipe]
    jobs: tuple[Job, ...]
    equal: tuple[str, ...]
    output: Path

    def commands(self) -> list[str]:
        """What trains each run that is not done, as a line of a shell."""
        return [shlex.join(job.command()) for job in self.jobs if not job.done]

    def warnings(self) -> Iterator[str]:
        """Yield what is lawful in an arm and probably not meant."""
        arms: dict[str, list[str]] = {}
        for arm, recipe in {arm: recipe for (arm, _), recipe in self.recipes.items()}.items():
            for reason in oddities(recipe):
                arms.setdefault(reason, []).append(arm)
        yield from (f"{', '.join(names)}: {reason}" for reason, names in arms.items())


@contextmanager
def alone_in(output: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep other comparisons out of a folder meanwhile; `say` is told if one is waited for.

    Raises:
        RunError: If another process is at work in it, or it cannot be made.
    """
    make_folder(output)
    lock = output / ".lock"
    lock.touch()
    with alone_with(lock, f"another process compares in {output}", say, option="--output"):
        yield


def prepare(
    source: str, overrides: Sequence[str], *, arms: Sequence[Arm], num_seeds: int, first_seed: int, output: Path
) -> Plan:
    """Check what is equal between the arms, and write a recipe for each run; nothing is trained.

    Args:
        source: Name or path of the recipe.
        overrides: `--set` of all runs.
        arms: The first is the baseline.
        num_seeds: Runs of each arm.
        first_seed: The others follow it.
        output: Folder of the comparison.

    Raises:
        UserError: If a recipe cannot be used, two arms have the same, an arm differs in more than it declares, or the
            folder holds runs of other recipes.
    """
    seeds = range(first_seed, first_seed + num_seeds)
    recipes = {(arm.name, seed): recipe_of(arm, source, overrides, seed=seed) for seed in seeds for arm in arms}
    for one, other in combinations(arms, 2):
        if recipes[one.name, first_seed] == recipes[other.name, first_seed]:
            raise RecipeError(
                f"arms '{one.name}' and '{other.name}' are one recipe, and would be trained alike; leave one out "
                "(--arms, --arm), or compare a recipe in which they differ"
            )
    for arm in arms[1:]:
        first = recipes[arms[0].name, first_seed]
        require_declared(first, arm, recipes[arm.name, first_seed], baseline_arm=arms[0])
    jobs = tuple(_job(output, arm=arm, seed=seed) for arm, seed in recipes)
    _require_own_runs(jobs, recipes)
    equal = require_equal_starts({arm.name: recipes[arm.name, first_seed] for arm in arms})
    for job in jobs:
        write_text(job.recipe, dump(recipes[job.arm, job.seed]))
    return Plan(source, tuple(overrides), tuple(arms), recipes, jobs, equal, output)


def _job(output: Path, *, arm: str, seed: int) -> Job:
    return Job(
        arm=arm,
        seed=seed,
        recipe=output / "recipes" / f"{arm}-seed_{seed}.yaml",
        folder=output / arm / f"seed_{seed}",
        log=output / "logs" / f"{arm}-seed_{seed}.log",
    )


def _require_own_runs(jobs: Sequence[Job], recipes: Mapping[tuple[str, int], Recipe]) -> None:
    for job in jobs:
        if changed := changed_since(job.folder / "recipe.yaml", recipes[job.arm, job.seed]):
            listed = "\n".join(f"  {line}" for line in changed)
            raise RunError(
                f"{job.folder} holds a run of another recipe; choose another --output. It differs in\n{listed}"
            )
