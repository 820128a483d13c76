"""Rare-class sampling: images and crops that show what is seldom seen, more often than chance would.

Source: Hoyer, Dai, Van Gool, "DAFormer", CVPR 2022 (arXiv:2111.14887), Eq. 9 and 10. There a crop is drawn up to ten
times until it shows 3000 pixels of the class; here it is placed about a pixel of it, which needs one try.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from pixelcontrast.data.labels import IGNORE_INDEX
from pixelcontrast.data.order import Order
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.data.threads import on_threads
from pixelcontrast.errors import DataError, UnreadableFileError
from pixelcontrast.ops.hashing import mix

logger = logging.getLogger(__name__)

_RARE = 0x72617265  # "rare"


@dataclass(frozen=True, kw_only=True)
class RareClasses:
    """Draw images and crops by the classes they show, the rare ones more often: P(c) ~ exp((1 - share of c) / T).

    All labels of the training split are read once at the start, to know which image shows what.

    Attributes:
        images: Share of the samples whose image is drawn so: a class by P, then any image that shows it. The others
            come in the usual order, every image once an epoch.
        crops: Share of the samples whose crop is placed about a pixel of a class: the one the image was drawn for, or
            one of its classes drawn by P.
        temperature: T; the lower, the more the rarest classes are preferred. 0.01 is the paper's.
        min_pixels: What an image needs of a class to be drawn for it; where none has so many, one is enough.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    images: float = 0.5
    crops: float = 0.5
    temperature: float = 0.01
    min_pixels: int = 64

    def __post_init__(self) -> None:
        for name in ("images", "crops"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")
        if self.temperature <= 0:
            raise ValueError(f"temperature: expected a positive number, got {self.temperature}")
        if self.min_pixels < 1:
            raise ValueError(f"min_pixels: expected at least 1, got {self.min_pixels}")


@dataclass(frozen=True)
class Drawn:
    """Which image a sample is, and the class that its crop shows, if it must show one."""

    index: int
    shown: int | None


@dataclass(frozen=True)
class DrawByClass:
    """Draws the k-th sample, by class or in an order.

    Attributes:
        order: The usual one.
        options: How often, and how strongly.
        pixels: Of each class in each image.
        images: Of each class, those that are drawn for it.
        probability: Of each class.
        seed: Of the run.
    """

    order: Order
    options: RareClasses
    pixels: Int[Tensor, "n k"]
    images: tuple[Int[Tensor, " _"], ...]
    probability: Float[Tensor, " k"]
    seed: int

    def __call__(self, k: int) -> Drawn:
        """A pure function of (seed, k)."""
        generator = Generator().manual_seed(mix(self.seed, k, _RARE))
        by_class, about_pixel = (torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
        index, label = self.order(k), None
        if by_class < self.options.images:
            label = int(torch.multinomial(self.probability, 1, generator=generator))
            images = self.images[label]
            index = int(images[torch.randint(len(images), (), generator=generator)])
        if about_pixel >= self.options.crops:
            return Drawn(index, None)
        if label is None:
            shown = self.probability * (self.pixels[index] > 0)
            label = int(torch.multinomial(shown, 1, generator=generator)) if shown.any() else None
        return Drawn(index, label)


def draw_by_class(dataset: SegmentationDataset, order: Order, options: RareClasses, *, seed: int) -> DrawByClass:
    """Read the labels of a split and weigh its classes.

    Raises:
        DataError: If no pixel of the split has a class, or a file cannot be used.
    """
    logger.info("reading the labels of %d images once, to know which shows what", len(dataset))
    pixels = pixels_by_image(dataset)
    images = tuple(_images_of(shown, options.min_pixels) for shown in pixels.T)
    return DrawByClass(order, options, pixels, images, class_probability(pixels.sum(0), options.temperature), seed)


def class_probability(pixels: Int[Tensor, " k"], temperature: float) -> Float[Tensor, " k"]:
    """P(c) ~ exp((1 - share of c) / temperature), float64; 0 for a class without a pixel.

    Raises:
        DataError: If no class has one.
    """
    if not pixels.any():
        raise DataError("expected labels with classes in the training split, got ignored pixels alone")
    scaled = (1 - pixels.double() / pixels.sum()) / temperature
    return scaled.masked_fill(pixels == 0, -torch.inf).softmax(0)


def pixels_by_image(dataset: SegmentationDataset) -> Int[Tensor, "n k"]:
    """How many pixels of each class each image has (int32), read on several threads; 0 for an unreadable image.

    Raises:
        DataError: If labels hold an id that is none of the data set's.
    """
    threads = min(16, os.cpu_count() or 1)
    return torch.stack(list(on_threads(partial(_pixels_of, dataset), len(dataset), threads=threads)))


def _images_of(pixels: Int[Tensor, " n"], least: int) -> Int[Tensor, " m"]:
    """Images with pixels enough of a class; where none has so many, all that have one."""
    enough = pixels >= least
    return (enough if enough.any() else pixels > 0).nonzero().flatten()


def _pixels_of(dataset: SegmentationDataset, index: int) -> Int[Tensor, " k"]:
    size = dataset.label_space.num_classes
    try:
        labels = dataset.labels(index)
    except UnreadableFileError:
        labels = None  # the loader stops at it, or skips it, as it was told to
    if labels is None:
        return torch.zeros(size, dtype=torch.int32)
    return torch.bincount(labels.flatten(), minlength=IGNORE_INDEX + 1)[:size].int()
