"""The charts of training: losses by term, scores, rate and speed; and those that tell how the embeddings fare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelcontrast.report.arms import Arm
from pixelcontrast.report.lines import Chart, Line, draw_lines, running_mean, smoothed
from pixelcontrast.report.runs import Run, Series

_LOSS = "loss/"


@dataclass(frozen=True)
class Figure:
    """A logged figure and how its chart looks.

    Attributes:
        name: As it is logged.
        title: Of the chart.
        unit: Of the values.
        note: How to read it.
        zero: Whether the axis must reach zero.
        smooth: Whether it is noisy, so that its running mean is drawn over it.
        factor: Values are multiplied by it, such as 100 for percent.
    """

    name: str
    title: str
    unit: str
    note: str = ""
    zero: bool = False
    smooth: bool = True
    factor: float = 1.0


MIOU = Figure("val/mIoU", "mIoU on the validation split", "%", smooth=False)
RATE = Figure("lr", "Learning rate", "", zero=True, smooth=False)
SPEED = Figure(
    "images_per_second",
    "Speed",
    "images/s",
    "Wall time, with evaluations and checkpoints; the dips are theirs.",
    zero=True,
)
SPREAD = (
    Figure(
        "contrast/alignment",
        "Alignment",
        "squared distance",
        "Mean squared distance of two anchors of one class; lower is tighter. 0 is one point.",
    ),
    Figure(
        "contrast/uniformity",
        "Uniformity",
        "log mean potential",
        "Lower is more spread: 0 if all anchors coincide, about −4 if they cover the sphere.",  # noqa: RUF001
    ),
)
STEPS = (
    Figure(
        "contrast/hard_anchor_share",
        "Hard anchors",
        "% of anchors",
        "Share of the anchors that the network predicts wrongly at that step.",
        factor=100,
    ),
    Figure(
        "contrast/gradient_ratio",
        "Gradient of contrast",
        "× that of the dense loss",
        "Norms at the tapped features. Far above 1, contrast drowns the dense loss.",
        zero=True,
        smooth=False,
    ),
    Figure("contrast/memory_fill", "Memory filled", "% of slots", zero=True, smooth=False, factor=100),
    Figure(
        "contrast/memory_age",
        "Age of memory",
        "steps",
        "Mean age of the rows of a class, averaged over classes; old rows are of an older network.",
        zero=True,
    ),
)
_ONE_LEVEL = 0.2  # nats; levels that are nearer to each other are drawn as one
LONELY = Figure(
    "contrast/anchors_without_positives",
    "Anchors without a positive",
    "per step",
    "They are left out of the loss.",
    zero=True,
)


def training_charts(arms: Sequence[Arm]) -> list[Chart]:
    """Losses by term, mIoU, learning rate and speed, as far as the runs logged them."""
    terms = [name for name in _terms(arms) if name != "loss/contrast"]
    charts = [_chart(arms, Figure(name, _title_of(name), "nats", _note_of(name))) for name in terms]
    charts += [_contrast_loss(arms), *(_chart(arms, figure) for figure in (MIOU, RATE, SPEED))]
    return [chart for chart in charts if chart is not None]


def health_charts(arms: Sequence[Arm], num_classes: int) -> list[Chart]:
    """How the embeddings and the memory fare over the run, of arms trained with contrast."""
    arms = [arm for arm in arms if arm.runs[0].has_contrast]
    spread, steps = ([_chart(arms, figure) for figure in figures] for figures in (SPREAD, STEPS))
    charts = [_similarities(arms), *spread, _effective_rank(arms, num_classes), *steps, _lonely_anchors(arms)]
    return [chart for chart in charts if chart is not None]


def series_of(run: Run, name: str) -> Series | None:
    """A logged figure; mIoU has its last evaluation too, which scores.json holds."""
    found = run.metrics.get(name) or run.speed.get(name)
    final = run.scores is not None and run.evaluation.path == run.folder.path
    if name != "val/mIoU" or not final or run.scores is None:
        return found
    last = Series(np.asarray([float(run.scores.step)]), np.asarray([run.scores.mIoU]))
    if found is None:
        return last
    return Series(np.append(found.steps, last.steps), np.append(found.values, last.values))


def _chart(arms: Sequence[Arm], figure: Figure) -> Chart | None:
    lines = [line for arm in arms for line in _lines(arm, figure.name, smooth=figure.smooth, factor=figure.factor)]
    return draw_lines(figure.title, lines, unit=figure.unit, note=figure.note, zero=figure.zero)


def _lines(
    arm: Arm, name: str, *, smooth: bool, factor: float = 1.0, label: str = "", dashed: bool = False
) -> list[Line]:
    """A figure of an arm: one run as it is, several as their mean with each of them faint."""
    found = [series for run in arm.runs if (series := series_of(run, name)) is not None]
    kind = kind_of(arm)
    called = f"{arm.name}, {label}" if label else arm.name
    if not found:
        return []
    if len(found) == 1:
        steps, values = found[0].steps, factor * found[0].values
        if smooth:
            return smoothed(called, kind, steps, values, label=label, dashed=dashed)
        return [Line(called, kind, steps, values, label=label, dashed=dashed)]
    curves = [Series(each.steps, factor * (running_mean(each.values) if smooth else each.values)) for each in found]
    faint = [Line(called, kind, each.steps, each.values, faint=True, dashed=dashed) for each in curves]
    steps = curves[0].steps[curves[0].steps <= min(each.steps[-1] for each in curves)]
    mean = np.mean([np.interp(steps, each.steps, each.values) for each in curves], axis=0)
    return [*faint, Line(f"{called}, mean of {len(found)}", kind, steps, mean, label=label, dashed=dashed)]


def _contrast_loss(arms: Sequence[Arm]) -> Chart | None:
    lines = [line for arm in arms for line in _lines(arm, "loss/contrast", smooth=True)]
    lines += [*_references(arms, "contrast/chance_level", "chance"), *_references(arms, "contrast/floor", "floor")]
    return draw_lines(
        "Contrast loss",
        lines,
        unit="nats",
        note="It starts at chance and cannot fall below the floor; under hard mining it stays near chance and helps"
        " all the same.",
        zero=True,
    )


def _references(arms: Sequence[Arm], name: str, label: str) -> list[Line]:
    """A level the loss is judged by: it hangs on the number of keys. One line where it is common to all."""
    found = [(arm, series) for arm in arms if (series := arm.runs[0].metrics.get(name)) is not None]
    levels = [float(np.median(series.values)) for _, series in found]
    if found and max(levels) - min(levels) < _ONE_LEVEL:
        series = found[0][1]
        return [Line(label, "reference", series.steps, series.values, dashed=True, label=label)]
    return [
        Line(f"{arm.name}, {label}", kind_of(arm), series.steps, series.values, dashed=True, label=label)
        for arm, series in found
    ]


def _similarities(arms: Sequence[Arm]) -> Chart | None:
    lines = [
        line for arm in arms for line in _lines(arm, "contrast/positive_similarity", smooth=True, label="one class")
    ]
    lines += [
        line
        for arm in arms
        for line in _lines(arm, "contrast/negative_similarity", smooth=True, label="two classes", dashed=True)
    ]
    return draw_lines(
        "Similarity of anchors",
        lines,
        unit="cosine",
        note="Mean cosine of two anchors of one class, and of two classes: the gap is what contrast opens.",
    )


def _effective_rank(arms: Sequence[Arm], num_classes: int) -> Chart | None:
    lines = [line for arm in arms for line in _lines(arm, "contrast/effective_rank", smooth=False)]
    if lines and num_classes > 1:
        ends = np.asarray([min(line.steps[0] for line in lines), max(line.steps[-1] for line in lines)])
        simplex = np.full(2, num_classes - 1.0)
        lines.append(Line(f"{num_classes} classes", "reference", ends, simplex, dashed=True, label="classes − 1"))  # noqa: RUF001
    return draw_lines(
        "Effective rank",
        lines,
        unit="directions",
        note="How many directions the anchors use. Near 1 is collapse; classes − 1 are enough to tell all apart.",  # noqa: RUF001
        zero=True,
    )


def _lonely_anchors(arms: Sequence[Arm]) -> Chart | None:
    """Anchors without a positive; None where there never was one."""
    logged = [run.metrics[LONELY.name] for arm in arms for run in arm.runs if LONELY.name in run.metrics]
    return _chart(arms, LONELY) if any(series.values.any() for series in logged) else None


def _terms(arms: Sequence[Arm]) -> list[str]:
    """Names of the logged losses, in the order that runs log them."""
    names = (name for arm in arms for run in arm.runs for name in run.metrics if name.startswith(_LOSS))
    return list(dict.fromkeys(names))


def _title_of(name: str) -> str:
    term = name.removeprefix(_LOSS).replace("_", " ")
    return f"{term[:1].upper()}{term[1:]}"


def _note_of(name: str) -> str:
    return "Of the auxiliary head, in training only." if "auxiliary" in name else ""


def kind_of(arm: Arm) -> str:
    """Class of an arm's colour in the style sheet; there are six, then they come again."""
    return f"arm-{arm.number % 6}"
