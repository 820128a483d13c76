"""A comparison from its recipe to its tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from pixelcontrast.compare.arms import Arm, recipe_of
from pixelcontrast.compare.equality import require_declared, require_equal_starts
from pixelcontrast.compare.jobs import Finished, Job, gpu_shares, run_jobs
from pixelcontrast.compare.results import Comparison, read_runs, save_json
from pixelcontrast.compare.tables import as_markdown
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.training import without_contrast
from pixelcontrast.errors import RecipeError, RunError
from pixelcontrast.files import write_text
from pixelcontrast.recipe.difference import differences
from pixelcontrast.recipe.root import Recipe, dump, load
from pixelcontrast.report.page import write_report


def compare(
    source: str,
    overrides: Sequence[str],
    *,
    arms: Sequence[Arm],
    num_seeds: int,
    first_seed: int,
    parallel: int,
    output: Path,
    console: Console,
) -> tuple[Comparison, int]:
    """Train every arm with every seed, and write what came out.

    Runs of one seed share first weights and the stream of training samples, which is checked; the last checkpoint
    counts. Runs that are done are kept, those that stopped go on, and a failed one is reported and left out.

    Args:
        source: Name or path of the recipe.
        overrides: `--set` of all runs.
        arms: The first is the baseline.
        num_seeds: Runs of each arm.
        first_seed: The others follow it.
        parallel: Runs at a time.
        output: Folder of the comparison.
        console: Where progress is shown.

    Returns:
        The comparison, and how many runs failed. compare.json, compare.md and report.html lie in `output`.

    Raises:
        UserError: If a recipe cannot be used, an arm differs in more than it declares, or the folder holds runs of
            other recipes.
    """
    seeds = tuple(range(first_seed, first_seed + num_seeds))
    recipes = {(arm.name, seed): recipe_of(arm, source, overrides, seed=seed) for seed in seeds for arm in arms}
    for arm in arms[1:]:
        first = recipes[arms[0].name, first_seed]
        require_declared(first, arm, recipes[arm.name, first_seed], baseline_arm=arms[0])
    _require_gpus(recipes.values(), parallel)
    jobs = [_job(output, arm=arm, seed=seed) for arm, seed in recipes]
    _require_own_runs(jobs, recipes)
    equal = require_equal_starts({arm.name: recipes[arm.name, first_seed] for arm in arms})
    for job in jobs:
        write_text(job.recipe, dump(recipes[job.arm, job.seed]))
    hours = _known_hours(output / "compare.json")
    failures = 0

    def report(finished: Finished) -> None:
        nonlocal failures
        failures += finished.problem is not None
        by_seed = hours.setdefault(finished.job.arm, {})
        by_seed[finished.job.seed] = by_seed.get(finished.job.seed, 0.0) + round(finished.hours, 4)
        console.print(f"{finished.job.arm}, seed {finished.job.seed}: {_outcome(finished)}", highlight=False)
        _save(_comparison(), output)

    def _comparison() -> Comparison:
        changes = {arm.name: arm.overrides for arm in arms}
        return Comparison(source, tuple(overrides), changes, seeds, read_runs(jobs), hours, equal)

    for arm in arms:
        if (reason := without_contrast(recipes[arm.name, first_seed])) is not None:
            console.print(f"warning: {arm.name}: {reason}", highlight=False)
    console.print(f"{sum(job.done for job in jobs)} of {len(jobs)} runs are done; logs in {output / 'logs'}")
    run_jobs(jobs, parallel=parallel, report=report)
    comparison = _comparison()
    _save(comparison, output)
    if any(comparison.runs.values()):
        write_report([output], output / "report.html", title=f"{source}: {', '.join(comparison.arms)}")
    return comparison, failures


def _job(output: Path, *, arm: str, seed: int) -> Job:
    return Job(
        arm=arm,
        seed=seed,
        recipe=output / "recipes" / f"{arm}-seed_{seed}.yaml",
        folder=output / arm / f"seed_{seed}",
        log=output / "logs" / f"{arm}-seed_{seed}.log",
    )


def _require_gpus(recipes: Iterable[Recipe], parallel: int) -> None:
    own = min(len(gpus) for gpus in gpu_shares(parallel))
    asked = (recipe.trainer.devices for recipe in recipes if recipe.trainer.accelerator != "cpu")
    wanted = max((devices for devices in asked if devices != "auto"), default=0)
    if 0 < own < wanted:
        raise RecipeError(
            f"trainer.devices={wanted}: of {parallel} runs at a time, each has {own} of this machine's GPUs;"
            " expected at most so many; lower trainer.devices, or --jobs"
        )


def _require_own_runs(jobs: Sequence[Job], recipes: Mapping[tuple[str, int], Recipe]) -> None:
    for job in jobs:
        used = job.folder / "recipe.yaml"
        if used.exists() and (changed := differences(load(str(used)), recipes[job.arm, job.seed])):
            listed = "\n".join(f"  {line}" for line in changed)
            raise RunError(
                f"{job.folder} holds a run of another recipe; choose another --output. It differs in\n{listed}"
            )


def _save(comparison: Comparison, output: Path) -> None:
    save_json(comparison, output / "compare.json")
    write_text(output / "compare.md", as_markdown(comparison))


def _known_hours(path: Path) -> dict[str, dict[int, float]]:
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["hours_by_run"]
        return {arm: {int(seed): float(hours) for seed, hours in by_seed.items()} for arm, by_seed in stored.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is not what a comparison wrote; remove it") from error


def _outcome(finished: Finished) -> str:
    if finished.stopped:
        return f"stopped after {finished.hours:.2f} h"
    if finished.problem is not None:
        return f"failed, {finished.problem}"
    scores = Scores.load(finished.job.folder / "scores.json")
    return f"mIoU {scores.mIoU:.2f} in {finished.hours:.2f} h"
