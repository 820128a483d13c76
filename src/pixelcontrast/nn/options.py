"""What a recipe says about the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pixelcontrast.nn.heads import Head, HRNetHead


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The network: a backbone by its timm name, and a head.

    Attributes:
        backbone: Any timm model that gives feature maps, with or without the tag of its weights, such as
            `hrnet_w48`, `resnet101.tv_in1k` or `convnext_tiny`.
        head: What turns the backbone's maps into logits.
        pretrained: `true` takes timm's weights for the backbone, from its cache or the hub; a path takes a local
            safetensors or pth file of backbone weights; `false` starts from random weights.
        hrnet_fuse: How HRNet's fuse layers enlarge a map: `nearest` as timm's weights were trained, or `bilinear` with
            aligned corners as the segmentation papers have it. `bilinear` is for HRNet backbones only.
        output_stride: Image pixels per pixel of the last map, 8 or 16, for backbones that can be dilated (ResNets,
            ConvNeXts, MobileNets); `null` leaves it as the backbone has it, mostly 32.
        auxiliary: Also classify the map before the last, in training. Heads that supervise an inner map of
            their own do that instead, always.
        contrast_map: Which of the backbone's maps contrast attaches to, from 0 for the highest resolution; negative
            counts from the end. `null` takes the map that the head names.
        gradient_checkpointing: Compute the backbone's inner maps again in the backward pass rather than keep them, for
            backbones whose timm model can. Gradients are the same; a batch norm within sees each batch twice, so
            its running statistics follow sooner.
    """

    __pydantic_config__ = {"extra": "forbid"}

    backbone: str = "hrnet_w18_small"
    head: Head = HRNetHead()
    pretrained: bool | str = False
    hrnet_fuse: Literal["nearest", "bilinear"] = "nearest"
    output_stride: int | None = None
    auxiliary: bool = False
    contrast_map: int | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        # Deferred: timm takes seconds to import, and only options that are made need its list of names.
        from pixelcontrast.nn.backbone import check_backbone_name, is_hrnet

        check_backbone_name(self.backbone)
        if self.hrnet_fuse == "bilinear" and not is_hrnet(self.backbone):
            raise ValueError(f"hrnet_fuse must be nearest for backbone '{self.backbone}', which is no HRNet")
        if self.output_stride not in (None, 8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16, 32 or null, got {self.output_stride}")
