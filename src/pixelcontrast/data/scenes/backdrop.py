"""Weather, sky and ground of a scene, and the skyline far away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelcontrast.data.label_tables import SYNTHETIC
from pixelcontrast.data.scenes.canvas import (
    HEIGHT,
    WIDTH,
    Array,
    Camera,
    Canvas,
    Light,
    Stencil,
    band,
    box,
    cut,
    ellipse,
    pick,
    rgb,
)

ID = {name: i for i, name in enumerate(SYNTHETIC.names)}
GROUND = (ID["road"], ID["pavement"])
FAR = 140.0


@dataclass(frozen=True)
class Street:
    """The ground plan, in metres.

    Attributes:
        road: X of the left and right kerb.
        walk: Width of the pavement on the left and right.
        crossing: Nearest Z of a side street, and its width; None without one.
        zebra: Z of a zebra crossing, or None.
        lanes: How many.
    """

    road: tuple[float, float]
    walk: tuple[float, float]
    crossing: tuple[float, float] | None
    zebra: float | None
    lanes: int


def draw_light(generator: np.random.Generator) -> Light:
    """Choose one of five weathers, with variation."""
    kinds = {
        "clear": (rgb(88, 148, 218), rgb(198, 222, 238), (1.0, 0.98, 0.94), 0.62, 0.25),
        "overcast": (rgb(164, 172, 180), rgb(206, 210, 212), (0.86, 0.88, 0.92), 0.08, 0.5),
        "golden": (rgb(122, 150, 196), rgb(250, 212, 160), (1.04, 0.9, 0.72), 0.7, 0.45),
        "dusk": (rgb(70, 78, 130), rgb(224, 150, 140), (0.72, 0.68, 0.84), 0.15, 0.5),
        "fog": (rgb(196, 200, 202), rgb(214, 216, 216), (0.9, 0.92, 0.94), 0.0, 1.6),
    }
    kind = generator.choice(list(kinds), p=[0.45, 0.25, 0.2, 0.05, 0.05])
    zenith, low, ambient, sun, haze = kinds[kind]
    shift = generator.normal(0, 0.025, 3).astype(np.float32)
    return Light(
        sky=(np.clip(zenith + shift, 0, 1), np.clip(low + shift, 0, 1)),
        ambient=np.array(ambient, np.float32) * np.float32(generator.uniform(0.92, 1.12)),
        sun=sun * float(generator.uniform(0.75, 1.1)),
        sun_side=int(generator.choice([-1, 1])),
        haze=haze * float(generator.uniform(0.6, 1.3)),
        lit=0.55 if kind == "dusk" else 0.06,
    )


def draw_sky(canvas: Canvas, camera: Camera, generator: np.random.Generator) -> None:
    """Paint a gradient, and clouds that flatten towards the horizon."""
    zenith, low = canvas.light.sky
    y = (np.arange(HEIGHT, dtype=np.float32)[:, None] + 0.5) / camera.horizon
    x = np.arange(WIDTH, dtype=np.float32)[None]
    mix = np.clip(y, 0, 1)[..., None] ** 1.3
    sky = np.broadcast_to(zenith + (low - zenith) * mix, (HEIGHT, WIDTH, 3)).copy()
    amount, shift = generator.uniform(-0.1, 0.5), float(generator.uniform(0, 256))
    rise = np.clip(1.06 - y, 0.06, None)
    shape = canvas.texture(x * 0.16 / rise**0.4 + shift, 60 / rise + shift)
    shape = 0.6 * shape + 0.4 * canvas.texture(x * 0.5 / rise**0.4, 130 / rise)
    cloud = np.clip((shape - 0.72 + 0.4 * amount) * 3.2, 0, 0.92)[..., None]
    white = np.minimum(1, low * 0.35 + 0.66) * (0.84 + 0.18 * shape[..., None])
    sky += (white - sky) * cloud
    whole = Stencil(slice(0, HEIGHT), slice(0, WIDTH), np.ones((HEIGHT, WIDTH), np.float32))
    canvas.paint(whole, sky.astype(np.float32), ID["sky"], 0.0)


def draw_skyline(canvas: Canvas, camera: Camera, generator: np.random.Generator) -> None:
    """Paint hills of trees and a few buildings at the far end."""
    for _ in range(int(generator.integers(5, 12))):
        x, width = generator.uniform(-90, 90), generator.uniform(6, 16)
        top = generator.uniform(8, 26)
        left, roof = camera.point(x, top, FAR)
        right, base = camera.point(x + width, 0, FAR)
        wall = rgb(*generator.uniform(110, 190, 3))
        canvas.fill(box(left, roof, right, base + 2), wall, ID["building"], FAR)
    crowns = []
    for x in np.arange(-120, 120, 7.0):
        if generator.random() < 0.75:
            size = generator.uniform(4, 9)
            cx, cy = camera.point(float(x), size * 0.6, FAR)
            crowns.append(ellipse(cx, cy, camera.scale(FAR) * size, camera.scale(FAR) * size * 0.8))
    if crowns:
        canvas.fill(crowns, rgb(84, 112, 70) * generator.uniform(0.8, 1.1), ID["tree"], FAR * 0.8)


def draw_ground(canvas: Canvas, camera: Camera, street: Street, generator: np.random.Generator) -> None:
    """Paint road, kerbs, pavements and what lies behind them, in perspective."""
    first = int(np.ceil(camera.horizon + 0.5))
    y = (np.arange(first, HEIGHT, dtype=np.float32) + 0.5)[:, None]
    z = camera.focal * camera.height / (y - camera.horizon)
    x = (np.arange(WIDTH, dtype=np.float32)[None] + 0.5 - camera.center_x) * z / camera.focal
    z = np.broadcast_to(z, x.shape)
    pixel = z / camera.focal  # metres a pixel is wide
    detail = np.clip(0.25 / (pixel * 4), 0, 1)

    grain = canvas.texture(x * 23, z * 23) - 0.5
    stains = canvas.texture(x * 5 + 90, z * 1.6 + 31) - 0.5
    asphalt, slab, verge = _ground_colors(generator)
    road = asphalt * (1 + (0.22 * grain * detail + 0.3 * stains))[..., None]
    joint = np.maximum(band(x % 0.9, 0, 0.05, pixel), band(z % 0.9, 0, 0.06, pixel * 6)) * detail
    walk = slab * (1 + 0.16 * grain * detail + 0.16 * stains - 0.2 * joint)[..., None]
    beyond = verge * (1 + (0.5 * grain * detail + 0.4 * stains))[..., None]

    _mark_lanes(road, x, z, pixel, street)
    left, right = street.road
    on_road = (x > left) & (x < right)
    if street.crossing is not None:
        start, width = street.crossing
        on_road |= (z > start) & (z < start + width)
    on_walk = (x > left - street.walk[0]) & (x < right + street.walk[1]) & ~on_road
    kerb = np.maximum(band(x, left - 0.18, left, pixel), band(x, right, right + 0.18, pixel)) * on_walk
    walk += (slab * 1.18 - walk) * kerb[..., None] * 0.7

    color = np.where(on_road[..., None], road, np.where(on_walk[..., None], walk, beyond)).astype(np.float32)
    whole = Stencil(slice(first, HEIGHT), slice(0, WIDTH), np.ones_like(x))
    canvas.paint(whole, color, None, z.astype(np.float32))
    # Behind the pavement lies grass or more paving; grass belongs to the trees' class, as hedges do.
    green = verge[1] > verge[0] * 1.08
    canvas.labels[first:] = np.where(on_road, ID["road"], np.where(on_walk | ~green, ID["pavement"], ID["tree"]))


def _ground_colors(generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Colours of road, pavement and verge; road and pavement are often alike, and told apart by where they lie."""
    grey = generator.uniform(76, 118)
    asphalt = rgb(grey, grey, grey) * (1 + generator.normal(0, 0.02, 3).astype(np.float32))
    slabs = [
        rgb(198, 180, 156),
        rgb(188, 182, 172),
        rgb(196, 146, 120),
        rgb(206, 190, 168),
        rgb(190, 160, 134),
        asphalt * 1.04,
    ]
    slab = pick(slabs, generator)
    verges = [rgb(104, 134, 70), rgb(122, 140, 80), rgb(146, 140, 130)]
    return asphalt, slab, verges[int(generator.integers(3))]


