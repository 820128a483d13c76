"""What a network costs: parameters, and arithmetic in one forward pass. Counted without allocating a weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from pixelcontrast.nn.heads import OCR, DeepLabV3, DeepLabV3Plus
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor

# The paper's models, and one small model of each family of backbones.
LISTED = (
    ModelOptions(backbone="hrnet_w18_small"),
    ModelOptions(backbone="hrnet_w18"),
    ModelOptions(backbone="hrnet_w48"),
    ModelOptions(backbone="hrnet_w48", head=OCR()),
    ModelOptions(backbone="resnet50", head=DeepLabV3(), output_stride=8, auxiliary=True),
    ModelOptions(backbone="resnet101", head=DeepLabV3(), output_stride=8, auxiliary=True),
    ModelOptions(backbone="resnet101d", head=DeepLabV3Plus(), output_stride=16, auxiliary=True),
    ModelOptions(backbone="convnext_tiny"),
    ModelOptions(backbone="swin_tiny_patch4_window7_224"),
    ModelOptions(backbone="mobilenetv3_large_100"),
)


@dataclass(frozen=True)
class ModelCost:
    """What one network costs.

    Attributes:
        model: The network.
        parameters: All of them, those of an auxiliary head included.
        flops: Floating-point operations of the deployed network on one image: two for each multiply-add of a
            convolution or matrix product; elementwise work is left out.
        feature_channels: Of the map that contrast attaches to.
    """

    model: ModelOptions
    parameters: int
    flops: int
    feature_channels: int


def model_cost(model: ModelOptions, num_classes: int, *, image_size: tuple[int, int]) -> ModelCost:
    """Count the parameters and the operations of a network for one image of `image_size` (height, width)."""
    with torch.device("meta"), torch.no_grad():
        segmentor = Segmentor(replace(model, pretrained=False), num_classes).eval()
        image = torch.empty(1, 3, *image_size)
        with FlopCounterMode(display=False) as counter:
            segmentor(image)
    parameters = sum(parameter.numel() for parameter in segmentor.parameters())
    return ModelCost(model, parameters, counter.get_total_flops(), segmentor.feature_channels)


def listed_models(*, num_classes: int = 19, image_size: tuple[int, int] = (512, 1024)) -> Iterator[ModelCost]:
    """Yield the cost of each model that `pixelcontrast list models` shows, as soon as it is counted."""
    return (model_cost(model, num_classes, image_size=image_size) for model in LISTED)
