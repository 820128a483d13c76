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
    if _is_size(logits, size):
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
    size = tuple(num_cells(side, stride) * stride for side in (height, width))
    return image if _is_size(image, size) else F.pad(image, (0, size[1] - width, 0, size[0] - height))


def crop(whole: Num[Tensor, "b c h w"], size: Sequence[int]) -> Num[Tensor, "b c h2 w2"]:
    """Cut right and bottom off until the map has `size` (height, width)."""
    if _is_size(whole, size):
        return whole
    if not torch.compiler.is_exporting():
        return whole[..., : size[0], : size[1]]
    # a slice would bind the graph to sizes for which the tracer can prove that the map is the larger one
    for axis, length in zip((2, 3), size, strict=True):
        whole = whole.index_select(axis, torch.arange(length, device=whole.device))
    return whole


def num_cells(side: int, stride: int) -> int:
    """How many cells of `stride` pixels cover a side; rounded up so that runtimes that divide towards zero agree."""
    return (side + stride - 1) // stride


def _is_size(grid: Num[Tensor, "b c h w"], size: Sequence[int]) -> bool:
    """Whether a map has this size; where a graph for any size is traced, whether it always has."""
    if not torch.compiler.is_exporting():
        return tuple(grid.shape[-2:]) == tuple(size)
    # loaded here, since it takes a second and eager code never needs it
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return all(statically_known_true(old == new) for old, new in zip(grid.shape[-2:], size, strict=True))
