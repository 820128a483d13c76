"""The picture plane of a scene: a pinhole camera, and a canvas painted on in colour and class ids at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 256, 512
FINE, COARSE = 4, 2  # subsamples a pixel and axis of small and of large shapes
LARGE = 60_000  # pixels of a large shape's box
SPECK = 0.6  # pixels of a shape's box below which it is not worth painting
TILE = 256

Array = NDArray[np.floating[Any]]
Ids = NDArray[np.uint8]
Point = tuple[float, float]
Polygon = Sequence[Point]


@dataclass(frozen=True)
class Camera:
    """A pinhole at `height` metres above the origin of the street, looking along it.

    X is metres to the right, Y metres above the ground, Z metres ahead.
    """

    focal: float
    height: float
    center_x: float
    horizon: float

    def scale(self, z: float) -> float:
        """Pixels a metre at depth `z`."""
        return self.focal / z

    def point(self, x: float, y: float, z: float) -> Point:
        """Where a point in the street is in the picture."""
        return self.center_x + self.focal * x / z, self.horizon + self.focal * (self.height - y) / z


@dataclass(frozen=True)
class Light:
    """The hour and the weather.

    Attributes:
        sky: Colours of the zenith and of the horizon, 0 to 1.
        ambient: Colour that everything is multiplied by.
        sun: Strength of direct light, 0 to 1: how dark shadows are.
        sun_side: -1 if the sun stands to the left, 1 to the right.
        haze: Share of the horizon's colour that is added in 100 m.
        lit: Share of windows with a light behind.
    """

    sky: tuple[Array, Array]
    ambient: Array
    sun: float
    sun_side: int
    haze: float
    lit: float

    def on(self, side: int) -> float:
        """Brightness of a wall whose outer face looks to `side` (-1 left, 1 right, 0 to the camera)."""
        return 1.0 + self.sun * (-0.16 if side == 0 else 0.14 if side == self.sun_side else -0.34)


@dataclass
class Canvas:
    """Colour (0 to 1) and class ids of the picture so far.

    Attributes:
        light: Its haze covers what is far.
        noise: A tile of smooth noise, 0 to 1, that textures draw from.
    """

    light: Light
    noise: Array
    image: Array = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH, 3), np.float32))
    labels: Ids = field(default_factory=lambda: np.full((HEIGHT, WIDTH), 255, np.uint8))

    def fill(self, shape: Polygon | Sequence[Polygon], color: Array, label: int | None, z: float) -> None:
        """Paint one polygon, or several as one shape, in one colour at depth `z`; None keeps the labels."""
        stencil = cut([shape] if isinstance(shape[0][0], int | float) else shape)  # type: ignore[arg-type,list-item]
        if stencil is not None:
            self.paint(stencil, color, label, z)

    def paint(self, stencil: Stencil, color: Array, label: int | None, z: float | Array) -> None:
        """Paint a stencil in one colour [3] or a colour a pixel [h w 3], hazed by its depth."""
        rows, columns = stencil.rows, stencil.columns
        haze = 1 - np.exp(-np.asarray(z, np.float32) * self.light.haze / 100)
        haze = haze if haze.ndim == 0 else haze[..., None]
        color = color * self.light.ambient
        color = color + (self.light.sky[1] * self.light.ambient - color) * haze
        region = self.image[rows, columns]
        region += (color - region) * stencil.cover[..., None]
        if label is not None:
            self.labels[rows, columns][stencil.cover > 0.5] = label

    def shade(self, shape: Polygon, strength: float, onto: tuple[int, int]) -> None:
        """Darken a polygon where the label is one of `onto`: a shadow lies on the ground, not on what stands there."""
        stencil = cut([shape])
        if stencil is None:
            return
        rows, columns = stencil.rows, stencil.columns
        labels = self.labels[rows, columns]
        cover = stencil.cover * ((labels == onto[0]) | (labels == onto[1]))
        # Skylight fills shadows, so blue is darkened least.
        self.image[rows, columns] *= 1 - cover[..., None] * strength * np.array([1.0, 0.95, 0.84], np.float32)

    def texture(self, u: Array, v: Array) -> Array:
        """Noise at coordinates in tile pixels, nearest."""
        rows, columns = np.broadcast_arrays(v.astype(np.int32) % TILE, u.astype(np.int32) % TILE)
        grain: Array = self.noise[rows, columns]
        return grain


@dataclass(frozen=True)
class Stencil:
    """Which share of each pixel of a box a shape covers, 0 to 1."""

    rows: slice
    columns: slice
    cover: Array

    def grid(self) -> tuple[Array, Array]:
        """Pixel centres: x [w] and y [h 1]."""
        x = np.arange(self.columns.start, self.columns.stop, dtype=np.float32) + 0.5
        y = np.arange(self.rows.start, self.rows.stop, dtype=np.float32)[:, None] + 0.5
        return x, y


def cut(polygons: Sequence[Polygon]) -> Stencil | None:
    """Cover the union of polygons, antialiased; None if it lies outside the picture or is but a speck."""
    across = [x for polygon in polygons for x, _ in polygon]
    down = [y for polygon in polygons for _, y in polygon]
    if (max(across) - min(across)) * (max(down) - min(down)) < SPECK:
        return None
    left, top, right, bottom = floor(min(across)), floor(min(down)), ceil(max(across)), ceil(max(down))
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, WIDTH), min(bottom, HEIGHT)
    if right <= left or bottom <= top:
        return None
    fine = FINE if (right - left) * (bottom - top) < LARGE else COARSE
    picture = Image.new("L", ((right - left) * fine, (bottom - top) * fine))
    draw = ImageDraw.Draw(picture)
    for polygon in polygons:
        # PIL colours pixels whose centre or edge is touched; half a subsample undoes the growth.
        draw.polygon([((x - left) * fine - 0.5, (y - top) * fine - 0.5) for x, y in polygon], fill=255)
    cover = np.asarray(picture.reduce(fine), np.float32) / 255
    return Stencil(slice(top, bottom), slice(left, right), cover)


def ellipse(x: float, y: float, rx: float, ry: float, *, corners: int = 14) -> list[Point]:
    """An ellipse as a polygon."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return [(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in angles]


