"""The masks of PASCAL-Context in one JSON file, `trainval_merged.json`, as the detail-api reads it.

An image's annotations are painted in the order of the file, each with the number of its category; where they overlap
the last one stays. Masks are run-length encoded as COCO's are (github.com/cocodataset/cocoapi, maskApi.c).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Integer, UInt8
from torch import Tensor

from pixelcontrast.data.label_files import look_up, unknown_values
from pixelcontrast.data.labels import UNKNOWN
from pixelcontrast.errors import DataError, UnreadableFileError

# What is kept of the file while it is parsed: parts, joints and boundaries are most of its 400 MB.
_KEPT = frozenset(
    ("images", "annos_segmentation", "image_id", "file_name", "phase", "height", "width", "category_id")
    + ("segmentation", "counts", "size")
)


@dataclass(frozen=True)
class Annotated:
    """An image of the file: its size, and its annotations as pairs of category and encoded mask."""

    file_name: str
    size: tuple[int, int]
    annotations: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class MergedMasks:
    """Labels out of the JSON file.

    Attributes:
        images: By the name of the sample.
        numbers: Class id, `IGNORE_INDEX` or `UNKNOWN` by number of category; 0 is a pixel without annotation.
    """

    images: dict[str, Annotated]
    numbers: UInt8[Tensor, " m"]

    def read(self, path: Path, name: str) -> Integer[Tensor, "H W"]:
        """Paint the annotations of an image."""
        image = self.images[name]
        height, width = image.size
        flat = np.zeros(width * height, dtype=np.int32)
        for category, counts in image.annotations:
            runs = decode_runs(counts)
            if runs.sum() != flat.size or (runs < 0).any():
                raise UnreadableFileError(
                    f"{path}: expected a mask of {height}x{width} for category {category} of {image.file_name}, got "
                    f"runs of {runs.sum()} pixels; download the file again",
                    str(path),
                )
            inside = np.arange(len(runs)) % 2 == 1  # runs alternate, beginning outside
            flat[np.repeat(inside, runs)] = category
        return torch.from_numpy(flat.reshape(width, height).T.copy())  # masks run down the columns

    def classes_of(self, raw: Integer[Tensor, "H W"], path: Path) -> UInt8[Tensor, "H W"]:
        """Look the categories up."""
        labels = look_up(raw, self.numbers)
        if (labels == UNKNOWN).any():
            advice = f"expected numbers up to {len(self.numbers) - 1}; download the file again"
            raise unknown_values(raw, labels, path=path, called="category", advice=advice)
        return labels


@lru_cache(maxsize=1)
def read_merged(path: Path, changed: float) -> dict[str, dict[str, Annotated]]:
    """Images by phase (train, val) and name without suffix.

    Args:
        path: trainval_merged.json.
        changed: When the file was last changed, so that a new one is read anew.

    Raises:
        DataError: If it is no JSON, or holds something else.
    """
    try:
        with path.open("rb") as file:
            content = json.load(file, object_hook=lambda entry: {k: v for k, v in entry.items() if k in _KEPT})
        annotations: dict[int, list[tuple[int, str]]] = {}
        for entry in content["annos_segmentation"]:
            mask = int(entry["category_id"]), str(entry["segmentation"]["counts"])
            annotations.setdefault(entry["image_id"], []).append(mask)
        phases: dict[str, dict[str, Annotated]] = {}
        for image in content["images"]:
            masks = tuple(annotations.get(image["image_id"], ()))
            annotated = Annotated(image["file_name"], (image["height"], image["width"]), masks)
            phases.setdefault(image["phase"], {})[Path(image["file_name"]).stem] = annotated
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected the JSON of PASCAL-Context's annotations (images and annos_segmentation), got something "
            f"else or a part of it: {error!r}; download it again"
        ) from error
    return phases


def decode_runs(counts: str) -> Int[np.ndarray, " n"]:
    """Lengths of the runs of a mask from COCO's text: 5 bits a character, and from the fourth on differences.

    A text that is cut short gives fewer runs.
    """
    digits = np.frombuffer(counts.encode("latin-1", "replace"), dtype=np.uint8).astype(np.int64) - 48
    last = digits & 0x20 == 0  # of a number
    digits = digits[: 1 + np.flatnonzero(last)[-1]] if last.any() else digits[:0]
    if not len(digits):
        return digits
    last = last[: len(digits)]
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    place = np.arange(len(digits)) - np.repeat(starts, np.diff(np.append(starts, len(digits))))
    numbers = np.add.reduceat((digits & 0x1F) << (5 * place), starts)
    negative = digits[last] & 0x10 != 0
    numbers -= negative.astype(np.int64) << (5 * (place[last] + 1))
    for first in (1, 2):  # each but the first is the difference to the last but one
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
