"""What a page asks for, answered without a page: layers over an image, readings of a pixel, its kin, suspect labels.

One desk serves all users: it keeps no state of theirs, only what was computed, bounded in bytes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.engine.choosing import evenly_spaced
from pixelcontrast.errors import RunError
from pixelcontrast.explore.answers import Elsewhere, Kin, Layer, Pixel, Reading, View
from pixelcontrast.explore.choices import Choice, Picture, read_dropped
from pixelcontrast.explore.crops import TrainingCrops
from pixelcontrast.explore.disagreement import Disagreement, ask_neighbours
from pixelcontrast.explore.keeping import Kept
from pixelcontrast.explore.layers import (
    Heat,
    Range,
    classes_layer,
    errors_layer,
    heat_layer,
    photograph,
    spread,
)
from pixelcontrast.explore.readings import class_shares, probabilities_at
from pixelcontrast.explore.runs import MEMORY_ROWS, ExploredRun, Glimpse, Kind, Look, Part, TrainingIndex
from pixelcontrast.explore.similarity import cell_of, distance_map, nearest_rows, similarity_map
from pixelcontrast.explore.suspects import Suspect, suspects_of

_KEPT_BYTES = 2 << 30
_NEIGHBOURS: dict[Part, int] = {"pixel": 8, "region": 6}
_THUMBNAIL = 320


class Desk:
    """Answers questions about one or two runs.

    Args:
        runs: Loaded runs of the same classes; the first one's data set is looked at.

    Raises:
        RunError: If the classes differ.
    """

    def __init__(self, runs: Sequence[ExploredRun]) -> None:
        self.runs = tuple(runs)
        self.splits = self.runs[0].splits
        self.space: LabelSpace = self.runs[0].label_space
        for run in self.runs[1:]:
            if run.label_space.names != self.space.names:
                raise RunError(
                    f"{run.path} has other classes than {self.runs[0].path}; only runs of the same classes can be "
                    "compared pixel by pixel"
                )
        self._kept = Kept(_KEPT_BYTES, _size_of)
        self._crops = [None if run.index is None else TrainingCrops(run.index, run.splits) for run in self.runs]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The embeddings that at least one run has."""
        return max((run.kinds for run in self.runs), key=len)

    def picture(self, choice: Choice) -> Picture:
        """Read an image.

        Raises:
            DataError: If it cannot be read.
        """

        def read() -> Picture:
            return self.splits.read(choice) if choice.split else read_dropped(Path(choice.name))

        found: Picture = self._kept.get(("picture", choice), read)
        return found

    def look(self, run: int, choice: Choice) -> Look:
        """What a run's network makes of an image."""
        found: Look = self._kept.get(("look", run, choice), lambda: self.runs[run].look(self.picture(choice)))
        return found

    def photo(self, choice: Choice) -> str:
        """The image, as it is looked at."""
        return photograph(self.look(0, choice).picture.pixels)

    def others(self, split: str, *, but: Choice, draw: int, count: int = 6) -> tuple[Choice, ...]:
        """Other images of a split, drawn by a number."""
        names = [name for name in self.splits.images(split) if name != but.name or but.split != split]
        return tuple(Choice(split, name) for name in random.Random(draw).sample(names, min(count, len(names))))

    def layer(self, run: int, choice: Choice, view: View, kind: Kind, pixel: Pixel | None) -> Layer:
        """What lies over the image."""
        look = self.look(run, choice)
        labels, size = look.picture.labels, look.picture.size
        if view == "prediction":
            return Layer(classes_layer(look.prediction, self.space.palette))
        if view in ("label", "errors"):
            if labels is None:
                return Layer(note="This image has no labels.")
            if view == "label":
                return Layer(classes_layer(labels, self.space.palette))
            return Layer(errors_layer(labels, look.prediction, self.space.num_classes))
        if view == "entropy":
            return _heated(look.entropy, Range(0, 1), "magma", size)
        if view == "similarity":
            return self._similarity_layer(look, kind, pixel)
        return self._distance_layer(run, choice, view, kind)

    def legend(self, run: int, choice: Choice, view: View) -> list[tuple[int, float]]:
        """Class ids that a view shows of an image and the share of each, the greatest first; none if it shows none."""
        look = self.look(run, choice)
        shown = {"prediction": look.prediction, "label": look.picture.labels}.get(view)
        if shown is None:
            return []
        shares = class_shares(shown, self.space.num_classes)
        return [(int(i), float(shares[i])) for i in shares.argsort(descending=True, stable=True) if shares[i] > 0]

    def read(self, run: int, choice: Choice, pixel: Pixel) -> Reading:
        """What the network says of one pixel."""
        look = self.look(run, choice)
        label = None if look.picture.labels is None else int(look.picture.labels[pixel])
        return Reading(
            pixel,
            probabilities_at(look.logits, *pixel, size=look.picture.size),
            float(look.entropy[pixel]),
            label if label is not None and label < self.space.num_classes else None,
        )

    def kin(self, run: int, choice: Choice, kind: Kind, pixel: Pixel, part: Part) -> list[Kin] | str:
        """Training pixels or regions most like a pixel, those of its own image left out; or why there are none."""
        explored, crops = self.runs[run], self._crops[run]
        if explored.index is None or crops is None:
            return _no_index(explored)
        vector, rows = self._vector(self.look(run, choice), kind, pixel), explored.index.rows(part, kind)
        if vector is None or rows is None:
            return _NO_PROJECTION
        allowed = torch.ones(len(rows), dtype=torch.bool)
        if choice.split == explored.index.split and choice.name in explored.index.names:
            allowed = explored.index.images(part) != explored.index.names.index(choice.name)
        found = nearest_rows(rows, vector, count=_NEIGHBOURS[part], allowed=allowed)
        pairs = zip(found.index.tolist(), found.similarity.tolist(), strict=True)
        return [_kin(explored.index, crops, part, row, similarity) for row, similarity in pairs]

    def elsewhere(
        self, run: int, choice: Choice, kind: Kind, pixel: Pixel | None, others: Sequence[Choice]
    ) -> list[Elsewhere]:
        """Other images, with what in them is like a pixel of this one, in the colours of this one's heat."""
        vector = None if pixel is None else self._vector(self.look(run, choice), kind, pixel)
        found = []
        scale = None
        for other in others:
            glimpse = self._glimpse(run, other)
            photo, layer, best = photograph(glimpse.picture.pixels, longest=_THUMBNAIL), "", None
            if vector is not None:
                scale = scale or spread(similarity_map(self.look(run, choice).maps[kind], vector))
                heat, size = similarity_map(glimpse.maps[kind], vector), _within(glimpse.picture.size, _THUMBNAIL)
                layer, best = heat_layer(heat, scale, "viridis", size=size), float(heat.max())
            found.append(Elsewhere(other, photo, layer, best))
        return found

    def suspects(self, run: int, kind: Kind) -> list[Suspect] | str:
        """Training regions whose neighbours disagree with their label, the worst first; or why there are none."""
        index = self.runs[run].index
        if index is None:
            return _no_index(self.runs[run])
        rows = index.rows("region", kind)
        if rows is None:
            return _NO_PROJECTION
        labels, images = index.labels("region"), index.images("region")

        def ask() -> Disagreement:
            return ask_neighbours(rows, labels, images, num_classes=self.space.num_classes)

        return suspects_of(index, self._kept.get(("suspects", run, kind), ask))

    def suspect_crop(self, run: int, suspect: Suspect) -> str:
        """The region of a suspect."""
        crops = self._crops[run]
        assert crops is not None
        return crops.region(suspect.row)

    def _vector(self, look: Look, kind: Kind, pixel: Pixel) -> Float[Tensor, " c"] | None:
        features = look.maps.get(kind)
        if features is None:
            return None
        row, column = cell_of(*pixel, size=look.picture.size, grid=features.shape[1:])
        return features[:, row, column]

    def _similarity_layer(self, look: Look, kind: Kind, pixel: Pixel | None) -> Layer:
        if pixel is None:
            return Layer(note="Choose a pixel: click it, or move the cross with the arrow keys and press Enter.")
        vector = self._vector(look, kind, pixel)
        if vector is None:
            return Layer(note=_NO_PROJECTION)
        heat = similarity_map(look.maps[kind], vector)
        return _heated(heat, spread(heat), "viridis", look.picture.size)

    def _distance_layer(self, run: int, choice: Choice, view: View, kind: Kind) -> Layer:
        explored, look = self.runs[run], self.look(run, choice)
        if view == "memory":
            kind, rows = explored.memory_kind, explored.memory
            missing = "No memory: this run was trained without contrast or without memory, or its checkpoints are gone."
        else:
            rows = None if explored.index is None else explored.index.rows("pixel", kind)
            missing = _no_index(explored) if explored.index is None else _NO_PROJECTION
        if rows is None:
            return Layer(note=missing)

        def measure() -> Tensor:
            return distance_map(look.maps[kind], rows[evenly_spaced(len(rows), most=MEMORY_ROWS)])

        heat = self._kept.get(("distance", run, choice, view, kind), measure)
        return _heated(heat, spread(heat), "magma", look.picture.size)

    def _glimpse(self, run: int, choice: Choice) -> Glimpse:
        found: Glimpse = self._kept.get(("glimpse", run, choice), lambda: self.runs[run].glimpse(self.picture(choice)))
        return found


