"""Embeddings on disk: `embeddings.npz`, pixels of a split to be mapped, and `index.npz`, where neighbours are found.

Plain numpy arrays, read without pickle. All embeddings are unit vectors in float16, so that a product is a cosine.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from pixelcontrast.errors import RunError
from pixelcontrast.files import written_whole

Stored = TypeVar("Stored", bound="Arrays")


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What both files hold; every attribute of a subclass is an array of the file, under its name.

    Attributes:
        classes: Names by class id.
        palette: Red, green, blue by class id.
        names: Of the images that rows come from.
        sizes: Height and width of their labels, in pixels.
        split: Which split they are of.
        seed: That the rows were drawn by.
        step: Optimiser steps the network was trained for.
    """

    classes: Shaped[np.ndarray, " k"]
    palette: UInt8[np.ndarray, "k 3"]
    names: Shaped[np.ndarray, " m"]
    sizes: Int[np.ndarray, "m 2"]
    split: Shaped[np.ndarray, ""]
    seed: Int[np.ndarray, ""]
    step: Int[np.ndarray, ""]

    def save(self, path: Path) -> None:
        """Write the file whole.

        Raises:
            RunError: If the disk has no room.
        """
        held = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}
        with written_whole(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **held)

    @classmethod
    def load(cls: type[Stored], path: Path) -> Stored:
        """Read the file.

        Raises:
            RunError: If it is missing, damaged, or of another kind.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                held: dict[str, Any] = {each.name: stored.get(each.name) for each in fields(cls)}
            missing = [each.name for each in fields(cls) if held[each.name] is None and "None" not in str(each.type)]
            if missing:
                raise KeyError(", ".join(missing))
        except Exception as error:  # numpy, zipfile and zlib each raise their own
            raise RunError(
                f"{path}: expected a file that `pixelcontrast embed` wrote, got one that cannot be read as such "
                f"({type(error).__name__}: {error}); write it again"
            ) from error
        return cls(**held)


@dataclass(frozen=True, kw_only=True)
class PixelEmbeddings(Arrays):
    """Pixels of a split under one network, class by class; those of a class in random order.

    Attributes:
        features: At the tapped map, unit length.
        norms: Length that they had.
        projected: By the projection of the run's contrast training, unit length; None where there is none.
        image: Index into `names`.
        row: In the labels.
        column: In the labels.
        label: Class id.
        prediction: Class id that the network gives.
        probability: Of the prediction, 0 to 1.
        crops: Bytes of one JPEG: a square of each pixel's surroundings, the pixel at its centre, row after row.
        crop_side: Pixels of a square in that picture.
        crop_columns: Squares in one of its rows.
    """

    features: Float[np.ndarray, "n c"]
    norms: Float[np.ndarray, " n"]
    projected: Float[np.ndarray, "n d"] | None
    image: Int[np.ndarray, " n"]
    row: Int[np.ndarray, " n"]
    column: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    prediction: Int[np.ndarray, " n"]
    probability: Float[np.ndarray, " n"]
    crops: UInt8[np.ndarray, " bytes"]
    crop_side: Int[np.ndarray, ""]
    crop_columns: Int[np.ndarray, ""]

    def same_pixels(self, other: PixelEmbeddings) -> bool:
        """Whether both are of the same pixels of the same images, in the same order."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("names", "image", "row", "column", "label")
        )

    def prefix(self, per_class: int) -> Bool[np.ndarray, " n"]:
        """Which rows are among the first `per_class` of their class."""
        first = np.searchsorted(self.label, self.label)
        return np.arange(len(self.label)) - first < per_class


@dataclass(frozen=True, kw_only=True)
class EmbeddingIndex(Arrays):
    """Pixels and regions of a training split, among which the neighbours of any pixel are found.

    A region is all pixels of one class in one image; its embedding is the mean over a sample of them, unit length.

    Attributes:
        pixel_features: At the tapped map.
        pixel_projected: By the projection; None where there is none.
        pixel_image: Index into `names`.
        pixel_row: In the labels.
        pixel_column: In the labels.
        pixel_label: Class id.
        pixel_prediction: Class id that the network gives.
        region_features: As those of the pixels.
        region_projected: As those of the pixels.
        region_image: Index into `names`.
        region_box: Top, left, bottom, right in the labels; the last two are exclusive.
        region_size: Number of pixels.
        region_label: Class id.
        region_agreement: Share of the region's pixels that the network gives the region's class.
    """

    pixel_features: Float[np.ndarray, "n c"]
    pixel_projected: Float[np.ndarray, "n d"] | None
    pixel_image: Int[np.ndarray, " n"]
    pixel_row: Int[np.ndarray, " n"]
    pixel_column: Int[np.ndarray, " n"]
    pixel_label: Int[np.ndarray, " n"]
    pixel_prediction: Int[np.ndarray, " n"]
    region_features: Float[np.ndarray, "r c"]
    region_projected: Float[np.ndarray, "r d"] | None
    region_image: Int[np.ndarray, " r"]
    region_box: Int[np.ndarray, "r 4"]
    region_size: Int[np.ndarray, " r"]
    region_label: Int[np.ndarray, " r"]
    region_agreement: Float[np.ndarray, " r"]
