"""Square charts of one percentage against another, with the diagonal on which both are equal."""

from __future__ import annotations

from markupsafe import Markup

from pixelcontrast.report.scales import Scale, short

_SIDE, _LEFT, _BOTTOM, _ROOM = 320, 44, 36, 10


def square_scales(low: float, high: float) -> tuple[Scale, Scale]:
    """The scales across and up, both from `low` to `high`."""
    return Scale(low, high, _LEFT, _SIDE - _ROOM), Scale(low, high, _SIDE - _BOTTOM, _ROOM)


def square_chart(scales: tuple[Scale, Scale], body: Markup, *, across: str, up: str, summary: str) -> Markup:
    """Draw `body` over a grid.

    Args:
        scales: Those that the body was placed by.
        body: What is shown.
        across: Name and unit of the values across.
        up: Name and unit of those upwards.
        summary: What is shown, for those who cannot see it.
    """
    right, upwards = scales
    grid = [
        Markup(
            '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
            '<line class="grid" x1="{left}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick mid" x="{x:.1f}" y="{below}">{text}</text>'
            '<text class="tick end" x="{beside}" y="{base:.1f}">{text}</text>'
        ).format(
            x=right(value), y=upwards(value), base=upwards(value) + 3.5, text=short(value), top=_ROOM,
            bottom=_SIDE - _BOTTOM, left=_LEFT, end=_SIDE - _ROOM, below=_SIDE - _BOTTOM + 14, beside=_LEFT - 6,
        )
        for value in right.ticks
    ]  # fmt: skip
    names = Markup(
        '<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>'
        '<text class="tick end" x="{}" y="{}">{}</text>'
        '<text class="tick" transform="translate(10 {}) rotate(-90)">{}</text>'
    ).format(
        right.start, upwards.start, right.end, upwards.end, _SIDE - _ROOM, _SIDE - 6, across, _SIDE - _BOTTOM, up
    )  # fmt: skip
    return Markup('<svg viewBox="0 0 {s} {s}" role="img" tabindex="0" aria-label="{}">{}</svg>').format(
        summary, Markup("").join([*grid, names, body]), s=_SIDE
    )
