"""Embeddings of a split: pixels to be mapped, and an index of pixels and regions to find neighbours in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from rich.console import Console
from torch import Tensor

from pixelcontrast.engine.crops import COLUMNS, SIDE, as_sheet, crop_around
from pixelcontrast.engine.embedding import Embedder, load_embedder
from pixelcontrast.engine.embedding_files import EmbeddingIndex, PixelEmbeddings
from pixelcontrast.engine.embedding_walk import SeenImage, Walk
from pixelcontrast.engine.pictures import as_pixels
from pixelcontrast.engine.ranks import best_device
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.run_options import RunOptions
from pixelcontrast.engine.scores import Scores
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.confusion import class_accuracy, confusion_counts
from pixelcontrast.ops.hashing import mix
from pixelcontrast.ops.regions import region_means_of_rows, unit_length
from pixelcontrast.ops.sampling import sample_regions

REGION_PIXELS = 256  # a region's mean is taken over at most so many of its pixels


def embed_split(
    run_dir: Path, recipe: RunOptions, split: str, *, pixels: int, seed: int, console: Console
) -> PixelEmbeddings:
    """Embed pixels of a split, equally many of each class as far as it has them.

    Args:
        run_dir: A run folder with weights.
        recipe: Its recipe, by which the data and the projection are found.
        split: Of the data set; it must have labels.
        pixels: Of all classes together, roughly: each has an equal share of them, rounded up.
        seed: Equal seeds take equal pixels of a split, whatever the network.
        console: Where progress is shown.

    Raises:
        UserError: If the run has no weights or the split cannot be read.
    """
    embedder, walk = _begin(run_dir, recipe, split, console)
    chosen, _ = walk.choose(pixels_per_class=_share(pixels, walk), regions_per_class=0, seed=seed)
    read: list[PixelRows] = []
    squares: list[Image.Image] = []
    for seen in walk.images(chosen.image):
        here = chosen.image == seen.index
        row, column = chosen.row[here], chosen.column[here]
        read.append(read_pixels(embedder, seen, row, column))
        squares += crops_of(embedder.segmentor, seen, row, column)
    order = chosen.image.argsort(stable=True)  # in which the walk came to them
    rows = PixelRows(*(_put_back(parts, order) for parts in zip(*read, strict=True)))
    return PixelEmbeddings(
        **_facts(walk, run_dir, seed=seed),
        features=_array(rows.features),
        norms=_array(rows.norms),
        projected=_array(rows.projected) if rows.projected.shape[1] else None,
        image=_array(_renumber(chosen.image)),
        row=_array(chosen.row),
        column=_array(chosen.column),
        label=_array(chosen.label),
        prediction=_array(rows.prediction),
        probability=_array(rows.probability),
        crops=as_sheet([squares[place] for place in order.argsort().tolist()]),
        crop_side=np.asarray(SIDE),
        crop_columns=np.asarray(COLUMNS),
    )


def index_split(
    run_dir: Path, recipe: RunOptions, split: str, *, pixels: int, regions: int, seed: int, console: Console
) -> EmbeddingIndex:
    """Embed pixels and regions of a split, to be searched for neighbours.

    Args:
        run_dir: As `embed_split` takes it.
        recipe: The same.
        split: The same; the training split as a rule.
        pixels: The same.
        regions: Of all classes together, roughly, as the pixels are.
        seed: The same.
        console: The same.

    Raises:
        UserError: If the run has no weights or the split cannot be read.
    """
    embedder, walk = _begin(run_dir, recipe, split, console)
    chosen, areas = walk.choose(
        pixels_per_class=_share(pixels, walk), regions_per_class=_share(regions, walk), seed=seed
    )
    read: list[PixelRows] = []
    means: list[_Regions] = []
    for seen in walk.images(torch.cat([chosen.image, areas.image])):
        here = chosen.image == seen.index
        read.append(read_pixels(embedder, seen, chosen.row[here], chosen.column[here]))
        means.append(_read_regions(embedder, seen, areas.label[areas.image == seen.index], seed=seed))
    order, area_order = (part.image.argsort(stable=True) for part in (chosen, areas))
    rows = PixelRows(*(_put_back(parts, order) for parts in zip(*read, strict=True)))
    found = _Regions(*(_put_back(parts, area_order) for parts in zip(*means, strict=True)))
    images = _renumber(torch.cat([chosen.image, areas.image]))
    return EmbeddingIndex(
        **_facts(walk, run_dir, seed=seed),
        pixel_features=_array(rows.features),
        pixel_projected=_array(rows.projected) if rows.projected.shape[1] else None,
        pixel_image=_array(images[: len(chosen.image)]),
        pixel_row=_array(chosen.row),
        pixel_column=_array(chosen.column),
        pixel_label=_array(chosen.label),
        pixel_prediction=_array(rows.prediction),
        region_features=_array(found.features),
        region_projected=_array(found.projected) if found.projected.shape[1] else None,
        region_image=_array(images[len(chosen.image) :]),
        region_box=_array(areas.box),
        region_size=_array(areas.size),
        region_label=_array(areas.label),
        region_agreement=_array(found.agreement),
    )


class PixelRows(NamedTuple):
    """What is read of one image's pixels, on the CPU; without a projection `projected` has no columns."""

    features: Float[Tensor, "n c"]
    norms: Float[Tensor, " n"]
    projected: Float[Tensor, "n d"]
    prediction: Int[Tensor, " n"]
    probability: Float[Tensor, " n"]


