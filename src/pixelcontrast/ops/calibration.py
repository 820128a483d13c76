"""Counts of the expected calibration error: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 3.

Confidence is the probability of the predicted class. Pixels are put into M bins of equal width by their confidence, and

    ECE = sum_m n_m / n |accuracy_m - confidence_m|

with n_m pixels in bin m. Confidence is summed in integers, so neither the order of images nor the number of ranks
changes anything.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

UNIT = 1 << 20  # a confidence of 1


def calibration_counts(
    labels: Integer[Tensor, "*pixels"],
    predictions: Integer[Tensor, "*pixels"],
    confidence: Float[Tensor, "*pixels"],
    *,
    num_classes: int,
    bins: int,
) -> Int[Tensor, "m 3"]:
    """Count pixels, right pixels and confidence by bins of confidence.

    Args:
        labels: Class ids; a pixel whose id is not in 0..num_classes-1 is not counted.
        predictions: Class ids.
        confidence: Probability of the predicted class, 0 to 1. Bin m takes those in (m / bins, (m + 1) / bins]; what is
            no number counts as 0.
        num_classes: k.
        bins: M, at least 1.

    Returns:
        int64: pixels, right pixels, sum of their confidences in units of 1 / `UNIT`.
    """
    counted = (labels >= 0) & (labels < num_classes)
    confidence = confidence.nan_to_num(0.0)
    cells = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    cells = torch.where(counted, cells, bins).flatten()  # the last bin takes what is not counted
    right = (labels == predictions).flatten().long()
    units = (confidence * UNIT).round().long().flatten()
    sums = torch.zeros(bins + 1, 3, dtype=torch.int64, device=labels.device)
    values = torch.stack([torch.ones_like(right), right, units], dim=1)
    return sums.scatter_add_(0, cells[:, None].expand(-1, 3), values)[:bins]


def expected_calibration_error(counts: Int[Tensor, "m 3"]) -> Float[Tensor, ""]:
    """ECE, 0 to 1, from summed counts; NaN if nothing is counted."""
    pixels, right, units = counts.unbind(1)
    return (right.double() - units.double() / UNIT).abs().sum() / pixels.sum()
