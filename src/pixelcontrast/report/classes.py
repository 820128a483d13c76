"""The table of classes: IoU of every arm, what an arm has more than the baseline, share of pixels, boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.statistics import Difference
from pixelcontrast.report.arms import Arm, Spread, difference
from pixelcontrast.report.curves import kind_of

_WIDTH, _HEIGHT, _PAD = 180, 22, 6


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        number: Class id.
        name: Of the class.
        share: Of the labelled pixels, in percent.
        IoU: By arm, in percent; None where the class does not occur.
        difference: By arm but the first; None without a pair.
        boundary: Boundary IoU by arm, in percent.
        accuracy: Share of its pixels found (recall), by arm.
        precision: Share of the pixels given to it that are its own, by arm.
        plot: IoU of all arms on one line from 0 to 100.
    """

    number: int
    name: str
    share: float
    IoU: tuple[Spread | None, ...]
    difference: tuple[Difference | None, ...]
    boundary: tuple[Spread | None, ...]
    accuracy: tuple[Spread | None, ...]
    precision: tuple[Spread | None, ...]
    plot: Markup


def class_rows(arms: Sequence[Arm]) -> list[ClassRow]:
    """Rows in the order of class ids, of the arms that have scores."""
    first = arms[0].scores[0]
    return [_row(arms, number, name, first) for number, name in enumerate(first.IoU)]


def score_difference(arm: Arm, baseline: Arm, class_name: str | None = None) -> Difference | None:
    """How much more an arm has in mIoU, or in the IoU of a class, in percent points."""
    return difference(arm, baseline, {each.name: by_seed(each, class_name) for each in (arm, baseline)})


def by_seed(arm: Arm, class_name: str | None = None) -> Mapping[int, float | None]:
    """MIoU of an arm's runs, or the IoU of a class."""
    return {
        run.seed: run.scores.mIoU if class_name is None else run.scores.IoU.get(class_name)
        for run in arm.runs
        if run.scores is not None
    }


def _row(arms: Sequence[Arm], number: int, name: str, first: Scores) -> ClassRow:
    iou = tuple(arm.mean(scores.IoU.get(name) for scores in arm.scores) for arm in arms)
    return ClassRow(
        number=number,
        name=name,
        share=first.label_share[name],
        IoU=iou,
        difference=tuple(score_difference(arm, arms[0], name) for arm in arms[1:]),
        boundary=tuple(arm.mean((scores.boundary_IoU or {}).get(name) for scores in arm.scores) for arm in arms),
        accuracy=tuple(arm.mean(scores.accuracy.get(name) for scores in arm.scores) for arm in arms),
        precision=tuple(arm.mean((scores.precision or {}).get(name) for scores in arm.scores) for arm in arms),
        plot=_plot(arms, iou),
    )


def _plot(arms: Sequence[Arm], values: Sequence[Spread | None]) -> Markup:
    """A dot an arm on a line from 0 to 100, joined; the deviation over seeds as a bar."""
    middle = _HEIGHT / 2

    def place(value: float) -> float:
        return _PAD + value / 100 * (_WIDTH - 2 * _PAD)

    known = [(arm, value) for arm, value in zip(arms, values, strict=True) if value is not None]
    parts = [Markup('<line class="grid" x1="{}" x2="{}" y1="{m}" y2="{m}"/>').format(_PAD, _WIDTH - _PAD, m=middle)]
    if len(known) > 1:
        ends = [place(value.mean) for _, value in known]
        parts.append(
            Markup('<line class="join" x1="{:.1f}" x2="{:.1f}" y1="{m}" y2="{m}"/>').format(
                min(ends), max(ends), m=middle
            )
        )
    for arm, value in known:
        if value.deviation is not None:
            low, high = (place(min(max(value.mean + sign * value.deviation, 0), 100)) for sign in (-1, 1))
            parts.append(
                Markup('<line class="spread {}" x1="{:.1f}" x2="{:.1f}" y1="{m}" y2="{m}"/>').format(
                    kind_of(arm), low, high, m=middle
                )
            )
        parts.append(
            Markup('<circle class="dot {}" cx="{:.1f}" cy="{}" r="4.2"/>').format(
                kind_of(arm), place(value.mean), middle
            )
        )
    return Markup('<svg class="row-plot" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        _WIDTH, _HEIGHT, Markup("").join(parts)
    )
