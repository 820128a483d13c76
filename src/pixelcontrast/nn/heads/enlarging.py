"""Maps of different strides brought together, without a shift where a coarse map reaches beyond the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pixelcontrast.nn.heads.interface import MapShapes
from pixelcontrast.ops.resize import crop, resize_logits


def last_shape(shapes: MapShapes) -> tuple[int, int]:
    """Channels and stride of what `last_map` returns."""
    return (sum(shapes.channels), shapes.strides[0]) if shapes.parallel else (shapes.channels[-1], shapes.strides[-1])


def last_map(maps: Sequence[Float[Tensor, "b _ _ _"]], shapes: MapShapes) -> Float[Tensor, "b c h w"]:
    """The map a network ends with: the last stage's, or the concatenation of parallel branches."""
    return concatenate_maps(maps, shapes.strides) if shapes.parallel else maps[-1]


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
    return crop(resize_logits(coarse, (height * factor, width * factor)), size)
