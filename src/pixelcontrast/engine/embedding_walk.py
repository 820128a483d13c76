"""A walk through the images of a split that hold something chosen, with what a network makes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import track
from torch import Tensor

from pixelcontrast.data import DataSet
from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.data.loader import EvaluationSample, evaluation_loader
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.engine.choosing import ChosenPixels, ChosenRegions, choose
from pixelcontrast.engine.predictor import evaluating
from pixelcontrast.engine.scoring import require_same_classes
from pixelcontrast.errors import DataError
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.resize import nearest_exact, resize_logits
from pixelcontrast.types import Sample


@dataclass(frozen=True)
class SeenImage:
    """What a network makes of one image.

    Attributes:
        index: In the split.
        sample: The image, normalised, and its labels.
        logits: At the labels' size.
        features: The tapped map.
    """

    index: int
    sample: EvaluationSample
    logits: Float[Tensor, "k H0 W0"]
    features: Float[Tensor, "1 c h w"]

    def features_at(self, row: Int[Tensor, " n"], column: Int[Tensor, " n"]) -> Float[Tensor, "n c"]:
        """Features of pixels of the labels: of the cell of the map's grid that a pixel's centre lies in."""
        height, width = self.features.shape[2:]
        rows = nearest_exact(height, self.logits.shape[1])[row]
        columns = nearest_exact(width, self.logits.shape[2])[column]
        return self.features[0][:, rows, columns].T


class Walk:
    """The images of one split under one network.

    Args:
        segmentor: The network, on `device`.
        options: The data section of the recipe.
        split: Which split.
        device: Where to compute.
        console: Where progress is shown.

    Attributes:
        visited: Index in the split, name, and height and width of the labels of the images seen so far.

    Raises:
        DataError: If the split is not there or has other classes than the network.
    """

    def __init__(
        self, segmentor: Segmentor, options: DataSet, split: str, *, device: torch.device, console: Console
    ) -> None:
        self.segmentor, self.options, self.split = segmentor, options, split
        self.device, self.console = device, console
        self.dataset = options.open(split)
        self.visited: list[tuple[int, str, tuple[int, int]]] = []
        require_same_classes(segmentor, self.space, options.name)

    @property
    def space(self) -> LabelSpace:
        """The classes."""
        return self.dataset.label_space

    def choose(self, *, pixels_per_class: int, regions_per_class: int, seed: int) -> tuple[ChosenPixels, ChosenRegions]:
        """Draw pixels and regions of the whole split; see `choosing.choose`.

        Raises:
            DataError: If no pixel of the split has a class.
        """
        pixels, regions = choose(
            (sample.labels for sample in self._samples(range(len(self.dataset)), "choosing pixels")),
            num_classes=self.space.num_classes,
            pixels_per_class=pixels_per_class,
            regions_per_class=regions_per_class,
            seed=seed,
        )
        if len(pixels.label) == 0:
            raise DataError(f"no pixel of the {self.split} split of {self.options.name} has a class")
        return pixels, regions

    def images(self, wanted: Int[Tensor, " n"]) -> Iterator[SeenImage]:
        """Run the network on the images that are wanted, each once, in the order of the split."""
        indices = torch.unique(wanted).tolist()
        with evaluating(self.segmentor):
            for index, sample in zip(indices, self._samples(indices, "embedding"), strict=True):
                seen = see(self.segmentor, index, sample, device=self.device)
                self.visited.append((index, sample.name, (seen.logits.shape[1], seen.logits.shape[2])))
                yield seen

    def _samples(self, indices: Sequence[int], doing: str) -> Iterator[EvaluationSample]:
        part = _Part(self.dataset, indices)
        loader = evaluation_loader(part, self.options, mean=self.segmentor.mean, std=self.segmentor.std)
        return iter(track(loader, description=doing, total=len(indices), console=self.console, transient=True))


def see(segmentor: Segmentor, index: int, sample: EvaluationSample, *, device: torch.device) -> SeenImage:
    """Run a network, which is on `device` and evaluating, on one image."""
    output = segmentor(sample.image.to(device))
    logits = resize_logits(output.logits.float(), sample.labels.shape)[0]
    return SeenImage(index, sample, logits, output.features)


@dataclass(frozen=True)
class _Part:
    """Some images of a split."""

    whole: SegmentationDataset
    indices: Sequence[int]

    @property
    def label_space(self) -> LabelSpace:
        return self.whole.label_space

    @property
    def names(self) -> Sequence[str]:
        names = self.whole.names
        return [names[index] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.whole[self.indices[index]]

    def labels(self, index: int) -> Tensor | None:
        return self.whole.labels(self.indices[index])
