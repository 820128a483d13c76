"""Losses that compare the logits of every pixel with its label. All are float32 or better, whatever autocast says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "b k H W"],
    labels: Int[Tensor, "b H W"],
    *,
    class_weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = 255,
) -> Float[Tensor, ""]:
    """Cross entropy, averaged over the pixels that have a label.

    Args:
        logits: At the labels' resolution.
        labels: Class ids from 0 to k - 1, or `ignore_index`.
        class_weights: Factor of each class. The mean divides by the sum of the pixels' weights, as torch's does.
        label_smoothing: Share of the target spread evenly over all classes, from 0 to 1.
        ignore_index: Pixels of this id have no influence.

    Returns:
        Nats per pixel; a zero attached to the graph if no pixel has a label (torch's mean is NaN there).
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weights = None if class_weights is None else class_weights.to(logits)
    total = F.cross_entropy(
        logits, labels, weight=weights, ignore_index=ignore_index, reduction="sum", label_smoothing=label_smoothing
    )
    valid = labels != ignore_index
    mass = valid.sum() if weights is None else (weights[labels.where(valid, 0)] * valid).sum()
    return total / mass.where(mass > 0, 1)
