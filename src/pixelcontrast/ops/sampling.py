"""Anchor sampling: which pixels are contrasted (Wang et al., ICCV 2021, section 3.3), with a static number of rows.

Everything is a sort by (group, random) and arithmetic on counts, so that the number of operators does not depend on
images or classes and nothing waits for the device.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

from pixelcontrast.ops.hashing import RANDOM_BITS, hash_rows, stream_keys

AnchorGroups = Literal["class", "image_class"]


def sample_anchors(
    labels: Integer[Tensor, "b *grid"],
    predictions: Integer[Tensor, "b *grid"],
    *,
    num_classes: int,
    anchors_per_class: int = 50,
    hard_anchor_ratio: float = 0.5,
    group: AnchorGroups = "class",
    max_anchors: int = 1024,
    ignore_index: int = 255,
    seed: int | Int[Tensor, ""] = 0,
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Draw the pixels that the loss pulls and pushes, equally many of each class, half of them predicted wrongly.

    Each group of pixels gets a quota of `min(anchors_per_class, max(1, max_anchors // groups present))`; where more
    groups are present than there is room, a random choice of them gets one anchor each. Within its quota a group gives
    up to `round(hard_anchor_ratio * quota)` hard pixels (prediction differs from label) at random; the rest are drawn
    at random from all its remaining pixels, hard or not, so that either kind fills in for the other. A group with fewer
    pixels than its quota gives all of them: no class is left out for being small.

    Args:
        labels: Class ids on the embedding grid; `ignore_index` and ids outside 0..num_classes-1 are never drawn.
        predictions: Class ids the network gives now.
        num_classes: Number of classes.
        anchors_per_class: Most anchors of one group.
        hard_anchor_ratio: Share of the quota kept for hard pixels, 0 to 1.
        group: Pixels of a class in the batch (the paper), or in one image (the authors' released code).
        max_anchors: Most anchors in all.
        ignore_index: Label of pixels without a class.
        seed: Equal seeds draw equal pixels.

    Returns:
        Positions as indices into the flattened batch and grid, and their labels; both -1 where there is no anchor. The
        length is `min(anchors_per_class * number of groups, max_anchors)` whatever the labels hold.

    Raises:
        ValueError: If shapes differ, or an option is out of its range.

    Cost: two sorts of the pixels.
    """
    _check(labels, predictions, anchors_per_class, hard_anchor_ratio, max_anchors)
    num_groups = num_classes * (labels.shape[0] if group == "image_class" else 1)
    groups, valid = pixel_groups(labels, num_classes=num_classes, ignore_index=ignore_index, per_image=group != "class")
    easy = (predictions == labels).flatten()
    room = min(anchors_per_class * num_groups, max_anchors)
    hard_key, fill_key, group_key = stream_keys(seed, 3, labels.device)

    order, bounds = grouped_order(2 * groups + easy, valid, hard_key, num_groups=2 * num_groups)
    counts = bounds[2::2] - bounds[:-1:2]
    quotas = group_quotas(counts, anchors_per_class, room, group_key)
    num_hard = torch.minimum((hard_anchor_ratio * quotas).round().long(), bounds[1::2] - bounds[:-1:2])

    # within a group the hard ones come first, so a rank below num_hard is a hard pixel that is taken
    in_order = groups[order]
    rank = torch.arange(order.shape[0], device=order.device) - bounds[:-1:2][in_order]
    taken = rank < num_hard[in_order]
    second, bounds = grouped_order(2 * in_order + ~taken, valid[order], fill_key, num_groups=2 * num_groups, rows=order)
    group_ids, ranks = enumerate_quotas(torch.minimum(quotas, counts), room)
    rows = order[second[(bounds[:-1:2][group_ids] + ranks).clamp(max=order.shape[0] - 1)]]
    return rows.where(ranks >= 0, -1), (group_ids % num_classes).where(ranks >= 0, -1)


