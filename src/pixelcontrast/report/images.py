"""Image by image: the mIoU of each, and how one arm fares against another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from pixelcontrast.engine.statistics import interval_over_images
from pixelcontrast.ops.confusion import iou_of_margins
from pixelcontrast.report.arms import Arm
from pixelcontrast.report.runs import ImageCounts
from pixelcontrast.report.square import square_chart, square_scales


@dataclass(frozen=True)
class ImageDuel:
    """Two arms on the same images.

    Attributes:
        svg: An image a dot: mIoU under the first arm across, under the second up.
        data: What hovering needs.
        better: On how many images the second arm has the higher mIoU.
        worse: On how many the lower.
        interval: 95 % interval of the difference of mIoU over the choice of images, in points; None without one.
    """

    svg: Markup
    data: dict[str, Any]
    better: int
    worse: int
    interval: tuple[float, float] | None


def scores_by_image(images: ImageCounts | None) -> dict[str, float]:
    """MIoU of each image in percent, over the classes that occur in it; images without labels are left out."""
    if images is None:
        return {}
    means = _means(images)
    return {name: float(mean) for name, mean in zip(images.names, means, strict=True) if not np.isnan(mean)}


def duel(baseline: Arm, arm: Arm) -> ImageDuel | None:
    """Compare the first runs of two arms image by image; None unless both counted the same images."""
    theirs, ours = baseline.images, arm.images
    if theirs is None or ours is None or theirs.names != ours.names or theirs.counts.shape != ours.counts.shape:
        return None
    before, after = _means(theirs), _means(ours)
    known = ~(np.isnan(before) | np.isnan(after))
    if not known.any():
        return None
    names = [name for name, good in zip(ours.names, known, strict=True) if good]
    before, after = before[known], after[known]
    svg, places = _draw(before, after, baseline.name, arm.name)
    return ImageDuel(
        svg=svg,
        data={
            "x": places[0], "y": places[1], "names": names,
            "before": np.round(before, 1).tolist(), "after": np.round(after, 1).tolist(),
            "arms": [baseline.name, arm.name],
        },
        better=int((after > before).sum()),
        worse=int((after < before).sum()),
        interval=interval_over_images([(ours.counts, theirs.counts)]),
    )  # fmt: skip


def _means(images: ImageCounts) -> Float[np.ndarray, " n"]:
    means: np.ndarray = 100 * iou_of_margins(images.counts).nanmean(1).numpy()
    return means


def _draw(
    before: Float[np.ndarray, " n"], after: Float[np.ndarray, " n"], first: str, second: str
) -> tuple[Markup, tuple[list[float], list[float]]]:
    both = np.concatenate([before, after])
    room = 0.06 * float(both.max() - both.min()) + 0.5
    across, up = square_scales(float(both.min()) - room, float(both.max()) + room)
    places = [(round(across(x), 1), round(up(y), 1)) for x, y in zip(before.tolist(), after.tolist(), strict=True)]
    dots = (
        Markup('<circle class="image-dot {}" cx="{}" cy="{}" r="3.6"/>').format("better" if better else "worse", x, y)
        for (x, y), better in zip(places, after > before, strict=True)
    )
    svg = square_chart(
        (across, up),
        Markup("").join(dots),
        across=f"mIoU %, {first}",
        up=f"mIoU %, {second}",
        summary=f"mIoU of {len(places)} images, {first} across, {second} up",
    )
    return svg, ([x for x, _ in places], [y for _, y in places])
