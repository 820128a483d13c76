"""The terms a recipe can list. The union below is the list of them: a recipe's `loss` names its members."""

from __future__ import annotations

from pixelcontrast.losses.cross_entropy import CrossEntropy

DenseTerm = CrossEntropy

__all__ = ["CrossEntropy", "DenseTerm"]
