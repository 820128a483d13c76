"""Resizing of logits and labels: the one home of interpolation and its conventions.

Pixels are areas: `align_corners=False` everywhere; labels take the class at the new pixel's centre (nearest-exact).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer, Num
from torch import Tensor


def resize_logits(logits: Float[Tensor, "b k h w"], size: Sequence[int]) -> Float[Tensor, "b k H W"]:
    """Bring logits to `size` (height, width) bilinearly; unchanged, not copied, if they have it already."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def resize_images(images: Float[Tensor, "b c h w"], size: Sequence[int]) -> Float[Tensor, "b c H W"]:
    """Bring images to `size` (height, width) bilinearly, smoothed where they shrink, as the training transforms do."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)


def resize_labels(labels: Integer[Tensor, "b *grid"], size: Sequence[int]) -> Integer[Tensor, "b *new_grid"]:
    """Bring labels to `size` by the class under each new pixel's centre, for any number of spatial dimensions.

    Index arithmetic rather than interpolation, so that ids of any integer type stay what they are.

    Raises:
        ValueError: If `size` has another number of dimensions than the grid.
    """
    grid = labels.shape[1:]
    if len(grid) != len(size):
        raise ValueError(f"labels have {len(grid)} spatial dimensions, but the size asked for has {len(size)}: {size}")
    for axis, (old, new) in enumerate(zip(grid, size, strict=True), start=1):
        if old != new:
            labels = labels.index_select(axis, nearest_exact(old, new, device=labels.device))
    return labels


def nearest_exact(old: int, new: int, *, device: torch.device | None = None) -> Int[Tensor, " new"]:
    """Index of the old pixel that holds the centre of each new one: floor((i + 1/2) old / new), in integers."""
    return ((2 * torch.arange(new, device=device) + 1) * old).div(2 * new, rounding_mode="floor")


def pad_to_multiple(image: Num[Tensor, "b c h w"], stride: int) -> Num[Tensor, "b c H W"]:
    """Pad right and bottom with zeros until both sides are multiples of `stride`."""
    height, width = image.shape[-2:]
    below, right = -height % stride, -width % stride
    return F.pad(image, (0, right, 0, below)) if below or right else image
