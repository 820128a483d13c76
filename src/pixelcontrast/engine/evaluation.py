"""Evaluation of a segmentor on a whole split: every image once, at its labels' own size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from pixelcontrast.data.loader import EvaluationSample
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.confusion import confusion_counts
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


def count_confusion(
    segmentor: Segmentor,
    samples: Iterable[EvaluationSample],
    *,
    device: torch.device,
    observe: Callable[[int, EvaluationSample, Tensor], None] | None = None,
) -> tuple[Tensor, int]:
    """Predict every sample of this rank and count pixels by (label, prediction), summed over all ranks.

    Args:
        segmentor: The network, on `device`.
        samples: This rank's share of the split.
        device: Where to compute.
        observe: Called with position in `samples`, sample and predictions [H W], before they are dropped.

    Returns:
        Counts [k k], row = label, and the number of images.
    """
    totals = torch.zeros(segmentor.num_classes**2 + 1, dtype=torch.int64, device=device)
    with evaluating(segmentor):
        for position, sample in enumerate(samples):
            labels = sample.labels.to(device)
            predictions = predict_labels(segmentor, sample.image.to(device), size=labels.shape)
            totals[:-1] += confusion_counts(labels, predictions, segmentor.num_classes).flatten()
            totals[-1] += 1
            if observe is not None:
                observe(position, sample, predictions)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(totals)
    return totals[:-1].view(segmentor.num_classes, segmentor.num_classes), int(totals[-1])


def predict_labels(segmentor: Segmentor, image: Tensor, *, size: torch.Size | tuple[int, int]) -> Tensor:
    """Class ids [H W] of one normalised image [1 3 h w], decided on logits brought to `size`."""
    return resize_logits(segmentor(image).logits.float(), size).argmax(1)[0]
