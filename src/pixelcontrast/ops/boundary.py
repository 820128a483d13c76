"""Counts of boundary IoU: Cheng et al., "Boundary IoU", CVPR 2021 (arXiv:2103.16562), Section 4.

The mask of a class is cut down to its inner boundary: the pixels of the mask within d pixels of its contour, d being a
share of the image's diagonal (0.02). IoU is then taken between these bands. As in the authors' code, distance is
counted in king's moves, the image's edge is a contour, and d is rounded and at least 1.

All classes take one pass: a pixel lies inside its mask's band unless the whole square of side 2 d + 1 about it has its
class, which does not ask which class that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, Integer, Shaped
from torch import Tensor


def boundary_counts(
    labels: Integer[Tensor, "H W"], predictions: Integer[Tensor, "H W"], num_classes: int, *, width: int
) -> Int[Tensor, "3 k"]:
    """Count the pixels of both bands, of the labels' band, and of the predictions' band, of each class.

    A pixel without a class has no influence: it counts as outside every mask, of labels and predictions alike, as what
    lies outside the image does. So the edge of the labelled area is a contour in both.

    Args:
        labels: Class ids; a pixel whose id is not in 0..num_classes-1 has no class.
        predictions: Class ids in 0..num_classes-1.
        num_classes: k.
        width: d, in pixels; at least 1.

    Returns:
        int64 counts: right, labelled, predicted; their quotient is `iou_of_margins`, once summed over images.
    """
    counted = (labels >= 0) & (labels < num_classes)
    bands = []
    for ids in (labels, predictions):
        ids = ids.where(counted, num_classes).to(torch.int16)
        bands.append(ids.where(inner_boundary(ids, outside=num_classes, width=width), num_classes).long())
    both = bands[0].where(bands[0] == bands[1], num_classes)
    return torch.stack([_histogram(ids, num_classes) for ids in (both, *bands)])


def band_width(height: int, width: int, *, share: float) -> int:
    """Width of the band in pixels, d: a share of the image's diagonal, rounded, at least 1."""
    return max(1, round(share * math.hypot(height, width)))


def inner_boundary(ids: Integer[Tensor, "H W"], *, outside: int, width: int) -> Bool[Tensor, "H W"]:
    """Whether a pixel has another id, or the image's end, within `width` king's moves.

    Args:
        ids: Any ids.
        outside: An id that what lies outside the image has.
        width: At least 1.
    """
    low = high = F.pad(ids, (width, width, width, width), value=outside)
    for axis in (0, 1):
        low = _of_windows(low, torch.minimum, axis=axis, size=2 * width + 1)
        high = _of_windows(high, torch.maximum, axis=axis, size=2 * width + 1)
    return low != high


def _of_windows(
    values: Shaped[Tensor, "h w"], extreme: Callable[[Tensor, Tensor], Tensor], *, axis: int, size: int
) -> Shaped[Tensor, "h2 w2"]:
    """Smallest or largest of every `size` neighbours along an axis; windows double, so the cost is log2(size)."""
    length = values.shape[axis]
    covered = 1
    while covered < size:
        step = min(covered, size - covered)
        rest = values.shape[axis] - step
        values = extreme(values.narrow(axis, 0, rest), values.narrow(axis, step, rest))
        covered += step
    assert values.shape[axis] == length - size + 1
    return values


def _histogram(ids: Int[Tensor, "H W"], num_classes: int) -> Int[Tensor, " k"]:
    """Pixels of each class; those of id k are not counted."""
    flat = ids.flatten()
    counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=ids.device)
    return counts.scatter_add_(0, flat, torch.ones_like(flat))[:num_classes]
