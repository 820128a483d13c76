"""What a head is given and what it returns; every head of the union keeps to this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class MapShapes:
    """The maps a backbone gives, from high to low resolution.

    Attributes:
        channels: Of each map.
        strides: Image pixels per map pixel, of each map.
        parallel: True if the maps are branches that end side by side, as HRNet's, rather than stages that follow one
            another: then no single map holds what the network has learnt.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    parallel: bool = False


@dataclass(frozen=True)
class HeadOutput:
    """What a decoder returns.

    Attributes:
        logits: At the decoder's own stride.
        features: The map that pixel contrast attaches to unless the recipe names another.
        auxiliary_logits: Of a decoder that supervises an inner map itself, in training only.
    """

    logits: Float[Tensor, "b k h w"]
    features: Float[Tensor, "b c h2 w2"]
    auxiliary_logits: Float[Tensor, "b k h3 w3"] | None = None


class Decoder(nn.Module):
    """The module that a head's options build: from a backbone's maps to logits.

    Attributes:
        feature_channels: Channels of `HeadOutput.features`.
        supervises_itself: True if it returns auxiliary logits of its own in training.
    """

    feature_channels: int
    supervises_itself: bool = False

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> HeadOutput:
        """Return the logits of a backbone's maps, high resolution first."""
        raise NotImplementedError


def check_dropout(dropout: float) -> None:
    """Raise ValueError unless `dropout` is a share that leaves something."""
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
