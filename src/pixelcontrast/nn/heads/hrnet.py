"""The head of HRNetV2: all maps at the highest resolution, concatenated, then classified (arXiv:1904.04514)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes, check_dropout
from pixelcontrast.ops.resize import resize_logits


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


def concatenate_maps(maps: Sequence[Float[Tensor, "b _ _ _"]], strides: Sequence[int]) -> Float[Tensor, "b c h w"]:
    """Enlarge every map to the stride of the first, bilinearly, and concatenate their channels."""
    size = maps[0].shape[-2:]
    enlarged = (enlarge(each, stride // strides[0], size) for each, stride in zip(maps, strides, strict=True))
    return torch.cat(list(enlarged), dim=1)


def enlarge(coarse: Float[Tensor, "b c h w"], factor: int, size: Sequence[int]) -> Float[Tensor, "b c H W"]:
    """Enlarge a map by a whole factor, bilinearly, and cut it to `size`.

    The last row and column of a coarse map may reach beyond the fine one, so stretching it to `size` would shift it.
    """
    height, width = coarse.shape[-2:]
    return resize_logits(coarse, (height * factor, width * factor))[..., : size[0], : size[1]]
