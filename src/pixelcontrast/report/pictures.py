"""Example images of an evaluation as the page shows them: image, label, prediction, errors, and what an arm changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pixelcontrast.data.labels import IGNORE_INDEX
from pixelcontrast.engine.examples import place_below
from pixelcontrast.engine.pictures import RIGHT, VOID, WRONG, data_uri
from pixelcontrast.report.arms import Arm
from pixelcontrast.report.images import scores_by_image
from pixelcontrast.report.runs import Color, Run

# Blue against orange, and grey of another lightness: told apart by colour-blind readers.
BETTER, BOTH_WRONG = (0, 114, 178), (96, 96, 96)
_WIDTHS = (480, 360, 240)
_MOST_BYTES = 4_000_000  # of all pictures together; base64 adds a third


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: What it is.
        source: A data URI.
    """

    title: str
    source: str


@dataclass(frozen=True)
class Example:
    """One image of the split.

    Attributes:
        name: Of the image.
        scores: Its mIoU in percent by arm, None where it is not known.
        panels: Image and label; then predictions, errors or changes of the arms that kept theirs.
    """

    name: str
    scores: tuple[float | None, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Group:
    """Examples that were chosen alike.

    Attributes:
        title: How.
        examples: At most eight.
    """

    title: str
    examples: tuple[Example, ...]


def example_groups(arms: Sequence[Arm], palette: Sequence[Color]) -> list[Group]:
    """The worst, the best and evenly spaced images of the last arm's first run, with the first arm's beside them.

    Pictures are made smaller until all of them together are small enough to be mailed.
    """
    run = arms[-1].first
    if run.scores is None or not run.evaluation.examples.is_dir():
        return []
    chosen = {
        f"Worst of {arms[-1].name}" if len(arms) > 1 else "Worst": [name for name, _ in run.scores.worst],
        "Evenly spaced over the split": list(run.scores.even),
        f"Best of {arms[-1].name}" if len(arms) > 1 else "Best": [name for name, _ in run.scores.best],
    }
    groups: list[Group] = []
    for width in _WIDTHS:
        groups = [
            Group(title, tuple(_examples(arms, names, palette, width=width)))
            for title, names in chosen.items()
            if names
        ]
        size = sum(len(panel.source) for group in groups for each in group.examples for panel in each.panels)
        if size <= _MOST_BYTES * 4 / 3:
            break
    return groups


def _examples(arms: Sequence[Arm], names: Sequence[str], palette: Sequence[Color], *, width: int) -> Iterator[Example]:
    known = [scores_by_image(arm.images) for arm in arms]
    for name in names:
        panels = _panels(arms, name, palette, width=width)
        if panels:
            yield Example(name, tuple(scores.get(name) for scores in known), panels)


def _panels(arms: Sequence[Arm], name: str, palette: Sequence[Color], *, width: int) -> tuple[Panel, ...]:
    image = _read(arms[-1].first, name, ".image.jpg", width)
    labels = _read(arms[-1].first, name, ".label.png", width)
    if image is None or labels is None:
        return ()
    panels = [
        Panel("image", data_uri(image.convert("RGB"), "JPEG", quality=80)),
        Panel("label", _drawn(np.asarray(labels), palette)),
    ]
    predictions = {arm.name: found for arm in arms if (found := _read(arm.first, name, ".prediction.png", width))}
    several = len(arms) > 1
    ids = {who: np.asarray(found) for who, found in predictions.items()}
    panels += [
        Panel(f"prediction, {who}" if several else "prediction", _drawn(each, palette)) for who, each in ids.items()
    ]
    named = [
        Panel(f"errors, {who}" if several else "errors", _errors(np.asarray(labels), each)) for who, each in ids.items()
    ]
    if len(ids) == 2:
        before, after = ids.values()
        named[1] = Panel("change", _change(np.asarray(labels), before, after))
    return (*panels, *named)


def _read(run: Run, name: str, ending: str, width: int) -> Image.Image | None:
    """A file of an example at `width` at most, or None; labels and predictions as ids."""
    place = run.evaluation.examples / place_below(name)
    path = place.with_name(place.name + ending)
    try:
        with Image.open(path) as opened:
            picture: Image.Image = opened.copy()
    except (OSError, SyntaxError):  # missing, or cut short where a machine lost power
        return None
    if picture.width <= width:
        return picture
    size = (width, max(round(picture.height * width / picture.width), 1))
    how = Image.Resampling.NEAREST if picture.mode in ("P", "L") else Image.Resampling.LANCZOS
    return picture.resize(size, how)


def _drawn(ids: UInt8[np.ndarray, "H W"], palette: Sequence[Color]) -> str:
    return _indexed(ids, [*palette, *[VOID] * (256 - len(palette))])


def _errors(labels: UInt8[np.ndarray, "H W"], prediction: UInt8[np.ndarray, "H W"]) -> str:
    """Light where right, orange where wrong, black where nothing is labelled."""
    kinds = np.where(labels == IGNORE_INDEX, 2, labels != prediction)
    return _indexed(kinds.astype(np.uint8), (RIGHT, WRONG, VOID))


def _change(labels: UInt8[np.ndarray, "H W"], before: UInt8[np.ndarray, "H W"], after: UInt8[np.ndarray, "H W"]) -> str:
    """Blue where the second alone is right, orange where the first alone is, dark where both are wrong."""
    kinds = (labels != before).astype(np.uint8) + 2 * (labels != after)
    kinds[labels == IGNORE_INDEX] = 4
    return _indexed(kinds.astype(np.uint8), (RIGHT, BETTER, WRONG, BOTH_WRONG, VOID))


def _indexed(ids: UInt8[np.ndarray, "H W"], colours: Sequence[Color]) -> str:
    picture = Image.fromarray(ids)
    picture.putpalette([channel for colour in colours for channel in colour])
    return data_uri(picture, "PNG", optimize=True)
