"""Pictures that lie over an image on the page, as data URIs: classes in their colours, and figures as heat.

Heat runs through viridis or magma, whose lightness rises evenly: they read the same to colour-blind eyes and in grey.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from PIL import Image
from torch import Tensor

from pixelcontrast.data.labels import Color
from pixelcontrast.engine.pictures import RIGHT, VOID, WRONG, data_uri, error_kinds
from pixelcontrast.ops.resize import resize_logits

Heat = Literal["viridis", "magma"]  # for what is alike, and for what is doubtful

_LEVELS = 256
# Every 15th colour of matplotlib's tables (public domain, CC0), which are straight lines between these within 5 of 255.
HEAT_STOPS: dict[Heat, tuple[str, ...]] = {
    "viridis": (
        "440154", "471669", "472a79", "433c84", "3c4d8a", "355d8c", "2e6c8e", "287a8e", "23898d", "1e978a", "20a585",
        "2eb27c", "45bf6f", "64cb5d", "88d547", "afdc2e", "d7e219", "fde724",
    ),
    "magma": (
        "000003", "09071f", "1a1041", "301065", "4a1079", "61187f", "792281", "912a80", "a9327c", "c23a75", "d9466a",
        "ec585f", "f7715b", "fc8e63", "feaa74", "fec689", "fde1a3", "fbfcbf",
    ),
}  # fmt: skip
_UNLABELLED = 255
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Range:
    """The figures at the two ends of a scale of colours."""

    low: float
    high: float


def photograph(pixels: UInt8[Tensor, "3 H W"], *, longest: int | None = None) -> str:
    """An image, its longer side at most `longest` pixels."""
    image = Image.fromarray(np.asarray(pixels.permute(1, 2, 0)))
    if longest is not None:
        image.thumbnail((longest, longest))
    return as_jpeg(image)


def classes_layer(labels: Integer[Tensor, "H W"], palette: Sequence[Color]) -> str:
    """Classes in their colours; clear where there is none."""
    known = (labels >= 0) & (labels < len(palette))
    return _indexed(labels.where(known, _UNLABELLED), palette, clear=_UNLABELLED)


def errors_layer(labels: Integer[Tensor, "H W"], prediction: Integer[Tensor, "H W"], num_classes: int) -> str:
    """Grey where right, orange where wrong, black where there is no label."""
    return _indexed(error_kinds(labels, prediction, num_classes=num_classes), (RIGHT, WRONG, VOID))


def heat_layer(values: Float[Tensor, "h w"], scale: Range, heat: Heat, *, size: Sequence[int]) -> str:
    """Figures as heat, brought to `size` bilinearly."""
    whole = resize_logits(values[None, None], size)[0, 0]
    share = (whole - scale.low) / max(scale.high - scale.low, 1e-12)
    return _indexed((share.clamp(0, 1) * (_LEVELS - 1)).round(), heat_colours(heat))


def spread(values: Float[Tensor, " *shape"]) -> Range:
    """From the lowest figure but one in 50 to the highest: a few odd cells do not take the colours of the rest."""
    flat = values.flatten().sort().values
    return Range(float(flat[len(flat) // 50]), float(flat[-1]))


@functools.cache
def heat_colours(heat: Heat) -> tuple[Color, ...]:
    """The 256 colours from low to high."""
    stops = np.asarray([tuple(bytes.fromhex(stop)) for stop in HEAT_STOPS[heat]])
    places = np.linspace(0, _LEVELS - 1, len(stops))
    table = np.stack([np.interp(np.arange(_LEVELS), places, channel) for channel in stops.T], axis=1)
    return tuple((int(red), int(green), int(blue)) for red, green, blue in table.round())


def as_jpeg(image: Image.Image) -> str:
    """A photograph as a data URI."""
    return data_uri(image, "JPEG", quality=_JPEG_QUALITY)


def _indexed(ids: Tensor, palette: Sequence[Color], *, clear: int | None = None) -> str:
    """A PNG of one byte a pixel: a third of the size, and written several times as fast as colours."""
    image = Image.fromarray(ids.to(torch.uint8).numpy())
    colours = np.zeros((_LEVELS, 3), dtype=np.uint8)
    colours[: len(palette)] = palette
    image.putpalette(colours.tobytes())
    return data_uri(image, "PNG", compress_level=1, **({} if clear is None else {"transparency": clear}))
