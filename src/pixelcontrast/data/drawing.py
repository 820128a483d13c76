"""Chooses how a run draws its samples: in the order that suits its data set, or by the classes that images show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pixelcontrast.data.joint import Joined, Relabelled
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.order import EveryImageOnce, Interleaved, Order
from pixelcontrast.data.rare_classes import Drawn, draw_by_class
from pixelcontrast.data.rows import Rows
from pixelcontrast.data.sources import Cached, SegmentationDataset
from pixelcontrast.errors import DataError
from pixelcontrast.ops.hashing import mix


@dataclass(frozen=True)
class InOrder:
    """Draws images in an order, and crops anywhere in them."""

    order: Order

    def __call__(self, k: int) -> Drawn:
        """The k-th image."""
        return Drawn(self.order(k), None)


def drawing(dataset: SegmentationDataset, options: DataOptions, *, seed: int) -> Callable[[int], Drawn]:
    """Which image the k-th sample is, and what its crop must show: a pure function of (seed, k).

    Raises:
        DataError: If the data set is empty, or is a stream from which images are to be drawn by class.
    """
    if len(dataset) == 0:
        raise DataError("expected a split with at least one image to train on, got none")
    order = order_of(dataset, seed=seed)
    if options.rare_classes is None:
        return InOrder(order)
    if _is_streamed(dataset):
        raise DataError("rare_classes draws images from anywhere, which a stream cannot; set data.streaming=false")
    return draw_by_class(dataset, order, options.rare_classes, seed=seed)


def order_of(dataset: SegmentationDataset, *, seed: int) -> Order:
    """The order that suits a data set: in blocks if it is read in blocks, by shares if its parts have some."""
    match dataset:
        case Cached(source=source) | Relabelled(source=source):
            return order_of(source, seed=seed)
        case Rows(blocks=blocks):
            return EveryImageOnce(len(dataset), seed, blocks)
        case Joined(parts=parts, shares=shares) if shares or _is_streamed(dataset):
            sizes = tuple(map(len, parts))
            orders = tuple(order_of(part, seed=mix(seed, number)) for number, part in enumerate(parts))
            return Interleaved(orders, sizes, shares or tuple(map(float, sizes)))
    return EveryImageOnce(len(dataset), seed)


def _is_streamed(dataset: SegmentationDataset) -> bool:
    match dataset:
        case Cached(source=source) | Relabelled(source=source):
            return _is_streamed(source)
        case Rows(blocks=blocks):
            return bool(blocks)
        case Joined(parts=parts):
            return any(map(_is_streamed, parts))
    return False
