"""The head of HRNetV2: all maps at the highest resolution, concatenated, then classified (arXiv:1904.04514)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.nn.heads.enlarging import concatenate_maps
from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes, check_dropout


@dataclass(frozen=True, kw_only=True)
class HRNetHead:
    """Concatenate every map at the highest resolution and classify with two 1x1 convolutions; for any backbone.

    Contrast attaches to the concatenation (720 channels at stride 4 for HRNet-W48), as in Wang et al., ICCV 2021.

    Attributes:
        name: The word for this head in a recipe.
        dropout: Share of channels dropped before the classifier, in training; at least 0, below 1.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["hrnet"] = "hrnet"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_dropout(self.dropout)

    def build(self, shapes: MapShapes, num_classes: int) -> Decoder:
        """Build the decoder for a backbone that gives such maps."""
        return HRNetDecoder(shapes, num_classes, dropout=self.dropout)


class HRNetDecoder(Decoder):
    """Concatenation, 1x1 convolution of the same width, batch norm, ReLU, dropout, 1x1 convolution to classes."""

    def __init__(self, shapes: MapShapes, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        channels = self.feature_channels = sum(shapes.channels)
        self._strides = shapes.strides
        self.classifier = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(channels, num_classes, 1),
        )

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> HeadOutput:
        """Return logits and features at the stride of the first map."""
        features = concatenate_maps(maps, self._strides)
        return HeadOutput(logits=self.classifier(features), features=features)
