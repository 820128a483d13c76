"""Confusion counts and the scores of semantic segmentation that follow from them.

Counts are summed over images and ranks before anything is divided, as the field does (PASCAL VOC, Cityscapes).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor


def confusion_counts(
    labels: Integer[Tensor, "*pixels"], predictions: Integer[Tensor, "*pixels"], num_classes: int
) -> Int[Tensor, "k k"]:
    """Count pixels by (label, prediction).

    Args:
        labels: Class ids; a pixel whose id is not in 0..num_classes-1 is not counted.
        predictions: Class ids in 0..num_classes-1.
        num_classes: k.

    Returns:
        int64 counts, row = label, column = prediction.
    """
    counted = (labels >= 0) & (labels < num_classes)
    spare = num_classes * num_classes  # takes what is not counted, so that the shape does not depend on the data
    cells = torch.where(counted, labels.long() * num_classes + predictions.long(), spare).flatten()
    counts = torch.zeros(spare + 1, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(0, cells, torch.ones_like(cells))[:spare].view(num_classes, num_classes)


def intersection_over_union(counts: Int[Tensor, "k k"]) -> Float[Tensor, " k"]:
    """IoU per class, 0 to 1: TP / (TP + FP + FN); NaN for a class absent from labels and predictions."""
    return iou_of_margins(margins(counts))


def margins(counts: Int[Tensor, "k k"]) -> Int[Tensor, "3 k"]:
    """What IoU, precision and recall need of the counts: pixels right, labelled and predicted, of each class."""
    return torch.stack([counts.diagonal(), counts.sum(1), counts.sum(0)])


def iou_of_margins(margins: Int[Tensor, "*n 3 k"]) -> Float[Tensor, "*n k"]:
    """IoU per class, 0 to 1, as `intersection_over_union` of the counts; NaN for a class absent from both."""
    right, labelled, predicted = margins.unbind(-2)
    return right.double() / (labelled + predicted - right)


def class_accuracy(counts: Int[Tensor, "k k"]) -> Float[Tensor, " k"]:
    """Share of each class's pixels predicted rightly, 0 to 1 (recall); NaN for a class absent from the labels."""
    return counts.diagonal().double() / counts.sum(1)


def precision(counts: Int[Tensor, "k k"]) -> Float[Tensor, " k"]:
    """Share of each class's predicted pixels that are right, 0 to 1; NaN for a class that is never predicted."""
    return counts.diagonal().double() / counts.sum(0)


def f1_score(counts: Int[Tensor, "k k"]) -> Float[Tensor, " k"]:
    """F1 (Dice) per class, 0 to 1: 2 TP / (2 TP + FP + FN); NaN for a class absent from labels and predictions."""
    return 2 * counts.diagonal().double() / (counts.sum(0) + counts.sum(1))


def pixel_accuracy(counts: Int[Tensor, "k k"]) -> Float[Tensor, ""]:
    """Share of all counted pixels that are predicted rightly, 0 to 1; NaN if there are none."""
    return counts.diagonal().sum().double() / counts.sum()
