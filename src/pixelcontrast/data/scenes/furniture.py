"""What stands in a street: cars, trees, lamps, traffic lights, signs, bollards and bins."""

from __future__ import annotations

import numpy as np

from pixelcontrast.data.scenes.backdrop import GROUND, ID
from pixelcontrast.data.scenes.buildings import WALLS
from pixelcontrast.data.scenes.canvas import Array, Camera, Canvas, Point, cut, ellipse, pick, rgb
from pixelcontrast.data.scenes.people import COARSE_SCALE, Sketch

PAINTS = [
    rgb(232, 232, 230), rgb(40, 42, 46), rgb(168, 172, 176), rgb(108, 112, 116), rgb(168, 44, 40), rgb(44, 78, 134),
    rgb(62, 98, 72), rgb(196, 176, 140), rgb(132, 66, 52), rgb(216, 160, 58), rgb(96, 140, 168),
]  # fmt: skip
GLASS = rgb(38, 46, 56)
# Outline of body and windows from the side: (share of the length, metres up).
SALOON = (
    [
        (0, 0.3),
        (0, 0.8),
        (0.06, 0.92),
        (0.16, 0.96),
        (0.3, 1.42),
        (0.62, 1.44),
        (0.76, 0.98),
        (0.97, 0.84),
        (1, 0.6),
        (1, 0.3),
    ],
    [(0.2, 0.97), (0.32, 1.36), (0.61, 1.38), (0.72, 0.98)],
)
VAN = (
    [(0, 0.35), (0, 1.2), (0.03, 2.15), (0.72, 2.2), (0.86, 1.3), (0.99, 1.1), (1, 0.35)],
    [(0.6, 1.3), (0.6, 1.98), (0.72, 1.98), (0.82, 1.32)],
)


