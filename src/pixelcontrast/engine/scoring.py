"""Scores and pictures of one split of a data set."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from pixelcontrast.data import DataSet
from pixelcontrast.data.loader import EvaluationSample, evaluation_loader
from pixelcontrast.engine.evaluation import WHOLE_IMAGE, count_confusion
from pixelcontrast.engine.pictures import as_pixels, comparison, save_picture
from pixelcontrast.engine.scores import Scores
from pixelcontrast.errors import DataError
from pixelcontrast.nn.segmentor import Segmentor

_PICTURES = 8


def score_split(
    segmentor: Segmentor,
    options: DataSet,
    split: str,
    *,
    device: torch.device,
    step: int,
    pictures: Path | None = None,
) -> Scores:
    """Evaluate a segmentor on a split, all ranks together.

    Args:
        segmentor: The network, on `device`.
        options: The data section of a recipe.
        split: Which split; it must have labels.
        device: Where to compute.
        step: Optimiser steps the weights were trained for, kept in the scores.
        pictures: Folder for some eight pictures, evenly spaced over the split.

    Returns:
        The scores, equal on all ranks.

    Raises:
        DataError: If the split is not there or the data set has other classes than the network.
    """
    dataset = options.open(split)
    names = dataset.label_space.names
    if len(names) != segmentor.num_classes:
        raise DataError(
            f"the network has {segmentor.num_classes} classes, but {options.name} has {len(names)}; "
            "evaluate on the data set it was trained for."
        )
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
    loader = evaluation_loader(dataset, options, rank=rank, world_size=ranks, mean=segmentor.mean, std=segmentor.std)
    every = max(len(dataset) // _PICTURES, 1)

    def draw(position: int, sample: EvaluationSample, predictions: Tensor) -> None:
        if pictures is not None and (rank + position * ranks) % every == 0:
            image = as_pixels(sample.image, mean=segmentor.mean, std=segmentor.std)[0]
            sheet = comparison(image, sample.labels, predictions.cpu(), dataset.label_space)
            save_picture(pictures / f"{sample.name}.png", sheet)

    counts, images = count_confusion(segmentor, loader, device=device, observe=draw)
    protocol = f"{options.name} {split}, {len(names)} classes, {WHOLE_IMAGE}"
    return Scores.from_counts(counts, names, protocol=protocol, images=images, step=step)
