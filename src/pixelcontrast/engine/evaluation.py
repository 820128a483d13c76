"""Evaluation of a segmentor on a whole split: every image once, at its labels' own size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile

import torch
from torch import Tensor

from pixelcontrast.data.loader import EvaluationSample
from pixelcontrast.engine.predictor import evaluating, predict
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.engine.tally import Prediction, Tally
from pixelcontrast.nn.segmentor import Segmentor


def tally_split(
    segmentor: Segmentor,
    samples: Iterable[EvaluationSample],
    tally: Tally,
    options: EvaluationOptions,
    *,
    device: torch.device,
    indices: Iterable[int],
    observe: Callable[[int, EvaluationSample, Prediction, Tensor], None] | None = None,
    go_on: Callable[[], bool] | None = None,
) -> None:
    """Predict every sample of this rank, and add up what all ranks count.

    Args:
        segmentor: The network, on `device`.
        samples: This rank's share of the split.
        tally: Takes the counts.
        options: How an image is predicted.
        device: Where to compute.
        indices: Of the samples, in the split.
        observe: Called with index, sample, prediction, and the image's own pixels right, labelled and predicted [3 k],
            before they are dropped.
        go_on: Asked before each image; once it says no, this rank is through.
    """
    with evaluating(segmentor):
        for index, sample in takewhile(lambda _: go_on is None or go_on(), zip(indices, samples, strict=True)):
            prediction = predict(segmentor, sample.image.to(device), options).of(0)
            own = tally.add(index, sample.labels.to(device), prediction)
            if observe is not None:
                observe(index, sample, prediction, own)
    tally.sum_over_ranks()