class _Regions(NamedTuple):
    """What is read of one image's regions, on the CPU."""

    features: Float[Tensor, "n c"]
    projected: Float[Tensor, "n d"]
    agreement: Float[Tensor, " n"]


def _begin(run_dir: Path, recipe: RunOptions, split: str, console: Console) -> tuple[Embedder, Walk]:
    device = best_device()
    embedder = load_embedder(run_dir, recipe.contrast, device=device)
    return embedder, Walk(embedder.segmentor, recipe.data, split, device=device, console=console)


def _share(total: int, walk: Walk) -> int:
    """Of each class, rounded up."""
    return -(-total // walk.space.num_classes)


def read_pixels(embedder: Embedder, seen: SeenImage, row: Int[Tensor, " n"], column: Int[Tensor, " n"]) -> PixelRows:
    """What a network makes of pixels of the labels of one image."""
    features = seen.features_at(row, column).float()
    confidence, prediction = seen.logits[:, row, column].softmax(dim=0).max(dim=0)
    norms = torch.linalg.vector_norm(features, dim=1)
    return PixelRows(
        unit_length(features).half().cpu(), norms.cpu(), embedder.project(features).half().cpu(), prediction.cpu(),
        confidence.cpu(),
    )  # fmt: skip


def _read_regions(embedder: Embedder, seen: SeenImage, classes: Int[Tensor, " n"], *, seed: int) -> _Regions:
    """Means of unit vectors over a sample of each region's pixels."""
    num_classes, labels = seen.logits.shape[0], seen.sample.labels
    positions, drawn, _ = sample_regions(
        labels[None], num_classes=num_classes, pixels_per_region=REGION_PIXELS, seed=mix(seed, seen.index)
    )
    positions = positions.clamp(min=0)  # rows that are not there are of no region
    rows = seen.features_at(positions // labels.shape[1], positions % labels.shape[1]).float()
    features, projected = (
        region_means_of_rows(vectors, drawn.to(rows.device), num_images=1, num_classes=num_classes).embeddings
        for vectors in (unit_length(rows), embedder.project(rows))
    )
    agreement = class_accuracy(confusion_counts(labels, seen.logits.argmax(dim=0).cpu(), num_classes))
    return _Regions(features[classes].half().cpu(), projected[classes].half().cpu(), agreement[classes].float())


def crops_of(
    segmentor: Segmentor, seen: SeenImage, row: Int[Tensor, " n"], column: Int[Tensor, " n"], *, side: int = SIDE
) -> list[Image.Image]:
    """The surroundings of pixels of the labels of one image, squares of `side` pixels."""
    image = as_pixels(seen.sample.image, mean=segmentor.mean, std=segmentor.std)[0]
    height, width = seen.sample.labels.shape
    places = zip((row * image.shape[1] // height).tolist(), (column * image.shape[2] // width).tolist(), strict=True)
    return [crop_around(image, row=r, column=c, side=side) for r, c in places]


def _put_back(parts: Sequence[Tensor], order: Int[Tensor, " n"]) -> Tensor:
    """Rows as they were read, brought to the order that they were chosen in."""
    return torch.cat(list(parts))[order.argsort()]


def _renumber(images: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Indices in the split to indices among the images that were visited."""
    return torch.searchsorted(torch.unique(images), images)


def _facts(walk: Walk, run_dir: Path, *, seed: int) -> dict[str, Any]:
    """What both files say of where their rows come from."""
    scores = RunFolder(run_dir).scores
    step = Scores.load(scores).step if scores.exists() else 0
    return {
        "classes": np.asarray(walk.space.names),
        "palette": np.asarray(walk.space.palette, dtype=np.uint8),
        "names": np.asarray([name for _, name, _ in walk.visited]),
        "sizes": np.asarray([size for _, _, size in walk.visited]),
        "split": np.asarray(walk.split),
        "seed": np.asarray(seed),
        "step": np.asarray(step),
    }


def _array(values: Tensor) -> np.ndarray:
    """As numpy, in the smallest type that serves: ids of pixels and images fit 32 bits."""
    return values.to(torch.int32).numpy() if values.dtype == torch.int64 else values.numpy()
