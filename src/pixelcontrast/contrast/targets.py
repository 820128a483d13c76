"""What contrast needs of labels and logits, from the forms that training loops have them in.

The loss (Wang et al., ICCV 2021, Eq. 3) asks of every pixel which one class it is, and which one is predicted.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.ops.resize import resize_labels


def contrast_classes(num_classes: int, *, multi_label: bool) -> int:
    """How many classes contrast tells apart: background counts as one where the logits are sigmoid's."""
    return num_classes + 1 if multi_label or num_classes == 1 else num_classes


def one_class_a_pixel(
    labels: Tensor, logits: Tensor, *, num_classes: int, multi_label: bool, ignore_index: int
) -> tuple[Int[Tensor, "b *image"], Float[Tensor, "b k *any"]]:
    """Bring labels and logits of any task to one id a pixel, and one logit for each class of contrast.

    - Several classes: labels [b *image] or [b 1 *image], as they are.
    - `num_classes=1`, binary: 0 is background, 1 foreground; the logit is that of foreground against 0.
    - `multi_label`: labels [b k *image] of 0 and 1, logits of k sigmoids. A pixel with exactly one label has class
      1..k, one without any is background, class 0, and one with several, or with an ignored one, is ignored: Eq. 3
      would have to call its pairs positive and negative at once.

    Args:
        labels: Integers or bool; floats of whole numbers where the logits are sigmoid's. At any size.
        logits: [b num_classes *any].
        num_classes: Channels of the logits.
        multi_label: Whether a pixel may have several labels.
        ignore_index: Label of pixels that are never used.

    Raises:
        ValueError: If they have another form, soft labels among them.
    """
    check_form(labels, logits, num_classes=num_classes, multi_label=multi_label)
    if labels.is_floating_point():  # what is not whole is no label; the first call has refused it
        labels = labels.where(labels == labels.round(), ignore_index)
    labels = labels.long()
    if multi_label:
        labels = _single_labels(labels, ignore_index)
    elif labels.ndim == logits.ndim:
        labels = labels.squeeze(1)
    if multi_label or num_classes == 1:
        logits = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
    return labels, logits


def check_form(labels: Tensor, logits: Tensor, *, num_classes: int, multi_label: bool) -> None:
    """Raise ValueError where labels and logits do not have the form that `one_class_a_pixel` takes."""
    check_order(labels, logits)
    if logits.ndim < 3 or logits.shape[1] != num_classes:
        raise ValueError(
            f"logits must be [b, {num_classes}, *grid], got {list(logits.shape)}; attach with num_classes= the number"
            " of their channels (1 for binary tasks with a sigmoid)"
        )
    if not multi_label and num_classes > 1 and labels.ndim == logits.ndim and labels.shape[1] == num_classes:
        raise ValueError(
            f"labels {list(labels.shape)} have an entry for every class: soft or one-hot labels. A pixel needs one"
            " class to be a positive or a negative; pass labels.argmax(1), with confidence=labels.amax(1) and"
            " min_confidence= to leave unsure pixels out, or attach with multi_label=True if classes overlap"
        )
    if not multi_label and num_classes > 1 and labels.is_floating_point():
        raise ValueError(
            f"labels must be class ids, got {labels.dtype}: soft labels have no one class to contrast; pass"
            " labels.long() if they are whole numbers"
        )
    expected = logits.ndim if multi_label else logits.ndim - 1
    single = not multi_label and labels.ndim == logits.ndim and labels.shape[1] == 1
    if not single and (labels.ndim != expected or (multi_label and labels.shape[1] != num_classes)):
        form = f"[b, {num_classes}, *image]" if multi_label else "[b, *image]"
        raise ValueError(
            f"labels must be {form} with the spatial dimensions of the logits {list(logits.shape)}, got"
            f" {list(labels.shape)}"
        )


def check_order(labels: Tensor, logits: Tensor) -> None:
    """Raise ValueError where labels and logits were given in each other's place, as torch's losses take them."""
    if labels.is_floating_point() and not logits.is_floating_point():
        raise ValueError(
            f"labels come before logits, got labels of {labels.dtype} {list(labels.shape)} and logits of"
            f" {logits.dtype} {list(logits.shape)}; swap them"
        )


