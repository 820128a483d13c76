"""Region embeddings: the mean over all pixels of one class in one image (Wang et al., ICCV 2021, section 3.3)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from pixelcontrast.types import PixelSet

TINY = 1e-12  # its square is a normal float32


def region_means(
    embeddings: Float[Tensor, "b d *grid"],
    labels: Integer[Tensor, "b *grid"],
    num_classes: int,
    *,
    ignore_index: int = 255,
    normalize: bool = False,
) -> PixelSet:
    r"""Mean embedding of every (image, class), brought to unit length.

    .. math:: r_{b,c} = \frac{\sum_{i : y_i = c} e_i}{\lVert \sum_{i : y_i = c} e_i \rVert}

    Args:
        embeddings: Map of unit vectors, in any floating type; summed in float32 or better. One that is not finite
            spoils all regions of its image, whatever its label.
        labels: Class ids on the same grid; `ignore_index` and ids outside 0..num_classes-1 belong to no region.
        num_classes: Number of classes.
        ignore_index: Label of pixels without a class.
        normalize: Divide every pixel by its norm first, without writing the divided map.

    Returns:
        Row `b * num_classes + c` is class c of image b; where the image lacks it, the label is -1 and the row zero.

    Raises:
        ValueError: If labels and embeddings have different grids.

    Cost: a product of [classes x pixels] and [pixels x d] per image, which adds in a fixed order, without atomics.
    Extra memory is one float32 per class and pixel, and a float32 copy of a lower-precision map.
    """
    if labels.shape != (embeddings.shape[0], *embeddings.shape[2:]):
        raise ValueError(
            f"labels must lie on the grid of the embeddings, {[embeddings.shape[0], *embeddings.shape[2:]]},"
            f" got {list(labels.shape)}; use resize_labels"
        )
    pixels = embeddings.flatten(2).to(torch.promote_types(embeddings.dtype, torch.float32))
    flat = labels.flatten(1)[:, None].long()  # a number beyond the range of a small dtype would be wrapped into it
    classes = torch.arange(num_classes, device=labels.device)[:, None]
    member = (flat == classes) & (flat != ignore_index)
    shares = member.to(pixels.dtype)
    if normalize:
        shares = shares * _squares(pixels).clamp(min=TINY * TINY).rsqrt()
    with torch.autocast(pixels.device.type, enabled=False):
        sums = torch.bmm(shares, pixels.transpose(1, 2)).flatten(0, 1)
    return _region_set(sums, member.any(dim=2).flatten(), num_classes)


def region_means_of_rows(
    rows: Float[Tensor, "n d"], regions: Int[Tensor, " n"], *, num_images: int, num_classes: int
) -> PixelSet:
    """Mean embedding of every (image, class) from sampled rows.

    Args:
        rows: Unit vectors.
        regions: `image * num_classes + class` of each row; negative for a row that is not there.
        num_images: Of the batch.
        num_classes: Number of classes.

    Returns:
        As `region_means`.
    """
    num_regions = num_images * num_classes
    present = regions >= 0
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32)).where(present[:, None], 0)
    # one more region takes the rows that are not there
    targets = regions.where(present, num_regions)
    sums = rows.new_zeros(num_regions + 1, rows.shape[1]).index_add(0, targets, rows)[:-1]
    counts = regions.new_zeros(num_regions + 1).index_add(0, targets, present.to(regions.dtype))[:-1]
    return _region_set(sums, counts > 0, num_classes)


def unit_length(embeddings: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b d *grid"]:
    """Divide each pixel's embedding (dimension 1) by its L2 norm, in float32 or better.

    A vector without a direction (norm below 1e-12) becomes zero and has a zero gradient, not one of 1e12. Rows [n d]
    are a map without a grid.
    """
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    squares = (embeddings * embeddings).sum(dim=1, keepdim=True)
    # a root has no gradient at zero, so it is taken of a number that is never zero
    factors = squares.clamp(min=TINY * TINY).rsqrt()
    return embeddings * factors.where(squares > TINY * TINY, 0)


def _squares(pixels: Float[Tensor, "b d p"]) -> Float[Tensor, "b 1 p"]:
    """Squared norm of every pixel, a few channels at a time: neither a second map nor a slow walk across channels."""
    total = torch.zeros_like(pixels[:, :1])
    for start in range(0, pixels.shape[1], 16):
        total = total + pixels[:, start : start + 16].square().sum(dim=1, keepdim=True)
    return total


def _region_set(sums: Tensor, present: Tensor, num_classes: int) -> PixelSet:
    labels = torch.arange(sums.shape[0], device=sums.device) % num_classes
    # pixels that cancel each other have no direction, so their region is not there
    present = present & (sums != 0).any(dim=1)
    return PixelSet(unit_length(sums).where(present[:, None], 0), labels.where(present, -1))