def _mark_lanes(road: Array, x: Array, z: Array, pixel: Array, street: Street) -> None:
    """Paint lane lines, edge lines and a zebra crossing onto the road's colours."""
    left, right = street.road
    white = rgb(232, 230, 222)
    marks = np.zeros_like(x)
    for lane in range(1, street.lanes):
        at = left + (right - left) * lane / street.lanes
        marks = np.maximum(marks, band(x, at - 0.07, at + 0.07, pixel) * (z % 6 < 3.2))
    for at in (left + 0.25, right - 0.25):
        marks = np.maximum(marks, band(x, at - 0.05, at + 0.05, pixel))
    if street.crossing is not None:
        start, width = street.crossing
        marks = marks * ((z < start) | (z > start + width))
    if street.zebra is not None:
        marks = marks * ((z < street.zebra - 1) | (z > street.zebra + 4))
        stripes = band((x - left) % 1.0, 0.1, 0.6, pixel) * band(z, street.zebra, street.zebra + 3, pixel * 8)
        marks = np.maximum(marks, stripes * (x > left) * (x < right))
    marks = marks * np.clip(1.2 - pixel * 6, 0.25, 0.85)
    road += (white - road) * marks[..., None]


def cast_side_shadow(canvas: Canvas, camera: Camera, street: Street, generator: np.random.Generator) -> None:
    """Let the houses on the sun's side throw a long shadow over the street, broken by gaps."""
    side = canvas.light.sun_side
    if canvas.light.sun < 0.2:
        return
    wall = street.road[1] + street.walk[1] if side > 0 else street.road[0] - street.walk[0]
    z = 3.0
    while z < 80:
        length, reach = generator.uniform(8, 22), generator.uniform(1.5, 9)
        if generator.random() < 0.7:
            corners = [(wall, z), (wall - side * reach, z + 1.5), (wall - side * reach, z + length), (wall, z + length)]
            canvas.shade([camera.point(x, 0, depth) for x, depth in corners], 0.5 * canvas.light.sun, GROUND)
        z += length + generator.uniform(2, 7)


def draw_bonnet(canvas: Canvas, generator: np.random.Generator) -> None:
    """Paint the bonnet of the car that carries the camera; it has no class."""
    top = HEIGHT - generator.uniform(10, 24)
    middle = WIDTH / 2 + generator.uniform(-30, 30)
    stencil = cut([ellipse(middle, HEIGHT + 10, WIDTH * 0.42, HEIGHT + 10 - top, corners=40)])
    if stencil is None:
        return
    x, y = stencil.grid()
    shine = np.exp(-(((x - middle) / 90) ** 2)) * 0.35 + (HEIGHT - y) / 60
    paint = rgb(*([generator.uniform(30, 110)] * 3))
    color = paint * (0.6 + shine[..., None])
    canvas.paint(stencil, color.astype(np.float32), 255, 0.0)