def check_sigmoid_labels(labels: Tensor, *, ignore_index: int) -> None:
    """Raise ValueError if labels of a sigmoid's task are anything but 0, 1 and `ignore_index`; waits for the device."""
    ids = torch.unique(labels.double()).tolist()
    stray = [value for value in ids if value not in (0, 1, ignore_index)]
    if any(value != round(value) for value in stray):
        raise ValueError(
            f"labels must be 0, 1 or ignore_index={ignore_index}, got {stray[0]:g}: soft labels have no one class to"
            " contrast; pass (labels > 0.5), with confidence= and min_confidence= to leave unsure pixels out"
        )
    if stray:
        raise ValueError(
            f"labels must be 0, 1 or ignore_index={ignore_index}, got {stray[0]:g}; map them, as in (labels > 0), or"
            " pass the right ignore_index"
        )
    warn_of_lost_foreground(ids, ignore_index=ignore_index, stacklevel=5)


def warn_of_lost_foreground(ids: Collection[float], *, ignore_index: int, stacklevel: int) -> None:
    """Warn where the ids of a batch of masks look as if foreground were written with the number that is ignored."""
    if ignore_index in ids and 1 not in ids and 0 in ids:
        warnings.warn(
            f"the labels of this batch hold 0 and ignore_index={ignore_index}, but no 1; if {ignore_index} means"
            " foreground in your masks, pass (labels > 0) and another ignore_index",
            stacklevel=stacklevel,
        )


def confident(
    labels: Int[Tensor, "b *image"], confidence: Tensor | None, min_confidence: float | None, *, ignore_index: int
) -> Int[Tensor, "b *image"]:
    """Ignore pixels whose confidence is below `min_confidence`, or not a number; none if neither is given."""
    if confidence is None:
        if min_confidence is None:
            return labels
        raise ValueError(f"min_confidence={min_confidence} needs confidence=, that of each label, got None; pass both")
    if min_confidence is None:
        raise ValueError(
            "confidence= needs min_confidence=, below which pixels are ignored, got None; pass it, e.g. 0.9"
        )
    if confidence.ndim == labels.ndim + 1 and confidence.shape[1] == 1:
        confidence = confidence.squeeze(1)
    if confidence.shape != labels.shape:
        raise ValueError(
            f"confidence must have the shape of the labels, {list(labels.shape)}, got {list(confidence.shape)}"
        )
    return labels.where(confidence >= min_confidence, ignore_index)


def cell_labels(
    labels: Int[Tensor, "b *image"], grid: tuple[int, ...], *, num_classes: int, ignore_index: int, sparse: bool
) -> Int[Tensor, "b *grid"]:
    """Bring labels to the features' grid: the id at each cell's centre, or where `sparse`, of its labelled pixels.

    A cell with labelled pixels of two classes is then ignored. So no scribble or point falls between the centres.
    """
    if not sparse or tuple(labels.shape[1:]) == grid:
        return resize_labels(labels, grid)
    known = (labels >= 0) & (labels < num_classes) & (labels != ignore_index)
    pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[len(grid) - 1]
    highest, reversed_lowest = (
        pool(ids.where(known, 0).to(torch.float32)[:, None], grid)[:, 0].long()
        for ids in (labels + 1, num_classes - labels)
    )
    return (highest - 1).where((highest > 0) & (highest + reversed_lowest == num_classes + 1), ignore_index)


def _single_labels(labels: Int[Tensor, "b k *image"], ignore_index: int) -> Int[Tensor, "b *image"]:
    active = labels == 1
    ids = torch.arange(1, labels.shape[1] + 1, device=labels.device).reshape(-1, *[1] * (labels.ndim - 2))
    usable = (active.sum(dim=1) <= 1) & (labels != ignore_index).all(dim=1)
    return (active * ids).sum(dim=1).where(usable, ignore_index)
