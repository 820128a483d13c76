"""People on foot and on bicycles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelcontrast.data.scenes.backdrop import GROUND, ID
from pixelcontrast.data.scenes.canvas import Array, Camera, Canvas, Point, Polygon, ellipse, pick, rgb

CLOTHES = [
    rgb(188, 48, 44), rgb(40, 62, 120), rgb(54, 54, 60), rgb(228, 224, 214), rgb(222, 178, 60), rgb(64, 120, 84),
    rgb(130, 130, 134), rgb(110, 84, 66), rgb(206, 130, 150), rgb(92, 142, 176), rgb(34, 36, 42), rgb(176, 160, 136),
]  # fmt: skip
SPORTSWEAR = [rgb(240, 150, 40), rgb(214, 228, 60), rgb(236, 92, 52), rgb(80, 200, 220)]
SKIN = [rgb(236, 198, 170), rgb(208, 160, 124), rgb(160, 110, 80), rgb(104, 70, 52)]
COARSE_SCALE = 7.0  # pixels a metre below which details and shadows are left out
HAIR = [rgb(40, 30, 26), rgb(90, 62, 40), rgb(190, 150, 90), rgb(150, 146, 142)]


class Sketch:
    """Draws one upright thing in metres about the point where it stands: x to the right, y up."""

    def __init__(self, canvas: Canvas, camera: Camera, *, x: float, z: float) -> None:
        self.canvas = canvas
        self.z = z
        self.base = camera.point(x, 0, z)
        self.scale = camera.scale(z)

    def at(self, x: float, y: float) -> Point:
        """Where a point of the thing is in the picture."""
        return self.base[0] + x * self.scale, self.base[1] - y * self.scale

    def shape(self, points: Polygon, color: Array, label: int | None) -> None:
        """Fill a polygon."""
        self.canvas.fill([self.at(x, y) for x, y in points], color, label, self.z)

    def disc(self, x: float, y: float, rx: float, ry: float, color: Array, label: int | None) -> None:
        """Fill an ellipse."""
        center = self.at(x, y)
        self.canvas.fill(ellipse(*center, rx * self.scale, ry * self.scale), color, label, self.z)

    def limb(self, start: Point, stop: Point, width: float, color: Array, label: int | None) -> None:
        """Fill a line of some width."""
        self.limbs([(start, stop)], width, color, label)

    def limbs(self, lines: Sequence[tuple[Point, Point]], width: float, color: Array, label: int | None) -> None:
        """Fill several lines of one width at once."""
        shapes = []
        for start, stop in lines:
            dx, dy = stop[0] - start[0], stop[1] - start[1]
            length = max(float(np.hypot(dx, dy)), 1e-6)
            nx, ny = -dy / length * width / 2, dx / length * width / 2
            corners = [(start[0] + nx, start[1] + ny), (stop[0] + nx, stop[1] + ny)]
            corners += [(stop[0] - nx, stop[1] - ny), (start[0] - nx, start[1] - ny)]
            shapes.append([self.at(x, y) for x, y in corners])
        self.canvas.fill(shapes, color, label, self.z)

    def shadow(self, width: float, length: float) -> None:
        """Darken the ground: an ellipse below, and in the sun a streak away from it."""
        light = self.canvas.light
        x, y = self.base
        if self.scale < COARSE_SCALE:
            return
        flat = 0.16
        self.canvas.shade(ellipse(x, y, width * self.scale, width * self.scale * flat), 0.45, GROUND)
        if light.sun > 0.2:
            reach = -light.sun_side * length * self.scale
            half = width * 0.5 * self.scale
            rise = length * self.scale * 0.1
            streak = [(x - half, y), (x + half, y), (x + reach + half, y - rise), (x + reach - half, y - rise)]
            self.canvas.shade(streak, 0.5 * light.sun, GROUND)


def paint_person(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint someone who walks or stands."""
    label = ID["person"]
    sketch = Sketch(canvas, camera, x=x, z=z)
    tall = generator.uniform(1.5, 1.9) if generator.random() < 0.85 else generator.uniform(1.0, 1.35)
    wide = tall * generator.uniform(0.2, 0.27)
    stride = generator.uniform(0.02, 0.3) * tall / 1.7
    shirt, trousers = pick(CLOTHES, generator), pick(CLOTHES, generator)
    skin, hair = pick(SKIN, generator), pick(HAIR, generator)
    sketch.shadow(wide * 0.9, tall * 0.8)
    hip, shoulder, chin = 0.5 * tall, 0.82 * tall, 0.87 * tall
    for side, shade in ((-1, 0.8), (1, 1.0)):
        sketch.limb((side * wide * 0.2, hip), (side * stride, 0.02), wide * 0.36, trousers * shade, label)
        sketch.limb((side * stride, 0.05), (side * stride + 0.1 * tall / 1.7, 0.02), 0.09, trousers * 0.4, label)
    for side, shade in ((-1, 0.75), (1, 0.9)):
        hand = (side * (wide * 0.55 + stride * 0.3), hip * 1.02)
        sketch.limb((side * wide * 0.42, shoulder * 0.98), hand, wide * 0.22, shirt * shade, label)
        sketch.disc(*hand, wide * 0.12, wide * 0.12, skin, label)
    torso = [(-0.5, 0.98), (-0.36, 1.0), (0.36, 1.0), (0.5, 0.98), (0.4, 0.6), (-0.4, 0.6)]
    coat = 0.34 if generator.random() < 0.3 else 0.47
    torso = [(px * wide, (py if py > 0.7 else coat / 0.82) * shoulder) for px, py in torso]
    sketch.shape(torso, shirt, label)
    sketch.limb((0, shoulder), (0, chin), wide * 0.22, skin * 0.9, label)
    sketch.disc(0, 0.93 * tall, 0.058 * tall, 0.07 * tall, skin, label)
    sketch.disc(0, 0.957 * tall, 0.062 * tall, 0.05 * tall, hair, label)
    if generator.random() < 0.3:
        bag = float(generator.choice([-1, 1]))
        sketch.shape(
            [
                (bag * wide * 0.5, hip),
                (bag * wide * 1.0, hip),
                (bag * wide * 1.0, hip * 0.7),
                (bag * wide * 0.5, hip * 0.7),
            ],
            pick(CLOTHES, generator),
            label,
        )


