"""House fronts, roofs, fences and hedges: everything that stands in upright planes along the street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelcontrast.data.scenes.backdrop import ID
from pixelcontrast.data.scenes.canvas import Array, Camera, Canvas, Polygon, band, cut, pick, rgb

WALLS = [
    rgb(168, 92, 74), rgb(140, 74, 62), rgb(206, 182, 148), rgb(226, 212, 186), rgb(150, 150, 152), rgb(118, 122, 128),
    rgb(136, 150, 164), rgb(150, 164, 136), rgb(196, 134, 96), rgb(212, 160, 140), rgb(190, 190, 196), rgb(104, 92, 84),
]  # fmt: skip
ROOFS = [rgb(150, 78, 58), rgb(112, 66, 58), rgb(92, 96, 104), rgb(126, 118, 110)]
AWNINGS = [rgb(196, 60, 52), rgb(44, 110, 82), rgb(48, 84, 150), rgb(228, 178, 62), rgb(232, 226, 214)]
FLOOR = 3.1


@dataclass(frozen=True)
class House:
    """One house.

    Attributes:
        wall: Colour.
        height: Metres to the eaves.
        pitch: Metres from the eaves to the ridge; 0 for a flat roof.
        roof: Colour.
        period: Metres from window to window.
        opening: Share of the period and of the floor that a window takes.
        frame: Colour of window frames.
        shop: Colour of the awning of a shop on the ground floor, or None.
        chance: A number a window, 0 to 1.
        poster: Metres along the wall of a poster, or None.
    """

    wall: Array
    height: float
    pitch: float
    roof: Array
    period: float
    opening: tuple[float, float]
    frame: Array
    shop: Array | None
    chance: Array
    poster: float | None


def draw_house(generator: np.random.Generator, *, low: float, high: float) -> House:
    """Choose a house of `low` to `high` floors."""
    floors = int(generator.integers(int(low), int(high) + 1))
    wall = pick(WALLS, generator) + generator.normal(0, 0.02, 3).astype(np.float32)
    glassy = generator.random() < 0.15
    return House(
        wall=np.clip(wall, 0, 1),
        height=floors * FLOOR + generator.uniform(0.4, 1.4),
        pitch=generator.uniform(1.6, 3.4) if floors <= 3 and generator.random() < 0.75 else 0.0,
        roof=pick(ROOFS, generator),
        period=generator.uniform(1.6, 3.6),
        opening=(0.9, 0.86) if glassy else (generator.uniform(0.36, 0.6), generator.uniform(0.42, 0.6)),
        frame=pick([rgb(238, 236, 228), rgb(80, 78, 76), rgb(210, 200, 184)], generator),
        shop=pick(AWNINGS, generator) if generator.random() < 0.4 else None,
        chance=generator.random((64, 16), dtype=np.float32),
        poster=generator.uniform(1, 5) if generator.random() < 0.3 else None,
    )


@dataclass(frozen=True)
class Plane:
    """An upright plane, seen through the camera: along the street at X = `at`, or across it at Z = `at`."""

    camera: Camera
    at: float
    along: bool

    def quad(self, start: float, stop: float, bottom: float, top: float) -> Polygon:
        """Corners in the picture of a rectangle in the plane; start and stop are Z, or X where it lies across."""
        corners = [(start, bottom), (stop, bottom), (stop, top), (start, top)]
        return [self.point(u, v) for u, v in corners]

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Where metre u along the plane and v above the ground is in the picture."""
        return self.camera.point(self.at, v, u) if self.along else self.camera.point(u, v, self.at)

    def coordinates(self, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
        """Metres u along [w] and v up [h w] of pixel centres, depth z [w], and metres a pixel is wide along [w]."""
        if not self.along:
            z = np.full_like(x, self.at)
            u = (x - self.camera.center_x) * self.at / self.camera.focal
            wide = z / self.camera.focal
        else:
            away = x - self.camera.center_x
            away = np.where(np.abs(away) < 0.5, 0.5 * np.sign(self.at), away)
            z = np.clip(self.camera.focal * self.at / away, 0.5, 400).astype(np.float32)
            u, wide = z, z * z / (self.camera.focal * abs(self.at))
        v = self.camera.height - (y - self.camera.horizon) * z / self.camera.focal
        return u, v, z, wide


def paint_house(canvas: Canvas, camera: Camera, house: House, *, x: float, start: float, stop: float) -> None:
    """Paint a house whose front stands at X = `x` from Z = `start` to `stop`: flank, front and roof."""
    side = 1 if x > 0 else -1
    depth = x + side * 9.0
    flank = Plane(camera, start, along=False)
    front = Plane(camera, x, along=True)
    ridge_x, top = x + side * 4.5, house.height + house.pitch
    if house.pitch:
        roof = [
            camera.point(x, house.height, start),
            camera.point(x, house.height, stop),
            camera.point(ridge_x, top, stop),
            camera.point(ridge_x, top, start),
        ]
        canvas.fill(roof, house.roof * canvas.light.on(-side), ID["building"], (start + stop) / 2)
        gable = [flank.point(x, house.height), flank.point(ridge_x, top), flank.point(depth, house.height)]
        canvas.fill(gable, house.wall * canvas.light.on(0), ID["building"], start)
    _paint_wall(canvas, flank, house, (x, depth), facing=0)
    _paint_wall(canvas, front, house, (start, stop), facing=-side)


def _paint_wall(canvas: Canvas, plane: Plane, house: House, span: tuple[float, float], *, facing: int) -> None:
    stencil = cut([plane.quad(span[0], span[1], 0, house.height)])
    if stencil is None:
        return
    u, v, z, wide = plane.coordinates(*stencil.grid())
    u = np.abs(u - span[0])
    high = z / plane.camera.focal
    color = facade(canvas, house, u, v, wide, high) * canvas.light.on(facing)
    canvas.paint(stencil, color, ID["building"], np.broadcast_to(z, v.shape))


def facade(canvas: Canvas, house: House, u: Array, v: Array, wide: Array, high: Array) -> Array:
    """Colour of a house front at metres u [w] along and v [h w] up, where a pixel is `wide` and `high` metres."""
    rough = canvas.texture(u * 9, v * 9) - 0.5
    courses = band(v % 0.3, 0, 0.05, high) * np.clip(0.06 / high, 0, 1)
    shade = 1 + 0.16 * rough - 0.12 * courses + 0.012 * np.minimum(v, 8) - 0.06
    color = house.wall * shade[..., None]

    column, floor = np.floor(u / house.period), np.floor(v / FLOOR)
    across, up = u / house.period - column, v / FLOOR - floor
    chance = house.chance[np.broadcast_to(column.astype(int) % 64, v.shape), floor.astype(int) % 16]
    share, tall = house.opening
    soft_u, soft_v = wide / house.period, high / FLOOR
    margin = 0.05
    inside = (v < house.height - 0.3) & (v > 0)
    frame = band(across, 0.5 - share / 2 - margin, 0.5 + share / 2 + margin, soft_u)
    frame = frame * band(up, 0.42 - tall / 2 - margin, 0.42 + tall / 2 + margin, soft_v) * inside
    glass = band(across, 0.5 - share / 2, 0.5 + share / 2, soft_u) * band(up, 0.42 - tall / 2, 0.42 + tall / 2, soft_v)
    color += (house.frame - color) * frame[..., None]
    sky = canvas.light.sky[0] * 0.55
    pane = rgb(44, 52, 64) + (sky - rgb(44, 52, 64)) * (chance * np.clip(up, 0, 1))[..., None]
    pane = np.where((chance < canvas.light.lit)[..., None], rgb(252, 214, 140), pane)
    color += (pane - color) * (glass * inside)[..., None]
    _paint_details(color, house, u, v, wide, high)
    cornice = band(v, house.height - 0.35, house.height + 1, high)
    color += (house.frame * 0.9 - color) * cornice[..., None] * 0.7
    return np.asarray(color, np.float32)


def _paint_details(color: Array, house: House, u: Array, v: Array, wide: Array, high: Array) -> None:
    """Paint a shop with an awning, or a door and a poster; the poster looks like a sign and is none."""
    if house.shop is not None:
        window = band(u % 4.2, 0.4, 3.6, wide) * band(v, 0.5, 2.5, high)
        color += (rgb(58, 62, 66) - color) * window[..., None]
        stripe = (np.floor(u / 0.45) % 2)[..., None]
        cloth = house.shop * (0.75 + 0.25 * stripe) + 0.25 * (1 - stripe)
        awning = band(v, 2.45, 3.15, high) * np.ones_like(u)
        color += (cloth - color) * awning[..., None]
        return
    door = band(u % 7.0, 0.5, 1.6, wide) * band(v, -1, 2.2, high)
    color += (house.wall * 0.45 - color) * door[..., None]
    if house.poster is not None:
        poster = band(u, house.poster, house.poster + 1.6, wide) * band(v, 1.2, 2.9, high)
        inner = band(u, house.poster + 0.15, house.poster + 1.45, wide) * band(v, 1.35, 2.75, high)
        color += (rgb(240, 240, 236) - color) * poster[..., None]
        color += (house.chance[:3, 0] - color) * inner[..., None]


def paint_fence(canvas: Canvas, plane: Plane, start: float, stop: float, generator: np.random.Generator) -> None:
    """Paint a fence: railings that are seen through, planks, or a low wall of a house's bricks."""
    top = generator.uniform(1.0, 1.8)
    stencil = cut([plane.quad(start, stop, 0, top)])
    if stencil is None:
        return
    u, v, z, wide = plane.coordinates(*stencil.grid())
    high = z / plane.camera.focal
    kind = generator.choice(["railing", "planks", "wall"], p=[0.4, 0.45, 0.15])
    rough = 1 + 0.25 * (canvas.texture(u * 9, v * 9) - 0.5)
    bars = np.ones_like(v)
    if kind == "railing":
        shade = rgb(*([generator.uniform(40, 90)] * 3)) if generator.random() < 0.7 else rgb(214, 214, 210)
        rails = np.maximum(band(v, top - 0.12, top + 1, high), band(v, 0.12, 0.22, high))
        rods = np.maximum(band(u % 0.3, 0, 0.1, wide), band(u % 2.4, 0, 0.16, wide))
        bars = np.maximum(rails, rods)
        bars = np.maximum(bars, 0.3 * np.clip(wide / 0.3, 0, 1))
    elif kind == "planks":
        shade = rgb(*generator.uniform([120, 84, 54], [176, 140, 110]))
        rough = rough - 0.25 * band(u % 0.25, 0, 0.03, wide) * np.clip(0.1 / wide, 0, 1)
    else:
        shade = WALLS[int(generator.integers(len(WALLS)))] * 0.92
        rough = rough - 0.12 * band(v % 0.3, 0, 0.05, high) * np.clip(0.06 / high, 0, 1)
    color = (shade * rough[..., None]).astype(np.float32)
    shape = stencil.cover.copy()
    stencil.cover[...] = shape * bars
    facing = 0 if not plane.along else (-1 if plane.at > 0 else 1)
    canvas.paint(stencil, color * canvas.light.on(facing), None, np.broadcast_to(z, v.shape))
    canvas.labels[stencil.rows, stencil.columns][shape > 0.5] = ID["fence"]


def paint_hedge(canvas: Canvas, plane: Plane, start: float, stop: float, generator: np.random.Generator) -> None:
    """Paint a clipped hedge, which is of the trees' class."""
    stencil = cut([plane.quad(start, stop, 0, generator.uniform(0.7, 1.6))])
    if stencil is None:
        return
    u, v, z, _ = plane.coordinates(*stencil.grid())
    leaves = canvas.texture(u * 30, v * 30)
    color = rgb(72, 104, 52) * (0.55 + 0.8 * leaves)[..., None]
    canvas.paint(stencil, color.astype(np.float32), ID["tree"], np.broadcast_to(z, v.shape))
