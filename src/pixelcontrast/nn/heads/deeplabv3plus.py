"""DeepLabV3+: DeepLabV3's pooling, refined by a map of high resolution (Chen et al., ECCV 2018, arXiv:1802.02611)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.nn.heads.deeplabv3 import ASPP, ASPP_CHANNELS, check_rates, conv_norm_relu, dilations_at
from pixelcontrast.nn.heads.enlarging import enlarge, last_map, last_shape
from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes, check_dropout

LOW_LEVEL_CHANNELS = 48


@dataclass(frozen=True, kw_only=True)
class DeepLabV3Plus:
    """Classify at the stride of the first map, from the pooled last one and the first; contrast attaches to the last.

    The paper's decoder with plain 3x3 convolutions in place of separable ones.

    Attributes:
        name: The word for this head in a recipe.
        rates: Dilation of the three 3x3 convolutions on a map of stride 8; halved at stride 16, and so on.
        dropout: Share of values dropped after the pooling, in training; at least 0, below 1.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["deeplabv3plus"] = "deeplabv3plus"
    rates: tuple[int, int, int] = (12, 24, 36)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_dropout(self.dropout)
        check_rates(self.rates)

    def build(self, shapes: MapShapes, num_classes: int) -> Decoder:
        """Build the decoder for a backbone that gives such maps."""
        return DeepLabV3PlusDecoder(shapes, num_classes, rates=self.rates, dropout=self.dropout)


class DeepLabV3PlusDecoder(Decoder):
    """ASPP on the last map, enlarged beside 48 channels of the first, two 3x3 convolutions, a 1x1 one to classes."""

    def __init__(self, shapes: MapShapes, num_classes: int, *, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        self._shapes = shapes
        self.feature_channels, stride = last_shape(shapes)
        self._factor = stride // shapes.strides[0]
        dilations = dilations_at(stride, rates)
        self.aspp = ASPP(self.feature_channels, ASPP_CHANNELS, dilations=dilations, dropout=dropout)
        self.low_level = conv_norm_relu(shapes.channels[0], LOW_LEVEL_CHANNELS, kernel_size=1)
        self.classifier = nn.Sequential(
            *conv_norm_relu(ASPP_CHANNELS + LOW_LEVEL_CHANNELS, ASPP_CHANNELS, kernel_size=3),
            *conv_norm_relu(ASPP_CHANNELS, ASPP_CHANNELS, kernel_size=3),
            nn.Conv2d(ASPP_CHANNELS, num_classes, 1),
        )

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> HeadOutput:
        """Return logits at the stride of the first map, features at that of the last."""
        low = self.low_level(maps[0])
        features = last_map(maps, self._shapes)
        high = enlarge(self.aspp(features), self._factor, low.shape[-2:])
        return HeadOutput(logits=self.classifier(torch.cat([high, low], dim=1)), features=features)