def paint_cyclist(canvas: Canvas, camera: Camera, generator: np.random.Generator, *, x: float, z: float) -> None:
    """Paint someone on a bicycle, from behind or crossing; rider and bicycle are one class."""
    sketch = Sketch(canvas, camera, x=x, z=z)
    if generator.random() < 0.5:
        _paint_from_behind(sketch, generator)
    else:
        _paint_from_aside(sketch, generator)


def _paint_from_behind(sketch: Sketch, generator: np.random.Generator) -> None:
    label = ID["cyclist"]
    shirt, trousers = pick(SPORTSWEAR + CLOTHES[:4], generator), pick(CLOTHES, generator)
    metal = rgb(36, 36, 40)
    sketch.shadow(0.35, 1.4)
    sketch.disc(0, 0.34, 0.045, 0.34, metal, label)
    pedal = generator.uniform(-0.12, 0.12)
    sketch.limb((-0.12, 0.95), (-0.14, 0.36 + pedal), 0.14, trousers * 0.85, label)
    sketch.limb((0.12, 0.95), (0.14, 0.36 - pedal), 0.14, trousers, label)
    sketch.limb((-0.32, 1.02), (0.32, 1.02), 0.05, metal, label)
    for side in (-1, 1):
        sketch.limb((side * 0.2, 1.38), (side * 0.3, 1.04), 0.09, shirt * 0.85, label)
    sketch.shape([(-0.2, 0.9), (0.2, 0.9), (0.24, 1.42), (0.12, 1.5), (-0.12, 1.5), (-0.24, 1.42)], shirt, label)
    sketch.disc(0, 1.6, 0.1, 0.12, pick(SKIN, generator), label)
    sketch.disc(0, 1.66, 0.12, 0.09, pick(CLOTHES, generator), label)


def _paint_from_aside(sketch: Sketch, generator: np.random.Generator) -> None:
    label = ID["cyclist"]
    ahead = float(generator.choice([-1, 1]))
    shirt, trousers = pick(SPORTSWEAR + CLOTHES[:4], generator), pick(CLOTHES, generator)
    metal, frame = rgb(34, 34, 38), pick(CLOTHES, generator)
    sketch.shadow(0.8, 1.4)
    for center in (-0.52, 0.52):
        rim = [(center + 0.33 * np.cos(a), 0.34 + 0.33 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 17)]
        sketch.limbs(list(zip(rim[:-1], rim[1:], strict=True)), 0.07, metal, label)
    joints = [(-0.52, 0.34), (-0.15, 0.86), (0.38, 0.86), (0.0, 0.34), (-0.52, 0.34)]
    tubes = list(zip([*joints, (0.38, 0.86)], [*joints[1:], (0.0, 0.34), (0.52, 0.34)], strict=False))
    sketch.limbs([((ahead * a[0], a[1]), (ahead * b[0], b[1])) for a, b in tubes], 0.06, frame, label)
    sketch.limb((ahead * 0.38, 0.86), (ahead * 0.44, 1.04), 0.05, metal, label)
    knee = generator.uniform(0.62, 0.78)
    for shade, foot in ((0.8, 0.2), (1.0, 0.42)):
        sketch.limb((ahead * -0.15, 0.92), (ahead * 0.16, knee), 0.16, trousers * shade, label)
        sketch.limb((ahead * 0.16, knee), (ahead * 0.02, foot), 0.12, trousers * shade, label)
    sketch.limb((ahead * -0.12, 0.94), (ahead * 0.14, 1.42), 0.28, shirt, label)
    sketch.limb((ahead * 0.14, 1.36), (ahead * 0.44, 1.06), 0.09, shirt * 0.85, label)
    sketch.disc(ahead * 0.24, 1.58, 0.1, 0.12, pick(SKIN, generator), label)
    sketch.disc(ahead * 0.22, 1.65, 0.12, 0.08, pick(CLOTHES, generator), label)