_NO_PROJECTION = "This run has no projection: it was trained without contrast, or its checkpoints are gone."


def _no_index(run: ExploredRun) -> str:
    return f"No index of the training images yet: pixelcontrast embed {run.path} --index"


def _heated(values: Float[Tensor, "h w"], scale: Range, heat: Heat, size: Sequence[int]) -> Layer:
    return Layer(heat_layer(values, scale, heat, size=size), scale=scale, heat=heat)


def _kin(index: TrainingIndex, crops: TrainingCrops, part: Part, row: int, similarity: float) -> Kin:
    stored = index.stored
    image, label = index.names[int(index.images(part)[row])], int(index.labels(part)[row])
    if part == "pixel":
        return Kin(crops.pixel(row), image, label, int(stored.pixel_prediction[row]), None, similarity)
    return Kin(crops.region(row), image, label, None, float(stored.region_agreement[row]), similarity)


def _within(size: Sequence[int], longest: int) -> tuple[int, int]:
    factor = min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _size_of(value: Any) -> int:
    """Bytes of what is kept: looks, glimpses, pictures, maps and lists of suspects."""
    if isinstance(value, Look | Glimpse):
        return value.num_bytes
    if isinstance(value, Picture):
        return value.image.nbytes
    tensors = [value] if isinstance(value, Tensor) else vars(value).values()
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))
