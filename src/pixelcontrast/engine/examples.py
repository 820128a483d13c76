"""Images worth looking at: those a network does worst and best on, and some evenly spaced over the split.

They are chosen while the split is gone through once. What may yet be among the worst or best is held as compressed
files, so that memory is bounded by the number of examples, not by the split.
"""

from __future__ import annotations

import heapq
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace
from pixelcontrast.engine.ranks import gathered

COUNT = 8
_JPEG_QUALITY = 90

Files = dict[str, bytes]  # by what comes after the image's name


@dataclass(frozen=True)
class Choice:
    """Images by name, with their mIoU from 0 to 1; equal on all ranks.

    Attributes:
        worst: The lowest first.
        best: The highest first.
        even: In the order of the split, evenly spaced over it.
    """

    worst: tuple[tuple[str, float], ...]
    best: tuple[tuple[str, float], ...]
    even: tuple[str, ...]


@dataclass(frozen=True, order=True)
class _Candidate:
    """An image on its way into a list; the greatest are chosen, of equals the first of the split."""

    merit: float
    order: int
    name: str = field(compare=False)
    files: Files = field(compare=False)


class ExampleGallery:
    """Takes in the images of this rank one by one, and writes those that all ranks together choose.

    Args:
        num_images: Of the whole split.

    Attributes:
        even: Indices of the images that are evenly spaced over the split.
    """

    def __init__(self, num_images: int) -> None:
        self.even = even_indices(num_images)
        self._worst: list[_Candidate] = []
        self._best: list[_Candidate] = []
        self._spaced: list[_Candidate] = []

    def offer(self, index: int, name: str, score: float | None, encode: Callable[[], Files]) -> None:
        """Keep an image if it may be chosen.

        Args:
            index: In the split.
            name: Of the image.
            score: Its mIoU; None if nothing in it is labelled, so that it cannot be worst or best.
            encode: Makes its files; called only if they are kept.
        """
        files: Files | None = None
        lists = [] if score is None else [(self._worst, -score), (self._best, score)]
        for heap, merit in lists:
            if len(heap) < COUNT or (merit, -index) > (heap[0].merit, heap[0].order):
                files = files or encode()
                heapq.heappush(heap, _Candidate(merit, -index, name, files))
                if len(heap) > COUNT:
                    heapq.heappop(heap)
        if index in self.even:
            self._spaced.append(_Candidate(0.0, -index, name, files or encode()))

    def choose(self, folder: Path | None) -> Choice:
        """Choose over all ranks, and write each of the chosen from the rank that has it into `folder`, if any."""
        worst, best, even = (_over_ranks(held) for held in (self._worst, self._best, self._spaced))
        choice = Choice(
            tuple((name, -merit) for merit, _, name in worst[:COUNT]),
            tuple((name, merit) for merit, _, name in best[:COUNT]),
            tuple(name for _, _, name in even),
        )
        if folder is not None:
            chosen = {order for _, order, _ in (*worst[:COUNT], *best[:COUNT], *even)}
            for candidate in (*self._worst, *self._best, *self._spaced):
                if candidate.order in chosen:
                    _write(folder, candidate)
        return choice


def even_indices(num_images: int) -> frozenset[int]:
    """Up to 8 images, evenly spaced over a split."""
    count = min(COUNT, num_images)
    return frozenset(i * num_images // count for i in range(count))


def encode_example(
    image: UInt8[Tensor, "3 H W"], labels: Int[Tensor, "H W"], predictions: Int[Tensor, "H W"], space: LabelSpace
) -> Files:
    """An image as JPEG; its labels and predictions as PNGs of class ids, drawn in the palette, 255 for no class."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: space.num_classes] = space.palette
    files = {".image.jpg": _jpeg(image)}
    for kind, ids in (("label", labels), ("prediction", predictions)):
        known = (ids >= 0) & (ids < space.num_classes)
        picture = Image.fromarray(np.asarray(ids.where(known, IGNORE_INDEX).byte().cpu()))
        picture.putpalette(colours.tobytes())
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        files[f".{kind}.png"] = buffer.getvalue()
    return files


def place_below(name: str) -> Path:
    """Where an image of this name is written below a folder: folders in the name are kept, but none leads out of it."""
    return Path(*(part for part in PurePosixPath(name).parts if part not in ("/", "..")))


def clear_examples(folder: Path) -> None:
    """Take away the examples of an evaluation that is done again."""
    shutil.rmtree(folder, ignore_errors=True)


def _jpeg(image: UInt8[Tensor, "3 H W"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image.permute(1, 2, 0))).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _over_ranks(held: Sequence[_Candidate]) -> list[tuple[float, int, str]]:
    """Merit, order and name of all ranks' candidates, the greatest first."""
    own = [(candidate.merit, candidate.order, candidate.name) for candidate in held]
    return sorted(gathered(own), reverse=True)


def _write(folder: Path, candidate: _Candidate) -> None:
    place = folder / place_below(candidate.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    for ending, content in candidate.files.items():
        place.with_name(place.name + ending).write_bytes(content)
