"""The fully convolutional head (Long et al., CVPR 2015, arXiv:1411.4038), in the form torchvision gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.nn.heads.enlarging import last_map, last_shape
from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes, check_dropout


@dataclass(frozen=True, kw_only=True)
class FCN:
    """Classify the last map with a 3x3 and a 1x1 convolution; contrast attaches to that map.

    HRNet's last map is the concatenation of its branches. The logits have the stride of the last map, so set
    `output_stride` to 8 or 16 where the backbone allows it.

    Attributes:
        name: The word for this head in a recipe.
        dropout: Share of values dropped before the classifier, in training; at least 0, below 1.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["fcn"] = "fcn"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_dropout(self.dropout)

    def build(self, shapes: MapShapes, num_classes: int) -> Decoder:
        """Build the decoder for a backbone that gives such maps."""
        return FCNDecoder(shapes, num_classes, dropout=self.dropout)


class FCNDecoder(Decoder):
    """The FCN classifier on the last map."""

    def __init__(self, shapes: MapShapes, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self._shapes = shapes
        self.feature_channels, _ = last_shape(shapes)
        self.classifier = fcn_classifier(self.feature_channels, num_classes, dropout=dropout)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> HeadOutput:
        """Return logits at the stride of the last map, which is also the features."""
        features = last_map(maps, self._shapes)
        return HeadOutput(logits=self.classifier(features), features=features)


def fcn_classifier(channels: int, num_classes: int, *, dropout: float) -> nn.Sequential:
    """3x3 convolution to a quarter of the channels, batch norm, ReLU, dropout, 1x1 convolution to classes.

    Also the auxiliary head. Unlike torchvision's, it is never narrower inside than `num_classes`.
    """
    inner = max(channels // 4, num_classes)
    return nn.Sequential(
        nn.Conv2d(channels, inner, 3, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Conv2d(inner, num_classes, 1),
    )
