"""Online hard example mining: cross entropy of the pixels the network is least sure of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.losses.checks import check_weight
from pixelcontrast.ops.dense import ohem_cross_entropy
from pixelcontrast.ops.resize import resize_logits


@dataclass(frozen=True, kw_only=True)
class OHEM:
    """Cross entropy, averaged over hard pixels (arXiv:1604.03540), in place of `cross_entropy`.

    Attributes:
        name: The word for this term in a recipe.
        weight: Factor of this term in the objective; at least 0.
        threshold: Probability of the label below which a pixel is hard; from 0 to 1.
        min_kept: Pixels of each device's batch that count as hard at least; at least 1.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["ohem"] = "ohem"
    weight: float = 1.0
    threshold: float = 0.7
    min_kept: int = 100_000

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must be from 0 to 1, got {self.threshold}")
        if self.min_kept < 1:
            raise ValueError(f"min_kept must be at least 1, got {self.min_kept}")

    def __call__(self, logits: Float[Tensor, "b k h w"], labels: Int[Tensor, "b H W"]) -> Float[Tensor, ""]:
        """Return the unweighted term; the logits are resized to the labels."""
        return ohem_cross_entropy(
            resize_logits(logits, labels.shape[-2:]), labels, threshold=self.threshold, min_kept=self.min_kept
        )
