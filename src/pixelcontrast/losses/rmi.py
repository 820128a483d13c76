"""Region mutual information: labels explained by predictions, neighbourhood by neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.losses.checks import check_weight
from pixelcontrast.ops.dense import region_mutual_information_loss
from pixelcontrast.ops.resize import resize_logits


@dataclass(frozen=True, kw_only=True)
class RMI:
    """Region mutual information (arXiv:1910.12037), to be used beside `cross_entropy`.

    Attributes:
        name: The word for this term in a recipe.
        weight: Factor of this term in the objective; at least 0.
        radius: Side of the neighbourhood, in pooled cells; at least 1.
        pool: Side of a cell, in pixels; at least 1.
        regulariser: Added to the diagonal of the covariances; positive.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["rmi"] = "rmi"
    weight: float = 1.0
    radius: int = 3
    pool: int = 4
    regulariser: float = 1e-3

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if min(self.radius, self.pool) < 1:
            raise ValueError(f"radius and pool must be at least 1, got {self.radius} and {self.pool}")
        if not self.regulariser > 0:
            raise ValueError(f"regulariser must be positive, got {self.regulariser}")

    def __call__(self, logits: Float[Tensor, "b k h w"], labels: Int[Tensor, "b H W"]) -> Float[Tensor, ""]:
        """Return the unweighted term; the logits are resized to the labels."""
        return region_mutual_information_loss(
            resize_logits(logits, labels.shape[-2:]),
            labels,
            radius=self.radius,
            pool=self.pool,
            regulariser=self.regulariser,
        )
