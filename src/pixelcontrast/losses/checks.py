"""Checks that the options of several terms share."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_weight(weight: float) -> None:
    """Raise ValueError unless `weight` can be a factor in the objective."""
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be a finite number of at least 0, got {weight}")


def check_weights_of_classes(weights: Sequence[float] | None) -> None:
    """Raise ValueError unless each class has a factor of at least 0, and one of them more."""
    if weights is not None and not (all(math.isfinite(w) and w >= 0 for w in weights) and any(weights)):
        raise ValueError(f"class_weights must be finite, at least 0, and not all 0, got {tuple(weights)}")
