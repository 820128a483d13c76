"""Loop twin of ops/calibration.py."""

from __future__ import annotations


def expected_calibration_error(
    labels: list[int], predictions: list[int], confidence: list[float], num_classes: int, bins: int
) -> float | None:
    counted = [
        (label == prediction, c)
        for label, prediction, c in zip(labels, predictions, confidence, strict=True)
        if 0 <= label < num_classes
    ]
    error = 0.0
    for m in range(bins):
        low, high = m / bins, (m + 1) / bins
        inside = [(right, c) for right, c in counted if low < c <= high or (m == 0 and c == 0)]
        if inside:
            accuracy = sum(right for right, _ in inside) / len(inside)
            error += len(inside) / len(counted) * abs(accuracy - sum(c for _, c in inside) / len(inside))
    return error if counted else None
