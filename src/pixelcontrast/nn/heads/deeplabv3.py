"""DeepLabV3: parallel dilated convolutions and the image's mean (Chen et al., arXiv:1706.05587), as in torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.nn.heads.enlarging import last_map, last_shape
from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes, check_dropout

ASPP_CHANNELS = 256


@dataclass(frozen=True, kw_only=True)
class DeepLabV3:
    """Classify the last map after atrous spatial pyramid pooling; contrast attaches to that map, before the pooling.

    HRNet's last map is the concatenation of its branches. The papers use a ResNet with `output_stride: 8` and
    `auxiliary: true`.

    Attributes:
        name: The word for this head in a recipe.
        rates: Dilation of the three 3x3 convolutions on a map of stride 8; halved at stride 16, and so on.
        dropout: Share of values dropped after the pooling, in training; at least 0, below 1.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["deeplabv3"] = "deeplabv3"
    rates: tuple[int, int, int] = (12, 24, 36)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_dropout(self.dropout)
        check_rates(self.rates)

    def build(self, shapes: MapShapes, num_classes: int) -> Decoder:
        """Build the decoder for a backbone that gives such maps."""
        return DeepLabV3Decoder(shapes, num_classes, rates=self.rates, dropout=self.dropout)


class DeepLabV3Decoder(Decoder):
    """ASPP, a 3x3 convolution, and a 1x1 convolution to classes, on the last map."""

    def __init__(self, shapes: MapShapes, num_classes: int, *, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        self._shapes = shapes
        self.feature_channels, stride = last_shape(shapes)
        dilations = dilations_at(stride, rates)
        self.aspp = ASPP(self.feature_channels, ASPP_CHANNELS, dilations=dilations, dropout=dropout)
        self.classifier = nn.Sequential(
            *conv_norm_relu(ASPP_CHANNELS, ASPP_CHANNELS, kernel_size=3), nn.Conv2d(ASPP_CHANNELS, num_classes, 1)
        )

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> HeadOutput:
        """Return logits at the stride of the last map, which is also the features."""
        features = last_map(maps, self._shapes)
        return HeadOutput(logits=self.classifier(self.aspp(features)), features=features)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: one 1x1 and three dilated 3x3 convolutions, and the mean over the image."""

    def __init__(self, channels: int, out_channels: int, *, dilations: Sequence[int], dropout: float) -> None:
        super().__init__()
        branches = [conv_norm_relu(channels, out_channels, kernel_size=1)]
        branches += [conv_norm_relu(channels, out_channels, kernel_size=3, dilation=each) for each in dilations]
        self.branches = nn.ModuleList(branches)
        self.pooling = ImageMean(channels, out_channels)
        self.project = nn.Sequential(
            *conv_norm_relu((len(branches) + 1) * out_channels, out_channels, kernel_size=1), nn.Dropout(dropout)
        )

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Return the pooled map, of the same size."""
        parts = [branch(features) for branch in self.branches]
        mean = self.pooling(features).expand_as(parts[0])
        merged: Tensor = self.project(torch.cat([*parts, mean], dim=1))
        return merged


class ImageMean(nn.Module):
    """The mean over the image through a 1x1 convolution, batch norm and ReLU.

    A batch of one image has no statistics of its own here, so the running ones are used; torchvision's is an error.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 1 1"]:
        """Return one vector an image."""
        mean = self.conv(features.mean(dim=(2, 3), keepdim=True))
        if mean.shape[0] > 1:
            return torch.relu(self.norm(mean))
        norm = self.norm
        running = (norm.running_mean, norm.running_var)
        return torch.relu(F.batch_norm(mean, *running, norm.weight, norm.bias, training=False, eps=norm.eps))


def conv_norm_relu(channels: int, out_channels: int, *, kernel_size: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, without bias, batch norm, ReLU."""
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def check_rates(rates: Sequence[int]) -> None:
    """Raise ValueError unless every rate can be a dilation."""
    if min(rates) < 1:
        raise ValueError(f"rates must be at least 1, got {tuple(rates)}")


def dilations_at(stride: int, rates: Sequence[int]) -> tuple[int, ...]:
    """Dilations that reach as far in the image as `rates` do on a map of stride 8."""
    return tuple(max(1, rate * 8 // stride) for rate in rates)
