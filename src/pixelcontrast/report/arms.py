"""Which runs belong together: an arm is one recipe under several seeds, and others are held against the first one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelcontrast.engine.embedding_files import PixelEmbeddings
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.statistics import Difference, mean_and_deviation, paired_difference
from pixelcontrast.report.runs import ImageCounts, Run

_SEED_FOLDER = re.compile(r"seed[_-]?\d+")
# What changes neither the network that comes out nor what it is judged by.
_INDIFFERENT = {"seed", "data.root", "data.workers", "data.cache"}


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seed alone.

    Attributes:
        name: What it is called on the page.
        number: Of its colour; 0 is the baseline of a comparison.
        runs: By seed.
    """

    name: str
    number: int
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run whose pictures, maps and recipe stand for the arm: the first that has scores."""
        return next((run for run in self.runs if run.scores is not None), self.runs[0])

    @property
    def scores(self) -> tuple[Scores, ...]:
        """Of the runs that have them."""
        return tuple(run.scores for run in self.runs if run.scores is not None)

    def mean(self, values: Iterable[float | None]) -> Spread | None:
        """Mean and deviation of what is known over the runs."""
        known = [value for value in values if value is not None]
        return Spread(*mean_and_deviation(known), len(known)) if known else None

    @property
    def counts(self) -> np.ndarray | None:
        """Confusion counts summed over the runs, row = label; None without scores."""
        return (
            np.sum([np.asarray(each.counts, dtype=np.int64) for each in self.scores], axis=0) if self.scores else None
        )

    @property
    def embeddings(self) -> PixelEmbeddings | None:
        """Of the first run that has them."""
        return next((run.embeddings for run in self.runs if run.embeddings is not None), None)

    @property
    def images(self) -> ImageCounts | None:
        """Counts by image of the first run."""
        return self.first.images


@dataclass(frozen=True)
class Spread:
    """A figure over seeds.

    Attributes:
        mean: Over the runs.
        deviation: Sample standard deviation; None for a single run.
        runs: How many.
    """

    mean: float
    deviation: float | None
    runs: int


def group(runs: Sequence[Run], *, order: Sequence[str] = ()) -> tuple[Arm, ...]:
    """Gather runs into arms; an arm without contrast comes first, then those in `order`, then as they are given.

    Args:
        runs: In any order.
        order: Names of arms, as folders are called.
    """
    together: dict[str, list[Run]] = {}
    for run in runs:
        together.setdefault(_identity(run), []).append(run)
    named = _names(list(together.values()))
    ranked = sorted(named.items(), key=lambda item: (item[1][0].has_contrast, _place(item[0], order)))
    return tuple(
        Arm(name, number if len(ranked) > 1 else 1, tuple(sorted(members, key=lambda run: run.seed)))
        for number, (name, members) in enumerate(ranked)
    )


def difference(arm: Arm, baseline: Arm, values: Mapping[str, Mapping[int, float | None]]) -> Difference | None:
    """What an arm has more than the baseline, over the seeds that both have.

    Args:
        arm: The arm.
        baseline: What it is compared with.
        values: By name of the arm and seed.
    """
    ours, theirs = values[arm.name], values[baseline.name]
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    known = [(one, two) for one, two in pairs if one is not None and two is not None]
    return paired_difference([one for one, _ in known], [two for _, two in known]) if known else None


def flatten(tree: Any, above: str = "") -> dict[str, Any]:
    """A recipe as one level: `{"data.batch_size": 8, "loss.0.name": "cross_entropy"}`."""
    if isinstance(tree, dict):
        items: Iterable[tuple[Any, Any]] = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    else:
        return {above.rstrip("."): tree}
    return {key: value for name, below in items for key, value in flatten(below, f"{above}{name}.").items()}


def _identity(run: Run) -> str:
    recipe = {key: value for key, value in flatten(run.recipe).items() if key not in _INDIFFERENT}
    # Runs without a recipe cannot be told to be one arm.
    return json.dumps(recipe, sort_keys=True, default=str) if recipe else str(run.folder.path.resolve())


def _names(groups: Sequence[Sequence[Run]]) -> dict[str, Sequence[Run]]:
    folders = [_folder_name(members[0]) for members in groups]
    contrasts = [members[0].has_contrast for members in groups]
    plain = {False: "cross entropy", True: "contrast"}
    if any(folder is None for folder in folders) and len(set(contrasts)) == len(groups):
        names = [plain[contrast] for contrast in contrasts]
    else:
        names = [
            folder or members[0].folder.path.resolve().name for folder, members in zip(folders, groups, strict=True)
        ]
    taken: dict[str, Sequence[Run]] = {}
    for name, members in zip(names, groups, strict=True):
        free, number = name, 2
        while free in taken:
            free, number = f"{name} ({number})", number + 1
        taken[free] = members
    return taken


def _folder_name(run: Run) -> str | None:
    """The folder of the arm, where a run lies at ARM/seed_N."""
    path = run.folder.path.resolve()
    return path.parent.name.replace("_", " ") if _SEED_FOLDER.fullmatch(path.name) else None


def _place(name: str, order: Sequence[str]) -> int:
    spaced = [each.replace("_", " ") for each in order]
    return spaced.index(name) if name in spaced else len(spaced)
