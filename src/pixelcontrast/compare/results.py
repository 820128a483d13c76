"""What comes out of a comparison, for programs: the runs that are done, their differences, compare.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pixelcontrast.compare.jobs import Job
from pixelcontrast.engine.json_lines import read_lines
from pixelcontrast.engine.measuring import Speed, read_speed
from pixelcontrast.engine.provenance import commit, hardware
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import read_counts
from pixelcontrast.engine.statistics import Difference, interval_over_images, mean_and_deviation, paired_difference
from pixelcontrast.errors import RunError
from pixelcontrast.files import write_text


@dataclass(frozen=True)
class Run:
    """A run that is done.

    Attributes:
        folder: Its run folder.
        scores: Of its last checkpoint.
        speed: What it cost; None if it did not keep that.
        starts: Where each of its sessions ran; empty if it did not keep that.
    """

    folder: Path
    scores: Scores
    speed: Speed | None
    starts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """All runs that are done.

    Attributes:
        recipe: Name or path of the recipe.
        overrides: `--set` of all runs.
        arms: What each arm changes in the recipe, by its name; the first is the baseline.
        seeds: Of the runs.
        runs: By arm and seed.
        hours: Wall time by arm and seed of all that ran in the folder, as far as it is known.
        equal: What was found equal at the start of all arms.
    """

    recipe: str
    overrides: tuple[str, ...]
    arms: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    runs: Mapping[str, Mapping[int, Run]]
    hours: Mapping[str, Mapping[int, float]]
    equal: tuple[str, ...] = ()

    @property
    def baseline(self) -> str:
        """The first arm."""
        return next(iter(self.arms))

    @property
    def others(self) -> tuple[str, ...]:
        """All arms but the first."""
        return tuple(self.arms)[1:]

    def difference(self, arm: str, class_name: str | None = None) -> Difference | None:
        """An arm's mIoU, or IoU of a class, minus the baseline's, over the seeds that both have."""
        pairs = [
            (score_of(run.scores, class_name), score_of(self.runs[self.baseline][seed].scores, class_name))
            for seed, run in self.runs[arm].items()
            if seed in self.runs[self.baseline]
        ]
        whole = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
        if not whole:
            return None
        found = paired_difference([ours for ours, _ in whole], [theirs for _, theirs in whole])
        interval = self._interval_over_images(arm) if class_name is None else None
        return found if interval is None else replace(found, images_low=interval[0], images_high=interval[1])

    def _interval_over_images(self, arm: str) -> tuple[float, float] | None:
        """None unless all runs of both arms kept the counts of the same images."""
        runs = [(run, self.runs[self.baseline].get(seed)) for seed, run in self.runs[arm].items()]
        pairs = [(ours, theirs) for ours, theirs in runs if theirs is not None]
        files = [RunFolder(run.folder).images for pair in pairs for run in pair]
        if not files or not all(path.exists() for path in files):
            return None
        read = [read_counts(path) for path in files]
        if len({names for names, _ in read}) > 1:
            return None
        counts = [images for _, images in read]
        return interval_over_images(list(zip(counts[::2], counts[1::2], strict=True)))

    def cost(self, arm: str) -> Cost | None:
        """What the runs of an arm took; None if none of them says."""
        speeds = [run.speed for run in self.runs[arm].values() if run.speed is not None]
        if not speeds:
            return None
        rate = mean_and_deviation([speed.images_per_second for speed in speeds])[0]
        return Cost(rate, max(speed.peak_bytes for speed in speeds))

    def hours_of(self, arm: str) -> tuple[float, ...]:
        """Wall times of an arm's runs, as far as they are known."""
        return tuple(hours for seed, hours in self.hours.get(arm, {}).items() if seed in self.seeds)

    @property
    def hours_in_all(self) -> float:
        """Of these arms and seeds; others may have run in the same folder before."""
        return sum(sum(self.hours_of(arm)) for arm in self.arms)

    def sources(self, key: str) -> tuple[str, ...]:
        """What the runs say of themselves under a key of their provenance, each value once."""
        found = (start.get(key) for runs in self.runs.values() for run in runs.values() for start in run.starts)
        return tuple(dict.fromkeys(str(value) for value in found if value is not None))


