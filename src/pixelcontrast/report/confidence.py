"""How far a network's confidence can be trusted: share of right pixels by confidence."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pixelcontrast.report.arms import Arm
from pixelcontrast.report.curves import kind_of
from pixelcontrast.report.square import square_chart, square_scales


def reliability(arms: Sequence[Arm]) -> Markup | None:
    """Draw the first run of every arm that has bins of confidence; a dot's size tells how many pixels it stands for."""
    measured = [
        (arm, arm.first.scores.calibration) for arm in arms if arm.first.scores and arm.first.scores.calibration
    ]
    if not measured:
        return None
    across, up = square_scales(0, 100)
    parts = []
    for arm, bins in measured:
        total = sum(count for count, _, _ in bins)
        dots = [
            (across(confidence), up(right), 2 + 7 * (count / total) ** 0.5, count, confidence, right)
            for count, confidence, right in bins
            if confidence is not None and right is not None
        ]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y, *_ in dots)
        parts.append(Markup('<path class="line {}" d="M{}"/>').format(kind_of(arm), line))
        parts += [
            Markup(
                '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}: confidence {:.0f} %, {:.0f} % of'
                " {:,} pixels right</title></circle>"
            ).format(kind_of(arm), x, y, size, arm.name, confidence, right, count)
            for x, y, size, count, confidence, right in dots
        ]
    names = ", ".join(arm.name for arm, _ in measured)
    return square_chart(
        (across, up),
        Markup("").join(parts),
        across="confidence, %",
        up="right, % of pixels",
        summary=f"Share of right pixels by confidence: {names}",
    )
