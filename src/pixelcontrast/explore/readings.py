"""What logits say of pixels: the probabilities of one, the prediction and the doubt of all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from pixelcontrast.ops.resize import resize_logits


def probabilities_at(
    logits: Float[Tensor, "k h w"], row: int, column: int, *, size: Sequence[int]
) -> Float[Tensor, " k"]:
    """Class probabilities of one pixel of an image of `size`: what `resize_logits` gives there, without the rest.

    Logits are interpolated between the four cells around the pixel's centre, as `align_corners=False` has it.
    """
    (top, bottom, down), (left, right, across) = (
        _between(place, new, old) for place, new, old in zip((row, column), size, logits.shape[1:], strict=True)
    )
    upper = logits[:, top, left] * (1 - across) + logits[:, top, right] * across
    lower = logits[:, bottom, left] * (1 - across) + logits[:, bottom, right] * across
    return (upper * (1 - down) + lower * down).softmax(dim=0)


def prediction_and_entropy(
    logits: Float[Tensor, "k h w"], *, size: Sequence[int]
) -> tuple[Integer[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Most probable class of every pixel, and the entropy of its probabilities as a share of the highest possible.

    The entropy is 0 where the network is sure and 1 where it holds all classes for equally probable; 0 if there is one
    class only. Memory: a few floats for each class and pixel.
    """
    whole = resize_logits(logits[None], size)[0]
    log_probabilities = whole.log_softmax(dim=0)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=0)
    return whole.argmax(dim=0), (entropy / max(math.log(whole.shape[0]), 1e-12)).clamp(0, 1)


def class_shares(ids: Integer[Tensor, "H W"], num_classes: int) -> Float[Tensor, " k"]:
    """Share of the pixels that each class has; pixels without a class are in no share."""
    counts = torch.bincount(ids.flatten().long(), minlength=num_classes)[:num_classes]
    return counts / ids.numel()


def _between(place: int, new: int, old: int) -> tuple[int, int, float]:
    """The two cells of `old` around the centre of pixel `place` of `new`, and its share of the way between them."""
    position = max((place + 0.5) * old / new - 0.5, 0.0)
    first = min(int(position), old - 1)
    return first, min(first + 1, old - 1), position - first
