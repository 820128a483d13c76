"""Scores of a segmentor on a split of a data set, and what people look at beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from rich.console import Console
from torch import Tensor

from pixelcontrast.contrast.ranks import rank, world_size
from pixelcontrast.data import DataSet, LabelSpace
from pixelcontrast.data.loader import EvaluationSample, evaluation_loader
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.engine.evaluation import tally_split
from pixelcontrast.engine.examples import ExampleGallery, Files, clear_examples, encode_example, place_below
from pixelcontrast.engine.pictures import as_pixels, comparison, save_picture
from pixelcontrast.engine.progress import counted
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.engine.ranks import gathered
from pixelcontrast.engine.run_folder import EvaluationFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.stopping import StopSignals
from pixelcontrast.engine.tally import Prediction, Tally
from pixelcontrast.errors import DataError, RunError
from pixelcontrast.files import written_whole
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.confusion import iou_of_margins


def score_split(
    segmentor: Segmentor,
    options: DataSet,
    split: str,
    *,
    device: torch.device,
    step: int,
    protocol: EvaluationOptions,
    folder: EvaluationFolder | None = None,
    console: Console | None = None,
    signals: StopSignals | None = None,
) -> Scores:
    """Evaluate a segmentor on a split, all ranks together.

    Args:
        segmentor: The network, on `device`.
        options: The data section of a recipe.
        split: Which split; it must have labels.
        device: Where to compute.
        step: Optimiser steps the weights were trained for, kept in the scores.
        protocol: How an image is predicted.
        folder: Takes pictures, examples and the counts of each image; the scores are the caller's to save, last.
        console: Shows how far it is; None shows nothing.
        signals: Those of a run that is to stop between two images if it is told to.

    Returns:
        The scores, equal on all ranks.

    Raises:
        DataError: If the split is not there or the data set has other classes than the network.
        Stopped: If a signal came to any rank.
    """
    dataset = options.open(split)
    space = dataset.label_space
    require_same_classes(segmentor, space, options.name)
    require_labelled(dataset, f"{options.name} {split}")
    number, ranks = rank(), world_size()
    if folder is not None and number == 0:
        clear_examples(folder.examples)
    loader = evaluation_loader(dataset, options, rank=number, world_size=ranks, mean=segmentor.mean, std=segmentor.std)
    tally = Tally.zeros(len(dataset), space.num_classes, device)
    onlooker = _Onlooker(segmentor, space, len(dataset), folder)
    indices = range(number, len(dataset), ranks)
    shown = counted(loader, "evaluating", len(loader), console if number == 0 else None)
    go_on = None if signals is None else signals.none_received
    tally_split(segmentor, shown, tally, protocol, device=device, indices=indices, observe=onlooker, go_on=go_on)
    if signals is not None:
        signals.stop_if_agreed()
    names = tuple(name for _, name in sorted(gathered(onlooker.names)))
    examples = onlooker.gallery.choose(folder.examples if folder is not None else None)
    if folder is not None and number == 0:
        save_counts(folder, names, tally.images)
    words = f"{options.name} {split}, {space.num_classes} classes, {protocol.words}"
    return Scores.from_tally(tally, space.names, examples, protocol=words, images=len(names), step=step)


def require_labelled(dataset: SegmentationDataset, data: str) -> None:
    """Refuse a split that nothing could be scored on; as a rule the first image tells that it is none.

    Raises:
        DataError: If all pixels of all images are ignored.
    """
    classes = dataset.label_space.num_classes
    for index in range(len(dataset)):
        labels = dataset.labels(index)
        if labels is None or bool((labels < classes).any()):  # without labels it is refused by the image's name
            return
    raise DataError(
        f"{data}: expected pixels of some class to score on, but all are ignored in all {len(dataset)} images; see what"
        " the labels hold with `pixelcontrast check`"
    )


def require_same_classes(segmentor: Segmentor, space: LabelSpace, data: str) -> None:
    """Refuse a data set whose classes are not those of the network, in number or by name.

    Raises:
        DataError: With the first class that differs.
    """
    if space.num_classes != segmentor.num_classes:
        raise DataError(
            f"the network has {segmentor.num_classes} classes, but {data} has {space.num_classes}; "
            "take the data set it was trained for."
        )
    pairs = zip(segmentor.class_names, space.names, strict=False)  # a network may come without names
    for number, (ours, theirs) in enumerate(pairs):
        if ours != theirs:
            raise DataError(
                f"class {number} of the network is '{ours}', but that of {data} is '{theirs}'; take the data set "
                "it was trained for, or list the classes by the same names in the same order (classes.yaml)."
            )


def save_counts(folder: EvaluationFolder, names: tuple[str, ...], images: Tensor) -> None:
    """Write images.npz: names [n], and pixels [n k] intersection (right), labelled and predicted, of each image."""
    right, labelled, predicted = images.cpu().numpy().swapaxes(0, 1)
    with written_whole(folder.images) as partial, partial.open("wb") as file:
        np.savez_compressed(file, names=np.asarray(names), intersection=right, labelled=labelled, predicted=predicted)


def read_counts(path: Path) -> tuple[tuple[str, ...], Int[Tensor, "n 3 k"]]:
    """Names of the images, and pixels right, labelled and predicted of each by class, as `save_counts` wrote them.

    Raises:
        RunError: If the file is missing or holds something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            counts = np.stack([held[key].astype(np.int64) for key in ("intersection", "labelled", "predicted")], axis=1)
            return tuple(map(str, held["names"])), torch.from_numpy(counts)
    except Exception as error:  # numpy, zipfile and zlib each raise their own
        raise RunError(
            f"{path}: expected the counts by image of an evaluation ({error}); remove it and scores.json beside it, "
            "and the command that wrote them (`train` with --resume, `compare`, `evaluate`) scores again"
        ) from error


class _Onlooker:
    """Sees each image of this rank once: keeps its name, offers it as an example, draws it if it is an even one."""

    def __init__(
        self, segmentor: Segmentor, space: LabelSpace, num_images: int, folder: EvaluationFolder | None
    ) -> None:
        self.names: list[tuple[int, str]] = []
        self.gallery = ExampleGallery(num_images)
        self._segmentor, self._space, self._folder = segmentor, space, folder

    def __call__(self, index: int, sample: EvaluationSample, prediction: Prediction, own: Tensor) -> None:
        """Take in one image, what was predicted, and its pixels right, labelled and predicted [3 k]."""
        self.names.append((index, sample.name))
        score = float(iou_of_margins(own.cpu()).nanmean())  # on the host: not every device has float64

        def pixels() -> Tensor:
            return as_pixels(sample.image, mean=self._segmentor.mean, std=self._segmentor.std)[0]

        def encode() -> Files:
            if self._folder is None:
                return {}
            return encode_example(pixels(), sample.labels, prediction.labels, self._space)

        self.gallery.offer(index, sample.name, None if np.isnan(score) else score, encode)
        if self._folder is not None and index in self.gallery.even:
            sheet = comparison(pixels(), sample.labels, prediction.labels.cpu(), self._space)
            place = self._folder.pictures / place_below(sample.name)
            save_picture(place.with_name(place.name + ".png"), sheet)
