"""What a network says of an image under a protocol: once, or the mean of several looks, whole or in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.engine.tally import Prediction
from pixelcontrast.nn.modes import in_eval_mode
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.resize import resize_images, resize_logits
from pixelcontrast.ops.tiles import merge_tiles, tiles_of


@contextmanager
def evaluating(segmentor: Segmentor) -> Iterator[None]:
    """Eval mode without gradients; afterwards each module is in its own mode again."""
    with in_eval_mode(segmentor), torch.inference_mode():
        yield


@dataclass(frozen=True)
class Strip:
    """What a network says of some rows of images, from the left to the right edge.

    Attributes:
        top: Number of the first row.
        probabilities: Of each class; to be used, or copied, before the next strip is asked for.
        prediction: The most probable class, and its probability.
    """

    top: int
    probabilities: Float[Tensor, "b k rows W"]
    prediction: Prediction


def predict(
    segmentor: Segmentor,
    images: Float[Tensor, "b bands H W"],
    options: EvaluationOptions,
    *,
    observe: Callable[[Strip], None] | None = None,
) -> Prediction:
    """Class and confidence of each pixel of normalised images, on their device; `observe` sees the strips go by."""
    found = []
    for strip in strips_of(segmentor, images, options):
        found.append(strip.prediction)
        if observe is not None:
            observe(strip)
    return Prediction(
        torch.cat([part.labels for part in found], dim=-2).to(images.device),
        torch.cat([part.confidence for part in found], dim=-2).to(images.device),
    )


def strips_of(
    segmentor: Segmentor, images: Float[Tensor, "b bands H W"], options: EvaluationOptions
) -> Iterator[Strip]:
    """What a network says of normalised images, in strips from the top.

    Whole images are one strip, on their device. A single look is decided on its logits; several looks, and windows, on
    the mean of their softmax. Windows are predicted on the images' device one by one and averaged on the host, where
    one row of them is held: b x k x window height x image width, whatever the images' height.
    """
    if not options.averages:
        yield _single_look(segmentor, images)
        return
    if options.window is None:
        yield _strip(0, mean_of_softmax(segmentor, images, options))
        return
    tiles = tiles_of(*images.shape[-2:], size=options.window, overlap=options.overlap)
    parts = ((tile, mean_of_softmax(segmentor, tile.cut(images), options).flatten(0, 1).cpu()) for tile in tiles)
    for top, rows in merge_tiles(parts, width=images.shape[-1]):
        yield _strip(top, rows.view(images.shape[0], -1, *rows.shape[1:]))


def mean_of_softmax(
    segmentor: Segmentor, images: Float[Tensor, "b bands H W"], options: EvaluationOptions
) -> Float[Tensor, "b k H W"]:
    """Mean, over scales and mirroring, of the softmax of the logits brought to the images' size."""
    size = images.shape[-2:]
    total: Tensor | None = None
    for scale in options.scales:
        scaled = resize_images(images, [max(1, round(side * scale)) for side in size])
        for mirrored in (False, True)[: 1 + options.flip]:
            logits = segmentor(scaled.flip(-1) if mirrored else scaled).logits.float()
            found = resize_logits(logits.flip(-1) if mirrored else logits, size).softmax(1)
            total = found if total is None else total.add_(found)
    assert total is not None
    return total.div_(len(options.scales) * (1 + options.flip))


def _single_look(segmentor: Segmentor, images: Float[Tensor, "b bands H W"]) -> Strip:
    logits = resize_logits(segmentor(images).logits.float(), images.shape[-2:])
    labels = logits.max(1).indices  # on logits: two probabilities may round to one
    probabilities = logits.softmax(1)
    return Strip(0, probabilities, Prediction(labels, probabilities.gather(1, labels[:, None])[:, 0]))


def _strip(top: int, probabilities: Float[Tensor, "b k rows W"]) -> Strip:
    confidence, labels = probabilities.max(1)
    return Strip(top, probabilities, Prediction(labels, confidence))
