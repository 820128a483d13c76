"""Object-contextual representations (Yuan et al., ECCV 2020, arXiv:1909.11065): pixels look at class regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.nn.heads.deeplabv3 import conv_norm_relu
from pixelcontrast.nn.heads.enlarging import concatenate_maps
from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes, check_dropout


@dataclass(frozen=True, kw_only=True)
class OCR:
    """Soft class regions from a first classifier; each pixel is classified with a mixture of the regions it resembles.

    Works on the concatenation of all maps at the highest resolution, to which contrast attaches as well. The first
    classifier is trained by the auxiliary loss, so this head always has auxiliary logits.

    Attributes:
        name: The word for this head in a recipe.
        channels: Of a pixel's representation, at least 1.
        key_channels: Of the space in which pixels and regions are compared, at least 1.
        dropout: Share of channels dropped before the classifier, in training; at least 0, below 1.
    """

    __pydantic_config__ = {"extra": "forbid"}

    name: Literal["ocr"] = "ocr"
    channels: int = 512
    key_channels: int = 256
    dropout: float = 0.05

    def __post_init__(self) -> None:
        check_dropout(self.dropout)
        if min(self.channels, self.key_channels) < 1:
            raise ValueError(f"channels and key_channels must be at least 1, got {self.channels}, {self.key_channels}")

    def build(self, shapes: MapShapes, num_classes: int) -> Decoder:
        """Build the decoder for a backbone that gives such maps."""
        return OCRDecoder(shapes, num_classes, options=self)


class OCRDecoder(Decoder):
    """Region logits, pixel representation, region representation, attention, classifier."""

    supervises_itself = True

    def __init__(self, shapes: MapShapes, num_classes: int, *, options: OCR) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"the ocr head needs at least 2 classes to form regions, got {num_classes}")
        self._strides = shapes.strides
        width = self.feature_channels = sum(shapes.channels)
        channels = options.channels
        self.region_classifier = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, num_classes, 1)
        )
        self.pixel = nn.Sequential(
            nn.Conv2d(width, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.attention = ObjectAttention(channels, options.key_channels)
        self.merge = nn.Sequential(
            *conv_norm_relu(2 * channels, channels, kernel_size=1), nn.Dropout2d(options.dropout)
        )
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> HeadOutput:
        """Return logits and features at the stride of the first map, and the regions' logits in training."""
        features = concatenate_maps(maps, self._strides)
        region_logits = self.region_classifier(features)
        pixels = self.pixel(features)
        context = self.attention(pixels, gather_regions(pixels, region_logits))
        logits = self.classifier(self.merge(torch.cat([context, pixels], dim=1)))
        return HeadOutput(logits, features, auxiliary_logits=region_logits if self.training else None)


class ObjectAttention(nn.Module):
    """Each pixel's mixture of the regions, weighted by the softmax of their similarity (equations 3 and 4)."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.query = _two_layers(channels, key_channels)
        self.key = _two_layers(channels, key_channels)
        self.value = conv_norm_relu(channels, key_channels, kernel_size=1)
        self.up = conv_norm_relu(key_channels, channels, kernel_size=1)

    def forward(self, pixels: Float[Tensor, "b c h w"], regions: Float[Tensor, "b c k 1"]) -> Float[Tensor, "b c h w"]:
        """Return the context of each pixel."""
        query, key, value = self.query(pixels), self.key(regions).flatten(2), self.value(regions).flatten(2)
        similarity = query.flatten(2).transpose(1, 2) @ key / math.sqrt(key.shape[1])
        mixture = value @ similarity.softmax(dim=-1).transpose(1, 2)
        context: Tensor = self.up(mixture.unflatten(2, pixels.shape[-2:]))
        return context


def gather_regions(
    pixels: Float[Tensor, "b c h w"], region_logits: Float[Tensor, "b k h w"]
) -> Float[Tensor, "b c k 1"]:
    """Mean representation of each class's soft region: the weights are a softmax over the pixels (equation 2)."""
    weights = region_logits.flatten(2).softmax(dim=-1)
    return (weights.to(pixels.dtype) @ pixels.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]


def _two_layers(channels: int, out_channels: int) -> nn.Sequential:
    first = conv_norm_relu(channels, out_channels, kernel_size=1)
    return nn.Sequential(*first, *conv_norm_relu(out_channels, out_channels, kernel_size=1))
