"""Evaluation of a segmentor on a whole split: every image once, at its labels' own size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pixelcontrast.data.loader import EvaluationSample
from pixelcontrast.engine.tally import Prediction, Tally
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.resize import resize_logits

WHOLE_IMAGE = "single scale, whole image, labels at original size"


@contextmanager
def evaluating(segmentor: Segmentor) -> Iterator[None]:
    """Eval mode without gradients; the mode that was comes back afterwards."""
    was_training = segmentor.training
    segmentor.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        segmentor.train(was_training)


def tally_split(
    segmentor: Segmentor,
    samples: Iterable[EvaluationSample],
    tally: Tally,
    *,
    device: torch.device,
    indices: Iterable[int],
    observe: Callable[[int, EvaluationSample, Prediction, Tensor], None] | None = None,
) -> None:
    """Predict every sample of this rank, and add up what all ranks count.

    Args:
        segmentor: The network, on `device`.
        samples: This rank's share of the split.
        tally: Takes the counts.
        device: Where to compute.
        indices: Of the samples, in the split.
        observe: Called with index, sample, prediction, and the image's own pixels right, labelled and predicted [3 k],
            before they are dropped.
    """
    with evaluating(segmentor):
        for index, sample in zip(indices, samples, strict=True):
            labels = sample.labels.to(device)
            prediction = predict(segmentor, sample.image.to(device), size=labels.shape)
            own = tally.add(index, labels, prediction)
            if observe is not None:
                observe(index, sample, prediction, own)
    tally.sum_over_ranks()


def predict(segmentor: Segmentor, image: Tensor, *, size: torch.Size | tuple[int, int]) -> Prediction:
    """Class and confidence of each pixel of one normalised image [1 3 h w], decided on logits brought to `size`."""
    logits = resize_logits(segmentor(image).logits.float(), size)[0]
    highest, labels = logits.max(0)
    return Prediction(labels, (highest - logits.logsumexp(0)).exp())
