"""What TensorBoard shows of a run beside its curves: predictions of the same few images, and where their pixels lie."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Int, UInt8
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.distributed.tensor import DTensor

from pixelcontrast.contrast import PixelContrast
from pixelcontrast.data import DataSet
from pixelcontrast.data.loader import EvaluationImages, EvaluationSample
from pixelcontrast.engine.choosing import ChosenPixels, choose
from pixelcontrast.engine.embedding import Embedder
from pixelcontrast.engine.embedding_splits import PixelRows, crops_of, read_pixels
from pixelcontrast.engine.embedding_walk import SeenImage, see
from pixelcontrast.engine.pictures import as_pixels, colourise, errors_picture
from pixelcontrast.engine.predictor import evaluating
from pixelcontrast.engine.projector import write_projector
from pixelcontrast.errors import UserError
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.resize import resize_images, resize_labels

WIDEST = 512  # pixels of a picture's panel
_THUMBNAIL = 32


class LiveView(Callback):
    """Shows what the network makes of some validation images after each evaluation, on the first process alone.

    Pictures are flat colours, some 20 kB each; the photographs are written once. Embeddings are overwritten.

    Args:
        deployed: Asks for the network that is deployed, as it is at that moment; every rank asks.
        data: The data section of the recipe.
        images: How many images, evenly spaced over the validation split.
        pixels: How many of their pixels the projector shows, roughly: each class has an equal share; 0 for none.
        every: Steps between evaluations; None if there is one at the end alone.
    """

    def __init__(
        self, deployed: Callable[[], Segmentor], data: DataSet, *, images: int, pixels: int, every: int | None
    ) -> None:
        self.deployed, self.data, self.every = deployed, data, every
        self.images, self.pixels = images, pixels
        self._last = 0
        self._samples: list[EvaluationSample] = []

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Show the images themselves; a run that goes on has shown them."""
        self._last = trainer.global_step
        network, board = self.deployed(), _board(trainer)
        if board is None or not trainer.is_global_zero:
            return
        self._samples = self._read_samples(network)
        if trainer.global_step == 0:
            for sample in self._samples:
                picture = _photograph(sample, network)
                board.experiment.add_image(f"image/{sample.name}", picture, 0, dataformats="HWC")

    def on_train_batch_end(self, trainer: L.Trainer, task: L.LightningModule, *_: Any) -> None:
        """Show what became of them where the split has just been evaluated."""
        step = trainer.global_step
        stops = trainer.should_stop or step >= trainer.max_steps
        if self.every is not None and step % self.every == 0 and not stops:
            self._show(trainer, task)

    def on_train_end(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        """Show what came out; a run that was told to stop does not dwell on it."""
        if trainer.global_step >= trainer.max_steps:
            self._show(trainer, task)

    def _show(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        step, board = trainer.global_step, _board(trainer)
        if step == self._last:
            return
        self._last = step
        network = self.deployed()
        if board is None or not trainer.is_global_zero:
            return
        device = next(network.parameters()).device
        with evaluating(network):
            seen = [see(network, i, sample, device=device) for i, sample in enumerate(self._samples)]
            for image in seen:
                picture = _prediction(image, network.palette)
                board.experiment.add_image(f"prediction/{image.sample.name}", picture, step, dataformats="HWC")
            if self.pixels:
                self._write_embeddings(network, seen, task, Path(board.log_dir))

    def _read_samples(self, network: Segmentor) -> list[EvaluationSample]:
        dataset = self.data.open("val")
        source = EvaluationImages(dataset, mean=network.mean, std=network.std)
        count = min(self.images, len(dataset))
        samples = [source[i * len(dataset) // count] for i in range(count)]
        for sample in samples:
            if isinstance(sample, UserError):
                raise sample
        return samples  # type: ignore[return-value]  # the errors are out

    def _write_embeddings(
        self, network: Segmentor, seen: Sequence[SeenImage], task: L.LightningModule, folder: Path
    ) -> None:
        classes, names = network.num_classes, network.class_names
        labels = (image.sample.labels for image in seen)
        chosen, _ = choose(
            labels, num_classes=classes, pixels_per_class=-(-self.pixels // classes), regions_per_class=0, seed=0
        )
        if len(chosen.label) == 0:
            return
        embedder = Embedder(network, _projection(task.contrast))
        rows, thumbnails = [], []
        for number, image in enumerate(seen):
            row, column = (part[chosen.image == number] for part in (chosen.row, chosen.column))
            rows.append(read_pixels(embedder, image, row, column))
            thumbnails += crops_of(network, image, row, column, side=_THUMBNAIL)
        order = chosen.image.argsort(stable=True)
        found = PixelRows(*map(torch.cat, zip(*rows, strict=True)))
        sets = {"features": found.features, "projected": found.projected}
        write_projector(
            folder,
            {name: values.float().numpy() for name, values in sets.items() if values.shape[1]},
            _columns(chosen, order, found.prediction, names, [image.sample.name for image in seen]),
            thumbnails,
        )


def _columns(
    chosen: ChosenPixels,
    order: Int[Tensor, " n"],
    prediction: Int[Tensor, " n"],
    classes: Sequence[str],
    images: Sequence[str],
) -> dict[str, list[str]]:
    """What the projector tells of each pixel, in the order that images were seen in."""
    return {
        "label": [classes[i] for i in chosen.label[order].tolist()],
        "prediction": [classes[i] for i in prediction.tolist()],
        "image": [images[i] for i in chosen.image[order].tolist()],
        "row": [str(i) for i in chosen.row[order].tolist()],
        "column": [str(i) for i in chosen.column[order].tolist()],
    }


def _photograph(sample: EvaluationSample, network: Segmentor) -> UInt8[np.ndarray, "H W 3"]:
    """The image and its labels beside each other."""
    image = as_pixels(sample.image, mean=network.mean, std=network.std)
    height, width = _panel(sample.labels.shape)
    image = resize_images(image.float(), (height, width)).round().clamp(0, 255).byte()[0]
    labels = colourise(resize_labels(sample.labels[None], (height, width))[0], network.palette)
    return np.hstack([np.asarray(image.permute(1, 2, 0)), np.asarray(labels)])


def _prediction(seen: SeenImage, palette: Sequence[tuple[int, int, int]]) -> UInt8[np.ndarray, "H W 3"]:
    """Prediction and errors beside each other."""
    size = _panel(seen.sample.labels.shape)
    labels, predicted = (
        resize_labels(ids[None], size)[0] for ids in (seen.sample.labels, seen.logits.argmax(dim=0).cpu())
    )
    errors = errors_picture(labels, predicted, num_classes=len(palette))
    return np.hstack([np.asarray(colourise(predicted, palette)), np.asarray(errors)])


def _projection(contrast: object) -> Any:
    """A copy of the projection, so that looking changes nothing of it; None without one, or if ranks share it out."""
    head = contrast.head if isinstance(contrast, PixelContrast) else None
    if head is None or any(isinstance(parameter, DTensor) for parameter in head.parameters()):
        return None
    return copy.deepcopy(head).eval()


def _panel(size: Sequence[int]) -> tuple[int, int]:
    """Height and width that are shown of labels of a size."""
    factor = min(1.0, WIDEST / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _board(trainer: L.Trainer) -> TensorBoardLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)
