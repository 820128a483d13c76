"""Loop twins of ops/confusion.py."""

from __future__ import annotations


def confusion_counts(labels: list[int], predictions: list[int], num_classes: int) -> list[list[int]]:
    counts = [[0] * num_classes for _ in range(num_classes)]
    for label, prediction in zip(labels, predictions, strict=True):
        if 0 <= label < num_classes:
            counts[label][prediction] += 1
    return counts


def intersection_over_union(labels: list[int], predictions: list[int], num_classes: int) -> list[float | None]:
    scores: list[float | None] = []
    pairs = [(a, b) for a, b in zip(labels, predictions, strict=True) if 0 <= a < num_classes]
    for c in range(num_classes):
        union = [pair for pair in pairs if c in pair]
        scores.append(sum(pair == (c, c) for pair in union) / len(union) if union else None)
    return scores
