"""What a report reads: the files of a run folder, typed, each of which may be missing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.engine.embedding_files import PixelEmbeddings
from pixelcontrast.engine.json_lines import read_lines
from pixelcontrast.engine.run_folder import EvaluationFolder, RunFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import read_counts
from pixelcontrast.errors import RunError
from pixelcontrast.nn.weights import CONFIG_FILE

Color = tuple[int, int, int]
_PATH = re.compile(r"""^(?P<indent> *(?:- )?)(?P<key>\w+: )['"]?(?:[~/]|[A-Za-z]:[\\/]|\\\\)""")


@dataclass(frozen=True)
class Series:
    """One figure over the steps of a run.

    Attributes:
        steps: At which it was logged, ascending.
        values: Of the figure there.
    """

    steps: Float[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of each image by class.

    Attributes:
        names: Of the images.
        counts: Pixels right, labelled and predicted.
    """

    names: tuple[str, ...]
    counts: Int[Tensor, "n 3 k"]


@dataclass(frozen=True)
class Run:
    """A run folder as far as it is there.

    Attributes:
        folder: Where its files lie.
        evaluation: Where the evaluation lies that is shown.
        recipe: The resolved recipe; empty if it is missing.
        recipe_text: As it is written, without paths of the machine.
        scores: Of the evaluation; None if there is none yet.
        palette: Colours by class id, empty if unknown.
        metrics: Losses, statistics and scores by name.
        speed: Images per second and peak memory by name.
        starts: Provenance of the start and of each resume.
        images: Counts by image; None from an older version.
        embeddings: Of some pixels; None if `embed` was not called.
        missing: What of the above could not be shown and how to have it, a sentence each.
    """

    folder: RunFolder
    evaluation: EvaluationFolder
    recipe: Mapping[str, Any]
    recipe_text: str
    scores: Scores | None
    palette: tuple[Color, ...]
    metrics: Mapping[str, Series]
    speed: Mapping[str, Series]
    starts: tuple[Mapping[str, Any], ...]
    images: ImageCounts | None
    embeddings: PixelEmbeddings | None
    missing: tuple[str, ...] = field(default=())

    @property
    def seed(self) -> int:
        """Of the recipe; 0 if it is unknown."""
        return int(self.recipe.get("seed", 0))

    @property
    def has_contrast(self) -> bool:
        """Whether it was trained with pixel contrast."""
        return self.recipe.get("contrast") is not None


def read_run(path: Path, *, evaluation: str | None = None) -> Run:
    """Read a run folder.

    Args:
        path: The folder.
        evaluation: Name of one below `evaluations/`; None for the final one of the training.

    Raises:
        RunError: If it is no run folder, has no evaluation of that name, or a file in it is not what it should be.
    """
    folder = RunFolder(path)
    if not folder.recipe.exists() and not folder.scores.exists():
        raise RunError(f"no run folder at {path}; expected a folder that `pixelcontrast train` or `compare` wrote.")
    place = folder if evaluation is None else folder.evaluation(evaluation)
    if evaluation is not None and not place.scores.exists():
        raise RunError(f"no evaluation '{evaluation}' of {path}; expected {place.scores}")
    text = folder.recipe.read_text(encoding="utf-8") if folder.recipe.exists() else ""
    scores = Scores.load(place.scores) if place.scores.exists() else None
    images = ImageCounts(*read_counts(place.images)) if place.images.exists() else None
    embeddings = PixelEmbeddings.load(folder.embeddings) if folder.embeddings.exists() else None
    return Run(
        folder=folder,
        evaluation=place,
        recipe=_read_recipe(text, folder.recipe),
        recipe_text=_without_paths(text),
        scores=scores,
        palette=_read_palette(path / CONFIG_FILE),
        metrics=read_series(folder.metrics),
        speed=read_series(folder.speed),
        starts=tuple(read_lines(folder.provenance)),
        images=images,
        embeddings=embeddings,
        missing=_missing(folder, scores, images),
    )


def find_runs(path: Path) -> list[Path]:
    """A run folder itself, or the runs below a folder of runs by name; of a comparison those of its last call.

    Raises:
        RunError: If there is none.
    """
    if not path.is_dir():
        raise RunError(f"no folder at {path}; expected run folders, or the folder of a comparison.")
    if RunFolder(path).recipe.exists() or RunFolder(path).scores.exists():
        return [path]
    found = sorted({file.parent for pattern in ("*/recipe.yaml", "*/*/recipe.yaml") for file in path.glob(pattern)})
    if not found:
        raise RunError(f"no run in {path}; looked for recipe.yaml in it and two folders deep.")
    arms, seeds = compared(path)
    named = {path / arm / f"seed_{seed}" for arm in arms for seed in seeds}
    return [run for run in found if run in named] or found


def compared(folder: Path) -> tuple[list[str], list[int]]:
    """Arms in their order and seeds of a comparison's last call, as its compare.json says; none if it is none's."""
    try:
        stored = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
        return list(stored["arms"]), list(stored["seeds"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return [], []


def read_series(path: Path) -> dict[str, Series]:
    """Read a file of JSON lines by step; a value that is missing or not finite is left out of its series."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line in read_lines(path):
        step = line.pop("step", None)
        if not isinstance(step, int | float):
            continue
        for name, value in line.items():
            if isinstance(value, int | float) and np.isfinite(value):
                steps, values = found.setdefault(name, ([], []))
                steps.append(float(step))
                values.append(float(value))
    return {name: Series(np.asarray(steps), np.asarray(values)) for name, (steps, values) in found.items()}


def _read_recipe(text: str, path: Path) -> Mapping[str, Any]:
    try:
        recipe = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise RunError(f"{path} is no YAML: {error}; take it from the recipe that the run was started with") from error
    if not isinstance(recipe, dict):
        raise RunError(f"{path}: expected a recipe, got {type(recipe).__name__}")
    return recipe


def _without_paths(text: str) -> str:
    """A recipe without where things lie on a machine, which decides nothing and is nobody's business."""
    lines: list[str] = []
    column: int | None = None  # of the key whose path may go on in the next line
    for line in text.splitlines():
        if column is not None and len(line) - len(line.lstrip()) > column:
            continue
        path = _PATH.match(line)
        column = len(path["indent"]) if path else None
        lines.append(f"{path['indent']}{path['key']}PATH" if path else line)
    return "\n".join(lines)


def _read_palette(path: Path) -> tuple[Color, ...]:
    if not path.exists():
        return ()
    try:
        palette = json.loads(path.read_text(encoding="utf-8")).get("palette", ())
        return tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is not the configuration of a network: {error}") from error


def _missing(folder: RunFolder, scores: Scores | None, images: ImageCounts | None) -> tuple[str, ...]:
    notes = []
    if scores is None:
        notes.append("Training has not ended: there are no final scores yet.")
    elif images is None or scores.boundary_IoU is None:
        notes.append(
            "This evaluation is of an older version: boundary IoU, calibration and example images are not in it. "
            "`pixelcontrast evaluate RUN`, then `pixelcontrast report RUN --evaluation val` shows them."
        )
    if not folder.metrics.exists():
        notes.append("There is no metrics.jsonl, so there are no curves.")
    return tuple(notes)
