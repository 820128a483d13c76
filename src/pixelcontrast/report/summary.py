"""The top of the page: what came out, in a sentence, in figures and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.statistics import Difference
from pixelcontrast.report.arms import Arm, Spread
from pixelcontrast.report.classes import by_seed, score_difference
from pixelcontrast.report.curves import kind_of
from pixelcontrast.report.images import ImageDuel
from pixelcontrast.report.scales import scale_for, short, signed

_WIDTH, _ROW, _LEFT, _RIGHT, _AXIS = 360, 30, 14, 14, 36


@dataclass(frozen=True)
class Standing:
    """An arm's figures.

    Attributes:
        arm: Whose.
        mIoU: Over its runs, in percent.
        interval: 95 % interval of the first run's mIoU over the choice of images; None if it was not measured.
        difference: How much more mIoU than the baseline, in points; None of the baseline itself.
        figures: Others by their name: value and unit, as text.
    """

    arm: Arm
    mIoU: Spread | None  # noqa: N815 - the field writes it so
    interval: tuple[float, float] | None
    difference: Difference | None
    figures: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """What an arm changes.

    Attributes:
        number: The difference, with its sign; empty if there is none to tell.
        text: What it is of, and how sure it is.
    """

    number: str
    text: str


def standings(arms: Sequence[Arm]) -> list[Standing]:
    """Figures of every arm."""
    return [
        Standing(
            arm=arm,
            mIoU=arm.mean(scores.mIoU for scores in arm.scores),
            interval=arm.scores[0].mIoU_interval if arm.scores else None,
            difference=score_difference(arm, arms[0]) if number else None,
            figures=_figures(arm),
        )
        for number, arm in enumerate(arms)
    ]


def verdict(arm: Arm, baseline: Arm, duel: ImageDuel | None) -> Verdict:
    """What an arm changes against the baseline, with how sure that is, in words."""
    found = score_difference(arm, baseline)
    if found is None:
        return Verdict("", f"No seed has both {baseline.name} and {arm.name}, so there is no difference to tell.")
    text = f"points of mIoU with {arm.name} against {baseline.name}"
    if found.low is not None and found.high is not None:
        text += f", 95 % interval {signed(found.low)} to {signed(found.high)} (paired t over {found.seeds} seeds)."
        return Verdict(signed(found.mean), text)
    seeds = "one seed each" if len(baseline.scores) == len(arm.scores) == 1 else "one seed in common"
    text += f", {seeds}: how much seeds differ is unknown."
    of_the_pair = baseline.first.seed == arm.first.seed  # as the duel is of the first runs
    if duel is not None and duel.interval is not None and of_the_pair:
        low, high = duel.interval
        text += f" Over the choice of images alone, the 95 % interval is {signed(low)} to {signed(high)}."
    return Verdict(signed(found.mean), text)


def strip(arms: Sequence[Arm]) -> Markup | None:
    """MIoU of every run, a row an arm; None where no arm has more than one."""
    rows = [(arm, [score for score in by_seed(arm).values() if score is not None]) for arm in arms]
    values = [score for _, scores in rows for score in scores]
    if all(len(scores) < 2 for _, scores in rows):
        return None
    across = scale_for(values, start=_LEFT, end=_WIDTH - _RIGHT)
    bottom = _ROW * len(rows) + 8
    parts = [_ticks(across.ticks, [across(tick) for tick in across.ticks], bottom)]
    for number, (arm, scores) in enumerate(rows):
        middle = _ROW * number + _ROW / 2 + 8
        if not scores:
            continue
        mean = statistics.fmean(scores)
        parts += [
            Markup('<circle class="dot seed {}" cx="{:.1f}" cy="{}" r="5"><title>{}: {:.2f} %</title></circle>').format(
                kind_of(arm), across(score), middle, arm.name, score
            )
            for score in scores
        ]
        parts.append(
            Markup('<line class="mean {}" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/>').format(
                kind_of(arm), middle - 11, middle + 11, x=across(mean)
            )
        )
    means = ", ".join(f"{arm.name} {statistics.fmean(scores):.1f}" for arm, scores in rows if scores)
    return Markup(
        '<svg class="strip" viewBox="0 0 {} {}" role="img" aria-label="Mean mIoU in percent: {}">{}</svg>'
    ).format(_WIDTH, bottom + _AXIS, means, Markup("").join(parts))


def _ticks(values: Sequence[float], places: Sequence[float], bottom: float) -> Markup:
    parts = [
        Markup(
            '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom}"/>'
            '<text class="tick mid" x="{x:.1f}" y="{below}">{}</text>'
        ).format(short(value), x=place, bottom=bottom, below=bottom + 16)
        for value, place in zip(values, places, strict=True)
    ]
    parts.append(Markup('<text class="tick end" x="{}" y="{}">mIoU, %</text>').format(_WIDTH - _RIGHT, bottom + 32))
    return Markup("").join(parts)


def _figures(arm: Arm) -> dict[str, str]:
    def score(values: Sequence[float | None]) -> str:
        found = arm.mean(values)
        return "" if found is None else f"{found.mean:.1f} %"

    scores: Sequence[Scores] = arm.scores
    rates = [statistics.median(run.speed["images_per_second"].values) for run in arm.runs if run.speed]
    peaks = [float(run.speed["peak_bytes"].values.max()) for run in arm.runs if "peak_bytes" in run.speed]
    figures = {
        "pixel accuracy": score([each.aAcc for each in scores]),
        "mean accuracy": score([each.mAcc for each in scores]),
        "boundary mIoU": score([each.boundary_mIoU for each in scores]),
        "calibration error": score([each.ECE for each in scores]),
        "images/s": f"{statistics.fmean(rates):.1f}" if rates else "",
        "peak memory": f"{max(peaks) / 1e9:.2f} GB" if peaks else "",
    }
    return {name: text for name, text in figures.items() if text}
