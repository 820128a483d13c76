"""Soft Dice: overlap of prediction and label, each class alike however small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.losses.checks import check_weight
from pixelcontrast.ops.dense import dice_loss
from pixelcontrast.ops.resize import resize_logits


@dataclass(frozen=True, kw_only=True)
class Dice:
    """Soft Dice loss, averaged over the classes that the batch holds (arXiv:1606.04797, without squares).

    Attributes:
        name: The word for this term in a recipe.
        weight: Factor of this term in the objective; at least 0.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["dice"] = "dice"
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)

    def __call__(self, logits: Float[Tensor, "b k h w"], labels: Int[Tensor, "b H W"]) -> Float[Tensor, ""]:
        """Return the unweighted term; the logits are resized to the labels."""
        return dice_loss(resize_logits(logits, labels.shape[-2:]), labels)
