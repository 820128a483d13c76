"""What came out of a comparison: compare.json for programs, compare.md for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixelcontrast.compare.jobs import Job
from pixelcontrast.compare.statistics import Difference, mean_and_deviation, paired_difference
from pixelcontrast.engine.provenance import commit, hardware
from pixelcontrast.engine.scores import Scores

Runs = Mapping[str, Mapping[int, Scores]]


@dataclass(frozen=True)
class Comparison:
    """Scores of all runs that are done.

    Attributes:
        recipe: Name or path of the recipe.
        overrides: `--set` of all runs.
        arms: What each arm changes in the recipe, by its name; the first is the baseline.
        seeds: Of the runs.
        runs: Scores by arm and seed.
        hours: Wall time by arm and seed, as far as it is known.
    """

    recipe: str
    overrides: tuple[str, ...]
    arms: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    runs: Runs
    hours: Mapping[str, Mapping[int, float]]

    @property
    def baseline(self) -> str:
        """The first arm."""
        return next(iter(self.arms))

    def difference(self, arm: str, class_name: str | None = None) -> Difference | None:
        """An arm's mIoU, or IoU of a class, minus the baseline's, over the seeds that both have."""
        pairs = [
            (score_of(scores, class_name), score_of(self.runs[self.baseline][seed], class_name))
            for seed, scores in self.runs[arm].items()
            if seed in self.runs[self.baseline]
        ]
        whole = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
        return paired_difference([ours for ours, _ in whole], [theirs for _, theirs in whole]) if whole else None


def score_of(scores: Scores, class_name: str | None) -> float | None:
    """MIoU, or the IoU of a class; None for a class that does not occur."""
    return scores.mIoU if class_name is None else scores.IoU[class_name]


def read_runs(jobs: Sequence[Job]) -> dict[str, dict[int, Scores]]:
    """Scores of the runs that are done, by arm and seed."""
    runs: dict[str, dict[int, Scores]] = {job.arm: {} for job in jobs}
    for job in jobs:
        if job.done:
            runs[job.arm][job.seed] = Scores.load(job.folder / "scores.json")
    return runs


def save(comparison: Comparison, folder: Path) -> None:
    """Write compare.json and compare.md into `folder`."""
    (folder / "compare.json").write_text(json.dumps(as_json(comparison), indent=1) + "\n")
    (folder / "compare.md").write_text(as_markdown(comparison))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Scores and differences in percent points of IoU, with what they were obtained by."""
    others = [arm for arm in comparison.arms if arm != comparison.baseline]
    return {
        "recipe": comparison.recipe,
        "overrides": list(shown(comparison.overrides)),
        "arms": {arm: list(changes) for arm, changes in comparison.arms.items()},
        "baseline": comparison.baseline,
        "seeds": list(comparison.seeds),
        "scores": {arm: {str(s): run.mIoU for s, run in runs.items()} for arm, runs in comparison.runs.items()},
        "IoU": {arm: {str(s): run.IoU for s, run in runs.items()} for arm, runs in comparison.runs.items()},
        "difference": {arm: asdict(d) for arm in others if (d := comparison.difference(arm))},
        "difference_by_class": {
            arm: {name: asdict(d) for name in class_names(comparison) if (d := comparison.difference(arm, name))}
            for arm in others
        },
        "commit": commit(),
        "hardware": hardware(),
        "hours": round(sum(sum(by_seed.values()) for by_seed in comparison.hours.values()), 4),
        "hours_by_run": {arm: {str(s): h for s, h in by_seed.items()} for arm, by_seed in comparison.hours.items()},
    }


def as_markdown(comparison: Comparison) -> str:
    """Two tables: the arms, and the classes."""
    title = f"# {comparison.recipe}: {', '.join(comparison.arms)}"
    lines = [title, "", *(f"- every run: `--set {change}`" for change in shown(comparison.overrides))]
    lines += [f"- {arm}: {' '.join(changes) or 'the recipe as it is'}" for arm, changes in comparison.arms.items()]
    lines += [f"- seeds {', '.join(map(str, comparison.seeds))}; last checkpoint; {_protocol(comparison)}"]
    lines += [
        f"- {hardware()}; commit {commit() or 'unknown'}",
        "",
        *_arm_table(comparison),
        "",
        *_class_table(comparison),
    ]
    return "\n".join(lines) + "\n"


def shown(overrides: Sequence[str]) -> tuple[str, ...]:
    """`--set` as others may read it: where data lies on this machine is nobody's business and decides nothing."""
    return tuple("data.root=PATH" if change.startswith("data.root=") else change for change in overrides)


def class_names(comparison: Comparison) -> tuple[str, ...]:
    """Of the first run that is done."""
    first = next((run for runs in comparison.runs.values() for run in runs.values()), None)
    return tuple(first.IoU) if first else ()


def _protocol(comparison: Comparison) -> str:
    return next((run.protocol for runs in comparison.runs.values() for run in runs.values()), "no run is done")


def _arm_table(comparison: Comparison) -> list[str]:
    rows = [
        "| arm | runs | mIoU % | deviation | by seed | difference | 95 % interval (t) | p | 95 % interval (bootstrap) |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|---|")
    for arm, runs in comparison.runs.items():
        scores = [run.mIoU for _, run in sorted(runs.items())]
        if not scores:
            rows.append(f"| {arm} | 0 | | | | | | | |")
            continue
        mean, deviation = mean_and_deviation(scores)
        found = comparison.difference(arm) if arm != comparison.baseline else None
        by_seed = " ".join(f"{score:.2f}" for score in scores)
        rows.append(f"| {arm} | {len(scores)} | {mean:.2f} | {_number(deviation)} | {by_seed} | {_cells(found)} |")
    return rows


def _cells(found: Difference | None) -> str:
    if found is None:
        return " | ".join([""] * 4)
    p = f"{found.p:.3f}" if found.p is not None else "-"
    intervals = [_interval(found.low, found.high), p, _interval(found.bootstrap_low, found.bootstrap_high)]
    return " | ".join([f"{found.mean:+.2f}", *intervals])


def _class_table(comparison: Comparison) -> list[str]:
    others = [arm for arm in comparison.arms if arm != comparison.baseline]
    rows = ["| class | " + " | ".join(f"{comparison.baseline} IoU % | {arm} minus it" for arm in others) + " |"]
    rows.append("|---|" + "---|---|" * len(others))
    for name in class_names(comparison):
        base = [s for run in comparison.runs[comparison.baseline].values() if (s := run.IoU[name]) is not None]
        mean = f"{mean_and_deviation(base)[0]:.2f}" if base else "absent"
        cells = (f"{mean} | {_signed(comparison.difference(arm, name))}" for arm in others)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _signed(found: Difference | None) -> str:
    return f"{found.mean:+.2f} {_interval(found.low, found.high)}" if found else "-"


def _interval(low: float | None, high: float | None) -> str:
    return f"[{low:+.2f}, {high:+.2f}]" if low is not None and high is not None else "-"


def _number(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else "-"
