"""A run that is explored: its network, what it makes of an image, its memory, and its index of training pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from pixelcontrast.data.label_tables import spread_colors
from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.data.transforms import normalize
from pixelcontrast.engine.embedding import Embedder, load_embedder, load_memory
from pixelcontrast.engine.embedding_files import EmbeddingIndex
from pixelcontrast.engine.predictor import evaluating
from pixelcontrast.engine.ranks import best_device
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.run_options import RunOptions
from pixelcontrast.errors import DataError, RunError
from pixelcontrast.explore.choices import Picture, Splits, pixels_for
from pixelcontrast.explore.readings import prediction_and_entropy
from pixelcontrast.explore.similarity import thin_map
from pixelcontrast.ops.regions import unit_length

Kind = Literal["features", "projected"]
Part = Literal["pixel", "region"]

MEMORY_ROWS = 8192  # so many are compared with every cell of a map
GLIMPSE_CELLS = 1 << 14


@dataclass(frozen=True)
class Look:
    """What a network makes of a picture, on the CPU.

    Attributes:
        picture: As the network saw it.
        logits: At the head's stride.
        prediction: Class ids.
        entropy: Of the probabilities, 0 to 1.
        maps: Unit vectors at the tapped map, by kind.
    """

    picture: Picture
    logits: Float[Tensor, "k h w"]
    prediction: Integer[Tensor, "H W"]
    entropy: Float[Tensor, "H W"]
    maps: Mapping[Kind, Float[Tensor, "_ _ _"]]

    @property
    def num_bytes(self) -> int:
        """Of all that is kept."""
        held = [self.picture.image, self.logits, self.prediction, self.entropy, *self.maps.values()]
        return sum(values.nbytes for values in held)


@dataclass(frozen=True)
class Glimpse:
    """A picture of which only the embeddings are kept, on a coarser grid if need be.

    Attributes:
        picture: As the network saw it.
        maps: Unit vectors, by kind.
    """

    picture: Picture
    maps: Mapping[Kind, Float[Tensor, "_ _ _"]]

    @property
    def num_bytes(self) -> int:
        """Of all that is kept."""
        return self.picture.image.nbytes + sum(values.nbytes for values in self.maps.values())


class ExploredRun:
    """A run folder, loaded.

    Args:
        path: The folder.
        recipe: Its recipe.

    Attributes:
        title: What it is called on the page: the last two parts of its path.
        label_space: Its classes.
        splits: Its data.
        memory: Filled rows of its contrast's memory, in float32; None without.
        memory_kind: Which embeddings they are.
        index: Pixels and regions of its training split; None if it was not made.

    Raises:
        UserError: If the run has no weights, or an index of another network.
    """

    def __init__(self, path: Path, recipe: RunOptions) -> None:
        self.path, self.recipe = path, recipe
        self.title = "/".join(path.resolve().parts[-2:])
        self.device = best_device()
        self.embedder: Embedder = load_embedder(path, recipe.contrast, device=self.device)
        segmentor = self.embedder.segmentor
        names = segmentor.class_names or tuple(f"class {i}" for i in range(segmentor.num_classes))
        self.label_space = LabelSpace(names, segmentor.palette or spread_colors(segmentor.num_classes))
        self.splits = Splits(recipe.data)
        memory = load_memory(path, most=MEMORY_ROWS)
        self.memory: Float[Tensor, "m d"] | None = None if memory is None else unit_length(memory.embeddings)
        self.memory_kind: Kind = "features" if self.embedder.projection is None else "projected"
        index = RunFolder(path).index
        self.index = TrainingIndex(EmbeddingIndex.load(index)) if index.is_file() else None
        self._require_own_index(index)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The embeddings it has."""
        return ("features",) if self.embedder.projection is None else ("features", "projected")

    def look(self, picture: Picture) -> Look:
        """Run the network on a picture; not to be called from two threads at once.

        Raises:
            DataError: If the network is made for images of other bands.
        """
        segmentor = self.embedder.segmentor
        if len(picture.image) != len(segmentor.mean):
            raise DataError(
                f"{picture.title} has {len(picture.image)} bands, but the network takes {len(segmentor.mean)}; choose "
                "an image of its own data set"
            )
        picture = picture.fitted(pixels_for(segmentor.num_classes))
        image = normalize(picture.image, mean=segmentor.mean, std=segmentor.std)[None].to(self.device)
        with evaluating(segmentor):
            output = segmentor(image)
            maps = {"features": unit_length(output.features)}
            if self.embedder.projection is not None:
                maps["projected"] = self.embedder.project(output.features)
            prediction, entropy = prediction_and_entropy(output.logits[0].float(), size=picture.size)
        kept: dict[Kind, Tensor] = {kind: maps[kind][0].float().cpu().contiguous() for kind in self.kinds}
        return Look(picture, output.logits[0].float().cpu(), prediction.to(torch.uint8).cpu(), entropy.cpu(), kept)

    def glimpse(self, picture: Picture) -> Glimpse:
        """Run the network on a picture for its embeddings alone; not to be called from two threads at once."""
        look = self.look(picture)
        thin: dict[Kind, Tensor] = {kind: thin_map(look.maps[kind], most=GLIMPSE_CELLS) for kind in self.kinds}
        return Glimpse(look.picture, thin)

    def _require_own_index(self, path: Path) -> None:
        if self.index is None:
            return
        stored, segmentor = self.index.stored, self.embedder.segmentor
        if stored.pixel_features.shape[1] != segmentor.feature_channels:
            raise RunError(
                f"{path} holds features of {stored.pixel_features.shape[1]} channels, but the network has "
                f"{segmentor.feature_channels}: it is of another run; write it again: pixelcontrast embed {self.path} "
                "--index"
            )


class TrainingIndex:
    """The index of a run, ready to be searched.

    Args:
        stored: As `pixelcontrast embed --index` wrote it.
    """

    def __init__(self, stored: EmbeddingIndex) -> None:
        self.stored = stored
        self.split = str(stored.split)
        self.names = [str(name) for name in stored.names]
        self._rows: dict[tuple[Part, Kind], Tensor] = {}
        for part in ("pixel", "region"):
            for kind in ("features", "projected"):
                values = getattr(stored, f"{part}_{kind}")
                if values is not None:  # stored in float16; products are taken in float32
                    self._rows[part, kind] = torch.from_numpy(values).float()

    def rows(self, part: Part, kind: Kind) -> Float[Tensor, "n _"] | None:
        """Unit vectors; None if the run has none of this kind."""
        return self._rows.get((part, kind))

    def images(self, part: Part) -> Int[Tensor, " n"]:
        """Which of `names` each row is of."""
        return torch.from_numpy(self.stored.pixel_image if part == "pixel" else self.stored.region_image).long()

    def labels(self, part: Part) -> Int[Tensor, " n"]:
        """Class id of each row."""
        return torch.from_numpy(self.stored.pixel_label if part == "pixel" else self.stored.region_label).long()
