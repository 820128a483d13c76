"""Charts of figures over steps, drawn as SVG; what hovering needs lies beside each as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from pixelcontrast.report.scales import Scale, scale_for, short

WIDTH, HEIGHT = 360, 216
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 14, 32
_MOST_POINTS = 300
_SMOOTH_FROM = 24  # points; fewer are drawn as they are


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: In the tooltip.
        kind: Class of its colour in the style sheet.
        steps: Ascending.
        values: Of the figure, in the chart's unit.
        faint: Drawn thin and left out of the tooltip: a single seed, or what was smoothed.
        dashed: A second figure in the same colour, or a reference.
        label: Written at the end of the line, where there is no legend for it.
    """

    name: str
    kind: str
    steps: Float[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]
    faint: bool = False
    dashed: bool = False
    label: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart as the page shows it.

    Attributes:
        title: What is shown.
        unit: Of the values; empty where they have none.
        note: How to read it, in a sentence.
        svg: The picture.
        data: What hovering needs, to be written as JSON.
    """

    title: str
    unit: str
    note: str
    svg: Markup
    data: dict[str, Any]


def draw_lines(title: str, lines: Sequence[Line], *, unit: str, note: str = "", zero: bool = False) -> Chart | None:
    """Draw lines over steps; None if no line has a point.

    Args:
        title: Of the chart.
        lines: In the order of drawing.
        unit: Of the values.
        note: How to read it.
        zero: Whether the axis of values must reach zero.
    """
    lines = [_thinned(line) for line in lines if len(line.steps)]
    if not lines:
        return None
    steps = np.concatenate([line.steps for line in lines])
    values = np.concatenate([line.values for line in lines])
    across = Scale(min(float(steps.min()), 0.0), max(float(steps.max()), 1.0), _LEFT, WIDTH - _RIGHT)
    up = scale_for(values.tolist(), start=HEIGHT - _BOTTOM, end=_TOP, zero=zero)
    body = Markup("").join(
        [_axes(across, up), *(_path(line, across, up) for line in lines), _labels(lines, across, up)]
    )
    return Chart(title, unit, note, _frame(body, _summary(title, lines, unit)), _hover_data(lines, across, up, unit))


def smoothed(name: str, kind: str, steps: np.ndarray, values: np.ndarray, **looks: Any) -> list[Line]:
    """A noisy figure as two lines: its values, faint, and their mean over a thirtieth of the run around each."""
    if len(steps) < _SMOOTH_FROM:
        return [Line(name, kind, steps, values, **looks)]
    faint = Line(name, kind, steps, values, faint=True, dashed=looks.get("dashed", False))
    return [faint, Line(name, kind, steps, running_mean(values), **looks)]


def running_mean(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Mean over a window around each value, a thirtieth of all of them wide; cut off at the ends."""
    half = max(len(values) // 60, 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    mean: np.ndarray = (sums[last] - sums[first]) / (last - first)
    return mean


def _thinned(line: Line) -> Line:
    """A line of few enough points: means of neighbours."""
    size = -(-len(line.steps) // _MOST_POINTS)
    if size == 1:
        return line
    starts = np.arange(0, len(line.steps), size)
    counts = np.diff([*starts, len(line.steps)])
    steps, values = (np.add.reduceat(part, starts) / counts for part in (line.steps, line.values))
    return Line(line.name, line.kind, steps, values, faint=line.faint, dashed=line.dashed, label=line.label)


def _axes(across: Scale, up: Scale) -> Markup:
    parts = []
    for value in up.ticks:
        place = up(value)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, WIDTH - _RIGHT, place, place
            )
        )
        parts.append(
            Markup('<text class="tick end" x="{}" y="{:.1f}">{}</text>').format(_LEFT - 6, place + 3.5, short(value))
        )
    for value in across.ticks:
        parts.append(
            Markup('<text class="tick mid" x="{:.1f}" y="{}">{}</text>').format(
                across(value), HEIGHT - _BOTTOM + 14, short(value)
            )
        )
    parts.append(
        Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _LEFT, WIDTH - _RIGHT, HEIGHT - _BOTTOM, HEIGHT - _BOTTOM
        )
    )
    parts.append(Markup('<text class="tick end" x="{}" y="{}">step</text>').format(WIDTH - _RIGHT, HEIGHT - 4))
    return Markup("").join(parts)


def _path(line: Line, across: Scale, up: Scale) -> Markup:
    places = [(across(step), up(value)) for step, value in zip(line.steps.tolist(), line.values.tolist(), strict=True)]
    looks = f"line {line.kind}" + (" faint" if line.faint else "") + (" dashed" if line.dashed else "")
    path = Markup('<path class="{}" d="M{}"/>').format(looks, "L".join(f"{x:.1f} {y:.1f}" for x, y in places))
    if len(places) > 12 or line.faint or line.dashed:
        return path
    dots = (
        Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="2.6"/>').format(line.kind, x, y) for x, y in places
    )
    return path + Markup("").join(dots)


def _labels(lines: Sequence[Line], across: Scale, up: Scale) -> Markup:
    """Names at the ends of lines, moved apart where they would lie on each other."""
    labelled = sorted((line for line in lines if line.label), key=lambda line: up(float(line.values[-1])))
    parts, above = [], -1e9
    for number, line in enumerate(labelled):
        own = up(float(line.values[-1]))
        lowest = 0 < number == len(labelled) - 1 and own + 15 < up.start
        place = max(own + 15 if lowest else own - 7, above + 12)
        above = place
        end = min(across(float(line.steps[-1])), WIDTH - _RIGHT)
        parts.append(
            Markup('<text class="name end {}" x="{:.1f}" y="{:.1f}">{}</text>').format(
                line.kind, end, place, line.label
            )
        )
    return Markup("").join(parts)


def _frame(body: Markup, summary: str) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" tabindex="0" aria-label="{summary}">{body}'
        '<g class="cursor" hidden><line y1="{top}" y2="{bottom}"/></g></svg>'
    ).format(w=WIDTH, h=HEIGHT, summary=summary, body=body, top=_TOP, bottom=HEIGHT - _BOTTOM)


def _summary(title: str, lines: Sequence[Line], unit: str) -> str:
    ends = [
        f"{line.name} from {short(float(line.values[0]))} to {short(float(line.values[-1]))}"
        for line in lines
        if not line.faint
    ]
    return f"{title}{', ' + unit if unit else ''} by step: {'; '.join(ends)}"


def _hover_data(lines: Sequence[Line], across: Scale, up: Scale, unit: str) -> dict[str, Any]:
    shown = [line for line in lines if not line.faint]
    return {
        "unit": unit,
        "x": [across.low, across.high, across.start, across.end],
        "y": [up.low, up.high, up.start, up.end],
        "lines": [
            {
                "name": line.name,
                "kind": line.kind,
                "x": np.round(line.steps).astype(int).tolist(),
                "y": [float(f"{value:.5g}") for value in line.values],
            }
            for line in shown
        ],
    }