def paint_car(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint a car along the street, its near end at depth `z`: shadow, flank with windows and wheels, near face."""
    label = ID["car"]
    van = generator.random() < 0.2
    outline, windows = VAN if van else SALOON
    length, half = (generator.uniform(4.8, 5.8), 0.98) if van else (generator.uniform(3.7, 4.6), 0.86)
    oncoming = x < 0 and generator.random() < 0.6
    if oncoming and not van:
        # Its bonnet is the near end.
        outline = [(1 - t, y) for t, y in reversed(outline)]
        windows = [(1 - t, y) for t, y in windows]
    paint = pick(PAINTS, generator)
    _shade_below(canvas, camera, x, z, half, length)
    flank = x + half if x < 0 else x - half  # the one that faces the camera, which is at X = 0
    side = -1 if flank < x else 1

    def point(t: float, y: float) -> Point:
        return camera.point(flank, y, z + t * length)

    lit = canvas.light.on(side)
    canvas.fill([point(t, y) for t, y in outline], paint * 0.86 * lit, label, z)
    canvas.fill([point(t, y) for t, y in windows], GLASS * 1.2, label, z)
    for t in (0.18, 0.8) if camera.scale(z) > COARSE_SCALE else ():
        for radius, color in ((0.33, rgb(24, 24, 26)), (0.18, rgb(140, 142, 146))):
            rim = [point(t + radius / length * np.cos(a), 0.33 + radius * np.sin(a)) for a in np.linspace(0, 6.0, 14)]
            canvas.fill(rim, color, label, z)
    _paint_near_face(canvas, camera, outline, x=x, z=z, half=half, length=length, paint=paint, oncoming=oncoming)


def _shade_below(canvas: Canvas, camera: Camera, x: float, z: float, half: float, length: float) -> None:
    grow = 0.18
    under = [
        (x - half - grow, z - 0.15),
        (x + half + grow, z - 0.15),
        (x + half + grow, z + length),
        (x - half - grow, z + length),
    ]
    canvas.shade([camera.point(px, 0, pz) for px, pz in under], 0.62, GROUND)
    light = canvas.light
    if light.sun > 0.2:
        reach = -light.sun_side * 1.6
        edge = x - light.sun_side * half
        streak = [(edge, z), (edge + reach, z + 0.6), (edge + reach, z + length), (edge, z + length)]
        canvas.shade([camera.point(px, 0, pz) for px, pz in streak], 0.5 * light.sun, GROUND)


def _paint_near_face(
    canvas: Canvas,
    camera: Camera,
    outline: list[tuple[float, float]],
    *,
    x: float,
    z: float,
    half: float,
    length: float,
    paint: Array,
    oncoming: bool,
) -> None:
    """Paint bonnet or boot, windscreen, bumper, wheels, lamps and number plate."""
    label = ID["car"]
    heights = [y for _, y in outline]
    roof = max(heights)
    roof_t = next(t for t, y in outline if y >= roof - 0.06)
    belt_t, belt = next((t, y) for t, y in outline if y >= min(0.9, roof - 0.5) - 0.07)
    face = max(y for t, y in outline if t <= 0.03)

    def point(dx: float, y: float, t: float) -> Point:
        return camera.point(x + dx * half, y, z + t * length)

    lit = canvas.light.on(0)
    glass = [
        point(-0.92, belt, belt_t),
        point(0.92, belt, belt_t),
        point(0.74, roof, roof_t),
        point(-0.74, roof, roof_t),
    ]
    canvas.fill(glass, paint * lit, label, z)
    inset = [
        point(-0.82, belt + 0.05, belt_t), point(0.82, belt + 0.05, belt_t),
        point(0.68, roof - 0.08, roof_t), point(-0.68, roof - 0.08, roof_t),
    ]  # fmt: skip
    canvas.fill(inset, GLASS * 0.8 + canvas.light.sky[0] * 0.22, label, z)
    hood = [point(-0.98, face, 0), point(0.98, face, 0), point(0.92, belt, belt_t), point(-0.92, belt, belt_t)]
    canvas.fill(hood, np.clip(paint * lit * 1.12, 0, 1), label, z)
    for dx in (-0.82, 0.82):
        tyre = [point(dx - 0.14, 0, 0), point(dx + 0.14, 0, 0), point(dx + 0.14, 0.4, 0), point(dx - 0.14, 0.4, 0)]
        canvas.fill(tyre, rgb(22, 22, 24), label, z)
    body = [(-0.94, 0.24), (0.94, 0.24), (1.0, 0.4), (0.98, face), (-0.98, face), (-1.0, 0.4)]
    canvas.fill([point(dx, y, 0) for dx, y in body], paint * lit * 0.94, label, z)
    if camera.scale(z) < COARSE_SCALE:
        return
    canvas.fill(
        [point(dx, y, 0) for dx, y in [(-0.96, 0.24), (0.96, 0.24), (0.97, 0.42), (-0.97, 0.42)]], paint * 0.5, label, z
    )
    lamp = rgb(250, 240, 206) if oncoming else rgb(196, 36, 30)
    low, high = face - 0.22, face - 0.08
    for dx in (-0.8, 0.8):
        corners = [(dx - 0.14, low), (dx + 0.14, low), (dx + 0.14, high), (dx - 0.14, high)]
        canvas.fill([point(px, y, 0) for px, y in corners], lamp, label, z)
    plate = [(-0.27, 0.46), (0.27, 0.46), (0.27, 0.57), (-0.27, 0.57)]
    canvas.fill([point(dx, y, 0) for dx, y in plate], rgb(236, 226, 160), label, z)


def paint_tree(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint a tree: a trunk as thin as a pole, and a crown of leaves with holes at its edge."""
    label = ID["tree"]
    sketch = Sketch(canvas, camera, x=x, z=z)
    trunk, radius = generator.uniform(1.8, 3.2), generator.uniform(1.3, 2.6)
    bark = pick([rgb(92, 72, 56), rgb(120, 112, 104), rgb(70, 60, 54)], generator)
    sketch.shadow(radius * 0.8, trunk)
    sketch.shape([(-0.13, 0), (0.13, 0), (0.08, trunk + radius * 0.6), (-0.08, trunk + radius * 0.6)], bark, label)
    sketch.limb((0, trunk), (radius * 0.4, trunk + radius * 0.5), 0.07, bark, label)
    leaf = pick(
        [rgb(84, 126, 54), rgb(104, 142, 66), rgb(64, 104, 58), rgb(134, 140, 62), rgb(186, 122, 52)], generator
    )
    slim = generator.uniform(0.8, 1.2)
    blobs = []
    for _ in range(16 if sketch.scale > COARSE_SCALE else 7):
        angle, away = generator.uniform(0, 2 * np.pi), np.sqrt(generator.random()) * radius * 0.7
        center = sketch.at(slim * away * np.cos(angle), trunk + radius * (0.9 * 1.0) + away * np.sin(angle))
        size = generator.uniform(0.3, 0.5) * radius * sketch.scale
        blobs.append(ellipse(*center, size, size * 0.85))
    stencil = cut(blobs)
    if stencil is None:
        return
    px, py = stencil.grid()
    step = 18 / sketch.scale
    shift = float(generator.uniform(0, 256))
    fine = canvas.texture(px * step * 2.2 + shift, py * step * 2.2)
    coarse = canvas.texture(px * step * 0.5 + shift, py * step * 0.5)
    top = sketch.at(0, trunk + 2 * radius)[1]
    height = np.clip((py - top) / (2 * radius * sketch.scale), 0, 1)
    toward_sun = 1 + canvas.light.sun * 0.25 * canvas.light.sun_side * (px - sketch.base[0]) / (radius * sketch.scale)
    bright = (1.18 - 0.62 * height) * (0.62 + 0.76 * (0.5 * fine + 0.5 * coarse)) * np.clip(toward_sun, 0.6, 1.4)
    stencil.cover[...] *= np.clip((fine - 0.22) * 6, 0, 1)
    canvas.paint(stencil, (leaf * bright[..., None]).astype(np.float32), label, z)


def paint_lamp(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint a street lamp with an arm over the road, or a plain mast."""
    label = ID["pole"]
    sketch = Sketch(canvas, camera, x=x, z=z)
    metal = pick([rgb(84, 88, 92), rgb(150, 152, 154), rgb(60, 72, 64), rgb(112, 92, 72)], generator)
    tall = generator.uniform(4.5, 7)
    sketch.shadow(0.18, tall * 0.5)
    sketch.limb((0, 0), (0, tall), 0.16, metal, label)
    sketch.limb((0, 0), (0, 0.8), 0.24, metal * 0.9, label)
    if generator.random() < 0.75:
        reach = -np.sign(x) * generator.uniform(0.8, 1.8)
        sketch.limb((0, tall - 0.1), (reach, tall + 0.25), 0.1, metal, label)
        glow = rgb(255, 236, 180) if canvas.light.lit > 0.3 else rgb(206, 208, 206)
        sketch.limb((reach - 0.3, tall + 0.2), (reach + 0.3, tall + 0.25), 0.14, glow, label)
    else:
        sketch.disc(0, tall, 0.2, 0.24, rgb(232, 228, 214), label)


def paint_sign(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint a traffic sign of one of five kinds, or a traffic light; the mast is a pole, the rest a sign."""
    sketch = Sketch(canvas, camera, x=x, z=z)
    tall = generator.uniform(2.3, 3.0)
    sketch.shadow(0.15, 1.2)
    sketch.limb((0, 0), (0, tall + 0.2), 0.13, pick([rgb(130, 132, 134), rgb(84, 86, 90)], generator), ID["pole"])
    label, white = ID["sign"], rgb(236, 234, 228)
    kind = generator.choice(
        ["ring", "blue", "triangle", "diamond", "board", "lights"], p=[0.2, 0.15, 0.15, 0.1, 0.15, 0.25]
    )
    if kind == "ring":
        sketch.disc(0, tall, 0.48, 0.48, rgb(198, 40, 38), label)
        sketch.disc(0, tall, 0.34, 0.34, white, label)
        sketch.limb((-0.13, tall), (0.13, tall), 0.26, rgb(40, 40, 44), label)
    elif kind == "blue":
        sketch.disc(0, tall, 0.46, 0.46, rgb(40, 92, 170), label)
        sketch.limb((0, tall - 0.2), (0, tall + 0.18), 0.1, white, label)
    elif kind == "triangle":
        for size, color in ((0.54, rgb(198, 40, 38)), (0.34, white)):
            sketch.shape([(-size, tall - size * 0.7), (size, tall - size * 0.7), (0, tall + size)], color, label)
    elif kind == "diamond":
        for size, color in ((0.54, white), (0.44, rgb(238, 186, 40))):
            sketch.shape([(-size, tall), (0, tall - size), (size, tall), (0, tall + size)], color, label)
    elif kind == "board":
        ground = pick([rgb(40, 110, 80), rgb(44, 88, 150), rgb(232, 230, 222)], generator)
        sketch.shape([(-0.75, tall - 0.3), (0.75, tall - 0.3), (0.75, tall + 0.4), (-0.75, tall + 0.4)], ground, label)
        for row in (-0.1, 0.15):
            sketch.limb((-0.55, tall + row), (0.5, tall + row), 0.08, white * 0.9, label)
    else:
        sketch.limb((0, tall - 0.25), (0, tall + 0.75), 0.42, rgb(36, 38, 40), label)
        lit = int(generator.integers(3))
        for i, color in enumerate((rgb(226, 52, 44), rgb(238, 178, 54), rgb(70, 190, 96))):
            sketch.disc(0, tall + 0.55 - 0.3 * i, 0.13, 0.13, color if i == lit else color * 0.3, label)


def paint_bollard(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint a bollard; it is of the poles' class."""
    sketch = Sketch(canvas, camera, x=x, z=z)
    metal = pick([rgb(60, 62, 66), rgb(176, 176, 172), rgb(120, 72, 52)], generator)
    sketch.shadow(0.2, 0.6)
    sketch.limb((0, 0), (0, 0.95), 0.17, metal, ID["pole"])
    sketch.limb((0, 0.72), (0, 0.84), 0.18, rgb(226, 222, 210), ID["pole"])


def paint_bin(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint a litter bin or a crate, coloured as houses are; it has no class."""
    sketch = Sketch(canvas, camera, x=x, z=z)
    color = pick(WALLS, generator)
    wide, tall = generator.uniform(0.5, 1.1), generator.uniform(0.8, 1.3)
    sketch.shadow(wide * 0.7, tall)
    sketch.shape([(-wide / 2, 0), (wide / 2, 0), (wide * 0.55, tall), (-wide * 0.55, tall)], color, 255)
    sketch.limb((-wide * 0.58, tall), (wide * 0.58, tall), 0.14, color * 0.6, 255)
