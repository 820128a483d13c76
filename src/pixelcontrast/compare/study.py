"""A comparison from its plan to its tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console

from pixelcontrast.compare.jobs import Finished, gpu_shares, run_jobs
from pixelcontrast.compare.plan import Plan
from pixelcontrast.compare.results import Comparison, read_runs, save_json
from pixelcontrast.compare.tables import as_markdown
from pixelcontrast.engine.scores import Scores
from pixelcontrast.errors import RecipeError, RunError, UserError
from pixelcontrast.files import write_text
from pixelcontrast.recipe.root import Recipe
from pixelcontrast.report.page import write_report

_JSON = "compare.json"


def compare(plan: Plan, *, parallel: int, console: Console) -> tuple[Comparison, int]:
    """Train every arm with every seed, and write what came out.

    Runs of one seed share first weights and the stream of training samples, which `prepare` checked; the last
    checkpoint counts. Runs that are done are kept, those that stopped go on, and a failed one is reported and left out.

    Args:
        plan: The runs.
        parallel: Runs at a time.
        console: Where progress is shown.

    Returns:
        The comparison, and how many runs failed.

    Raises:
        UserError: If a run asks for more GPUs than it would have, or a run that is done cannot be used.
    """
    _require_gpus(plan.recipes.values(), parallel)
    hours = _known_hours(plan.output / _JSON)
    failures = 0

    def report(finished: Finished) -> None:
        nonlocal failures
        failures += finished.problem is not None
        by_seed = hours.setdefault(finished.job.arm, {})
        by_seed[finished.job.seed] = by_seed.get(finished.job.seed, 0.0) + round(finished.hours, 4)
        try:
            console.print(f"{finished.job.arm}, seed {finished.job.seed}: {_outcome(finished)}", highlight=False)
            _save(_comparison(plan, hours), plan.output)
        except UserError as error:  # of one run; the others go on
            console.print(f"warning: {error}", highlight=False, soft_wrap=True)

    _save(_comparison(plan, hours), plan.output)  # shows now what is amiss with runs that are done
    done = sum(job.done for job in plan.jobs)
    console.print(f"{done} of {len(plan.jobs)} runs are done; logs in {plan.output / 'logs'}")
    run_jobs(plan.jobs, parallel=parallel, report=report)
    return gather(plan, hours), failures


def gather(plan: Plan, hours: Mapping[str, Mapping[int, float]] | None = None) -> Comparison:
    """Write what came out of the runs that are done: compare.json, compare.md, and report.html if there is any.

    Args:
        plan: The runs, wherever they were trained.
        hours: Wall time by arm and seed; by default that of the compare.json which is there.
    """
    comparison = _comparison(plan, _known_hours(plan.output / _JSON) if hours is None else hours)
    _save(comparison, plan.output)
    if any(comparison.runs.values()):
        title = f"{plan.source}: {', '.join(comparison.arms)}"
        write_report([plan.output], plan.output / "report.html", title=title)
    return comparison


def _comparison(plan: Plan, hours: Mapping[str, Mapping[int, float]]) -> Comparison:
    changes = {arm.name: arm.overrides for arm in plan.arms}
    seeds = tuple(dict.fromkeys(job.seed for job in plan.jobs))
    return Comparison(plan.source, plan.overrides, changes, seeds, read_runs(plan.jobs), hours, plan.equal)


def _require_gpus(recipes: Iterable[Recipe], parallel: int) -> None:
    own = min(len(gpus) for gpus in gpu_shares(parallel))
    asked = (recipe.trainer.devices for recipe in recipes if recipe.trainer.accelerator != "cpu")
    wanted = max((devices for devices in asked if devices != "auto"), default=0)
    if 0 < own < wanted:
        raise RecipeError(
            f"trainer.devices={wanted}: of {parallel} runs at a time, each has {own} of this machine's GPUs;"
            " expected at most so many; lower trainer.devices, or --jobs"
        )


def _save(comparison: Comparison, output: Path) -> None:
    save_json(comparison, output / _JSON)
    write_text(output / "compare.md", as_markdown(comparison))


def _known_hours(path: Path) -> dict[str, dict[int, float]]:
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["hours_by_run"]
        return {arm: {int(s): _whole(hours) for s, hours in by_seed.items()} for arm, by_seed in stored.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} is not what a comparison wrote; remove it") from error


def _whole(hours: object) -> float:
    if not isinstance(hours, int | float) or not math.isfinite(hours):
        raise ValueError("no number of hours")
    return float(hours)


def _outcome(finished: Finished) -> str:
    if finished.stopped:
        return f"stopped after {finished.hours:.2f} h"
    if finished.problem is not None:
        return f"failed, {finished.problem}"
    scores = Scores.load(finished.job.folder / "scores.json")
    return f"mIoU {scores.mIoU:.2f} in {finished.hours:.2f} h"
