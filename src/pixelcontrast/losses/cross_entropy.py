"""The term every recipe has: cross entropy per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.losses.checks import check_weight, check_weights_of_classes
from pixelcontrast.ops.dense import cross_entropy
from pixelcontrast.ops.resize import resize_logits


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Cross entropy, averaged over the pixels that have a label, at the labels' resolution.

    Attributes:
        name: The word for this term in a recipe.
        weight: Factor of this term in the objective; at least 0.
        class_weights: Factor of each class, in the order of the ids; `null` weighs them alike.
        label_smoothing: Share of the target spread evenly over all classes; at least 0, below 1.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["cross_entropy"] = "cross_entropy"
    weight: float = 1.0
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        check_weights_of_classes(self.class_weights)
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")

    def __call__(self, logits: Float[Tensor, "b k h w"], labels: Int[Tensor, "b H W"]) -> Float[Tensor, ""]:
        """Return the unweighted term; the logits are resized to the labels."""
        weights = self.class_weights
        if weights is not None and len(weights) != logits.shape[1]:
            raise ValueError(
                f"class_weights must have a factor for each of {logits.shape[1]} classes, got {len(weights)}"
            )
        return cross_entropy(
            resize_logits(logits, labels.shape[-2:]),
            labels,
            class_weights=None if weights is None else torch.tensor(weights, device=logits.device),
            label_smoothing=self.label_smoothing,
        )