def box(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """An upright rectangle as a polygon."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def band(position: Array, low: float, high: float, soft: Array | float) -> Array:
    """1 between low and high, 0 outside, with edges as soft as a pixel is wide there."""
    soft = np.maximum(soft, 1e-3)
    inside: Array = np.clip((position - low) / soft + 0.5, 0, 1) * np.clip((high - position) / soft + 0.5, 0, 1)
    return inside


def smooth_noise(generator: np.random.Generator, *, octaves: int = 5) -> Array:
    """A tile of fractal noise that repeats, 0 to 1."""
    total = np.zeros((TILE, TILE), np.float32)
    for octave in range(octaves):
        cells = 4 << octave
        values = generator.random((cells, cells), dtype=np.float32)
        wrapped = np.pad(values, ((1, 2), (1, 2)), mode="wrap")
        picture = Image.fromarray(wrapped).resize(
            ((cells + 3) * TILE // cells, (cells + 3) * TILE // cells), Image.Resampling.BICUBIC
        )
        skip = TILE // cells
        total += np.asarray(picture)[skip : skip + TILE, skip : skip + TILE] * 0.55**octave
    low, high = np.quantile(total, [0.005, 0.995])
    stretched: Array = np.clip((total - low) / (high - low), 0, 1).astype(np.float32)
    return stretched


def pick(colors: Sequence[Array], generator: np.random.Generator) -> Array:
    """Choose a colour and vary its brightness."""
    color: Array = colors[int(generator.integers(len(colors)))] * np.float32(generator.uniform(0.85, 1.1))
    return np.asarray(np.minimum(color, 1))


def rgb(red: float, green: float, blue: float) -> Array:
    """A colour of 0 to 255."""
    return np.array([red, green, blue], np.float32) / 255