@dataclass(frozen=True)
class Cost:
    """What an arm takes.

    Attributes:
        images_per_second: Mean over the runs of their medians, which leave out evaluations and saving if these are few.
        peak_bytes: Most memory of any run: allocated by torch on a GPU, held by the process on a CPU.
    """

    images_per_second: float
    peak_bytes: int


def score_of(scores: Scores, class_name: str | None) -> float | None:
    """MIoU, or the IoU of a class; None for a class that does not occur."""
    return scores.mIoU if class_name is None else scores.IoU[class_name]


def read_runs(jobs: Iterable[Job]) -> dict[str, dict[int, Run]]:
    """The runs that are done, by arm and seed.

    Raises:
        RunError: If a file of one is damaged, or they are of different classes.
    """
    runs: dict[str, dict[int, Run]] = {}
    first: Run | None = None
    for job in jobs:
        by_seed = runs.setdefault(job.arm, {})
        if not job.done:
            continue
        run = by_seed[job.seed] = read_run(job.folder)
        first = first or run
        if list(run.scores.IoU) != list(first.scores.IoU):
            raise RunError(
                f"{run.folder} was scored on the classes {', '.join(run.scores.IoU)}, and {first.folder} on"
                f" {', '.join(first.scores.IoU)}; their scores cannot be compared. Choose another --output"
            )
    return runs


def read_run(path: Path) -> Run:
    """A run that is done."""
    folder = RunFolder(path)
    return Run(path, Scores.load(folder.scores), read_speed(folder.speed), tuple(read_lines(folder.provenance)))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Scores and differences in percent points of IoU, with what they were obtained by."""
    runs, others = comparison.runs, comparison.others
    return {
        "recipe": comparison.recipe,
        "overrides": list(shown(comparison.overrides)),
        "arms": {arm: list(changes) for arm, changes in comparison.arms.items()},
        "baseline": comparison.baseline,
        "seeds": list(comparison.seeds),
        "protocol": "; ".join(protocols(comparison)) or "no run is done",
        "equal_at_start": list(comparison.equal),
        "scores": {arm: {str(s): run.scores.mIoU for s, run in by.items()} for arm, by in runs.items()},
        "IoU": {arm: {str(s): run.scores.IoU for s, run in by.items()} for arm, by in runs.items()},
        "difference": {arm: asdict(d) for arm in others if (d := comparison.difference(arm))},
        "difference_by_class": {
            arm: {name: asdict(d) for name in class_names(comparison) if (d := comparison.difference(arm, name))}
            for arm in others
        },
        "cost": {arm: asdict(cost) for arm in comparison.arms if (cost := comparison.cost(arm))},
        "commit": ", ".join(comparison.sources("commit")) or commit(),
        "hardware": ", ".join(comparison.sources("hardware")) or hardware(),
        "threads": ", ".join(comparison.sources("threads")) or None,
        "hours": round(comparison.hours_in_all, 4),
        "hours_by_run": {arm: {str(s): h for s, h in by_seed.items()} for arm, by_seed in comparison.hours.items()},
    }


def save_json(comparison: Comparison, path: Path) -> None:
    """Write compare.json."""
    write_text(path, json.dumps(as_json(comparison), indent=1) + "\n")


def shown(overrides: Sequence[str]) -> tuple[str, ...]:
    """`--set` as others may read it: where data lies on this machine is nobody's business and decides nothing."""
    return tuple("data.root=PATH" if change.startswith("data.root=") else change for change in overrides)


def class_names(comparison: Comparison) -> tuple[str, ...]:
    """Of the first run that is done."""
    first = _first(comparison)
    return tuple(first.IoU) if first else ()


def protocols(comparison: Comparison) -> tuple[str, ...]:
    """How the runs were scored, in words, each way once."""
    return tuple(dict.fromkeys(run.scores.protocol for runs in comparison.runs.values() for run in runs.values()))


def _first(comparison: Comparison) -> Scores | None:
    return next((run.scores for by_seed in comparison.runs.values() for run in by_seed.values()), None)
