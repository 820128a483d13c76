"""Eq. 3 pair by pair, in plain Python numbers, as the paper writes it."""

import math
from collections.abc import Sequence


def pixel_contrast_by_loops(
    anchors: Sequence[Sequence[float]],
    anchor_labels: Sequence[int],
    keys: Sequence[Sequence[float]],
    key_labels: Sequence[int],
    temperature: float,
    own_key: Sequence[int] | None = None,
) -> float:
    losses = []
    for i, (anchor, label) in enumerate(zip(anchors, anchor_labels, strict=True)):
        positives, negatives = [], []
        for j, (key, key_label) in enumerate(zip(keys, key_labels, strict=True)):
            if label < 0 or key_label < 0 or (own_key is not None and own_key[i] == j):
                continue
            similarity = sum(a * k for a, k in zip(anchor, key, strict=True)) / temperature
            (positives if key_label == label else negatives).append(similarity)
        if positives:
            losses.append(sum(term(p, negatives) for p in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def term(positive: float, negatives: Sequence[float]) -> float:
    """-log(exp(p) / (exp(p) + sum of exp(n)))."""
    return math.log(math.fsum([1.0, *(math.exp(n - positive) for n in negatives)]))
