"""What a call of the criterion may be given, and what is said of anything else."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Integer
from torch import Tensor

from pixelcontrast.contrast.targets import check_order, warn_of_lost_foreground


def check_shapes(features: Tensor, labels: Tensor, logits: Tensor, *, in_channels: int, num_classes: int) -> None:
    """Raise ValueError where shapes or types do not fit each other and the criterion."""
    for name, value in (("features", features), ("labels", labels), ("logits", logits)):
        check_tensor(name, value)
    check_order(labels, logits)
    _check_integers(labels)
    if not 3 <= features.ndim <= 5:
        raise ValueError(
            f"features must be [b c *grid] with one to three spatial dimensions, got {list(features.shape)}"
        )
    if features.shape[1] != in_channels:
        raise ValueError(
            f"features must be [b, {in_channels}, *grid], got {list(features.shape)}; pass in_channels to match"
        )
    if logits.shape[1] != num_classes:
        raise ValueError(
            f"logits must have {num_classes} classes in dimension 1, got {list(logits.shape)};"
            " pass num_classes to match"
        )
    if not (features.ndim - 1 == labels.ndim == logits.ndim - 1) or not (
        features.shape[0] == labels.shape[0] == logits.shape[0]
    ):
        raise ValueError(
            "features [b c *grid], labels [b *image] and logits [b k *any] must agree in batch and in number of"
            f" spatial dimensions, got {list(features.shape)}, {list(labels.shape)} and {list(logits.shape)}"
        )


def check_tensor(name: str, value: object) -> None:
    """Raise ValueError unless it is a tensor that holds a batch of something."""
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} must be a tensor, got {type(value).__name__}; take it out of what holds it, as in"
            ' outputs.logits or outputs["out"]'
        )
    if not value.ndim or not value.numel():
        raise ValueError(
            f"{name} must hold a batch of at least one pixel, got {list(value.shape)}; leave this call out"
        )


def check_map_of_embeddings(embeddings: Tensor, labels: Tensor, embedding_dim: int) -> None:
    """Raise ValueError unless embeddings are a map of that length, and labels ids with as many dimensions."""
    for name, value in (("embeddings", embeddings), ("labels", labels)):
        check_tensor(name, value)
    _check_integers(labels)
    if not 3 <= embeddings.ndim <= 5 or embeddings.shape[1] != embedding_dim:
        raise ValueError(f"embeddings must be [b, {embedding_dim}, *grid], got {list(embeddings.shape)}")
    if labels.ndim != embeddings.ndim - 1 or labels.shape[0] != embeddings.shape[0]:
        raise ValueError(
            "embeddings [b d *grid] and labels [b *image] must agree in batch and in number of spatial dimensions, got"
            f" {list(embeddings.shape)} and {list(labels.shape)}"
        )


def _check_integers(labels: Tensor) -> None:
    if labels.is_floating_point():
        raise ValueError(f"labels must be class ids, got {labels.dtype}; pass labels.long() if they are whole numbers")


def check_label_range(labels: Integer[Tensor, "b *image"], num_classes: int, *, ignore_index: int = 255) -> None:
    """Raise ValueError if labels hold ids that are neither a class nor `ignore_index`; waits for the device."""
    labels = labels.long()  # a number beyond the range of a small dtype would be wrapped into it
    stray = labels[((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)]
    ids = sorted(set(stray.tolist()))
    if ids:
        binary = ", or num_classes=2 and logits of two channels, torch.cat([torch.zeros_like(z), z], 1)"
        found = ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
        raise ValueError(
            f"labels must be 0..{num_classes - 1} or ignore_index={ignore_index}, got the ids {found};"
            " map them to classes or to ignore_index, or pass the right num_classes or ignore_index"
            f"{binary if num_classes == 1 else ''}"
        )
    if num_classes == 2:
        warn_of_lost_foreground(torch.unique(labels).tolist(), ignore_index=ignore_index, stacklevel=4)


def warn_of_ignored_class(num_classes: int, *, ignore_index: int, stacklevel: int) -> None:
    """Warn where 255, the default for ignored pixels, is the id of a class."""
    if ignore_index == 255 < num_classes:
        warnings.warn(
            f"of {num_classes} classes, class 255 is never used, for ignore_index is 255; if 255 is a class's id, pass"
            " another ignore_index, such as -1",
            stacklevel=stacklevel,
        )


def check_sizes(in_channels: int, num_classes: int) -> None:
    """Raise ValueError unless both are positive."""
    if in_channels < 1 or num_classes < 1:
        raise ValueError(f"in_channels and num_classes must be positive, got {in_channels} and {num_classes}")