def sample_regions(
    labels: Integer[Tensor, "b *grid"],
    *,
    num_classes: int,
    pixels_per_region: int,
    max_pixels: int | None = None,
    ignore_index: int = 255,
    seed: int | Int[Tensor, ""] = 0,
    first_row: int = 0,
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Draw random pixels of every region, a region being all pixels of one class in one image.

    Args:
        labels: Class ids; `ignore_index` and ids outside 0..num_classes-1 are never drawn.
        num_classes: Number of classes.
        pixels_per_region: Most pixels of one region.
        max_pixels: Most pixels in all; the quota of a region follows the rule of `sample_anchors`. None: no limit.
        ignore_index: Label of pixels without a class.
        seed: Equal seeds draw equal pixels.
        first_row: Number of the first pixel in the randomness: a rank that holds images 8..15 of a batch passes the
            number of pixels in images 0..7 and draws what one process would have drawn (without `max_pixels`, which
            each rank divides between its own regions).

    Returns:
        Positions in the flattened batch and grid, labels, and ranks of the draw within the region (0 is the first),
        ordered by image, then class, then rank; -1 where there is none. Their length is the smaller of
        `b * num_classes * pixels_per_region`, the number of pixels and `max_pixels`.

    Cost: one sort of the pixels.
    """
    num_groups = num_classes * labels.shape[0]
    groups, valid = pixel_groups(labels, num_classes=num_classes, ignore_index=ignore_index, per_image=True)
    most = num_groups * pixels_per_region if max_pixels is None else max_pixels
    room = min(num_groups * pixels_per_region, labels.numel(), most)
    key, group_key = stream_keys(seed, 2, labels.device)
    rows = torch.arange(labels.numel(), device=labels.device) + first_row
    order, bounds = grouped_order(groups, valid, key, num_groups=num_groups, rows=rows)
    counts = bounds[1:] - bounds[:-1]
    quotas = group_quotas(counts, pixels_per_region, most, group_key)
    group_ids, ranks = enumerate_quotas(torch.minimum(quotas, counts), room)
    positions = order[(bounds[:-1][group_ids] + ranks).clamp(max=order.shape[0] - 1)]
    return positions.where(ranks >= 0, -1), (group_ids % num_classes).where(ranks >= 0, -1), ranks


def pixel_groups(
    labels: Integer[Tensor, "b *grid"], *, num_classes: int, ignore_index: int, per_image: bool
) -> tuple[Int[Tensor, " p"], Bool[Tensor, " p"]]:
    """Number of each pixel's group (class, or image and class; 0 where it has none), and which pixels have one."""
    flat = labels.flatten(1).long()
    valid = (flat >= 0) & (flat < num_classes) & (flat != ignore_index)
    groups = flat.where(valid, 0)
    if per_image:
        groups = groups + num_classes * torch.arange(labels.shape[0], device=labels.device)[:, None]
    return groups.flatten(), valid.flatten()


def grouped_order(
    groups: Int[Tensor, " p"],
    valid: Bool[Tensor, " p"],
    key: int | Int[Tensor, ""],
    *,
    num_groups: int,
    rows: Int[Tensor, " p"] | None = None,
) -> tuple[Int[Tensor, " p"], Int[Tensor, " g"]]:
    """Order pixels by group, at random within each; invalid ones come last.

    Returns:
        The order, and where each group begins in it; one more bound ends the last group.
    """
    if rows is None:
        rows = torch.arange(groups.shape[0], device=groups.device)
    composite = (groups.where(valid, num_groups) << RANDOM_BITS) | hash_rows(key, rows)
    values, order = composite.sort()
    return order, torch.searchsorted(values, torch.arange(num_groups + 1, device=groups.device) << RANDOM_BITS)


def group_quotas(counts: Int[Tensor, " g"], most: int, room: int, key: int | Int[Tensor, ""]) -> Int[Tensor, " g"]:
    """Rows that each group may give: an equal share of the room, at least one, for as many groups as have room."""
    present = counts > 0
    lot = hash_rows(key, torch.arange(counts.shape[0], device=counts.device))
    place = lot.where(present, 1 << RANDOM_BITS).argsort().argsort()
    share = (room // present.sum().clamp(min=1)).clamp(1, most)
    return share.where(present & (place < room), 0)


def enumerate_quotas(quotas: Int[Tensor, " g"], room: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Write out (group, rank within it) for every row of every quota, group by group; (0, -1) in what room is left."""
    ends = quotas.cumsum(0)
    rows = torch.arange(room, device=quotas.device)
    used = rows < ends[-1]
    groups = torch.searchsorted(ends, rows, right=True).where(used, 0)
    return groups, (rows - (ends - quotas)[groups]).where(used, -1)


def _check(labels: Tensor, predictions: Tensor, anchors_per_class: int, ratio: float, max_anchors: int) -> None:
    if labels.shape != predictions.shape:
        raise ValueError(
            f"labels and predictions must have one shape, got {list(labels.shape)} and {list(predictions.shape)};"
            " resize both to the embedding grid"
        )
    if anchors_per_class < 1 or max_anchors < 1:
        raise ValueError(
            f"anchors_per_class and max_anchors must be positive, got {anchors_per_class} and {max_anchors}"
        )
    if not 0 <= ratio <= 1:
        raise ValueError(f"hard_anchor_ratio must lie in 0..1, got {ratio}")
