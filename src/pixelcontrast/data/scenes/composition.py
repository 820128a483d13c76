"""A whole scene: the ground plan, who stands where, the order of painting, and what the lens does to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pixelcontrast.data.scenes.backdrop import (
    Street,
    cast_side_shadow,
    draw_bonnet,
    draw_ground,
    draw_light,
    draw_sky,
    draw_skyline,
)
from pixelcontrast.data.scenes.buildings import House, Plane, draw_house, paint_fence, paint_hedge, paint_house
from pixelcontrast.data.scenes.canvas import HEIGHT, WIDTH, Array, Camera, Canvas, Ids, smooth_noise
from pixelcontrast.data.scenes.furniture import (
    paint_bin,
    paint_bollard,
    paint_car,
    paint_lamp,
    paint_sign,
    paint_tree,
)
from pixelcontrast.data.scenes.people import paint_cyclist, paint_person

Thing = Callable[..., None]
# Expected number of things in a scene: with NOISE, what makes the data set hard.
MEAN_PEOPLE, MEAN_DRIVING, MEAN_CYCLISTS, MEAN_SIGNS, MEAN_BINS = 13.0, 1.2, 4.0, 5.0, 0.4
FENCE_CHANCE, TREE_CHANCE, PARKING_CHANCE, BOLLARD_CHANCE, BONNET_CHANCE = 0.9, 0.5, 0.5, 0.4, 0.25
NOISE = (0.004, 0.022)  # range of the standard deviation of pixel noise, 0..1
LAST = 95.0  # metres ahead where the street ends
GARDEN = 8.0


def draw_scene(generator: np.random.Generator) -> tuple[NDArray[np.uint8], Ids]:
    """Draw a street: an image [256 512 3] and class ids [256 512], 255 where a pixel has no class."""
    camera = Camera(
        focal=generator.uniform(270, 380),
        height=generator.uniform(1.25, 1.9),
        center_x=WIDTH / 2 + generator.uniform(-70, 70),
        horizon=HEIGHT * generator.uniform(0.36, 0.5),
    )
    canvas = Canvas(draw_light(generator), smooth_noise(generator))
    street = _draw_street(generator)
    draw_sky(canvas, camera, generator)
    draw_skyline(canvas, camera, generator)
    draw_ground(canvas, camera, street, generator)
    cast_side_shadow(canvas, camera, street, generator)
    planner = Planner(canvas, camera, street, generator)
    for side in (-1, 1):
        planner.line_up(side)
        planner.furnish(side)
        planner.park(side)
    planner.drive()
    for _, paint in sorted(planner.plan, key=lambda item: -item[0]):
        paint()
    if generator.random() < BONNET_CHANCE:
        draw_bonnet(canvas, generator)
    return _expose(canvas.image, generator), canvas.labels


def _draw_street(generator: np.random.Generator) -> Street:
    lanes = int(generator.choice([1, 2, 3], p=[0.15, 0.6, 0.25]))
    width = lanes * generator.uniform(2.9, 3.5) + 1.2
    own = generator.uniform(0.3, 0.62)
    return Street(
        road=(-width * own, width * (1 - own)),
        walk=(generator.uniform(1.4, 4.5), generator.uniform(1.4, 4.5)),
        crossing=(generator.uniform(14, 40), generator.uniform(6, 9)) if generator.random() < 0.35 else None,
        zebra=generator.uniform(9, 26) if generator.random() < 0.3 else None,
        lanes=lanes,
    )


@dataclass
class Planner:
    """Decides what stands where; `plan` holds the depth to sort by and how to paint it."""

    canvas: Canvas
    camera: Camera
    street: Street
    generator: np.random.Generator
    plan: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def stand(self, thing: Thing, x: float, z: float) -> None:
        """Put a thing at X and Z. Each has its own stream, so that the order of painting changes nothing."""
        own = self.stream()
        self.plan.append((float(z), lambda: thing(self.canvas, self.camera, own, x=float(x), z=float(z))))

    def stream(self) -> np.random.Generator:
        """A stream of random numbers for one thing."""
        return np.random.default_rng(self.generator.integers(2**63))

    def line_up(self, side: int) -> None:
        """Line one side of the street (-1 left, 1 right) with houses and gardens, from near to far."""
        generator, crossing = self.generator, self.street.crossing
        low, high = ((1, 2), (2, 5), (4, 9))[int(generator.choice(3, p=[0.3, 0.45, 0.25]))]
        green = generator.choice([0.1, 0.35, 0.8], p=[0.5, 0.35, 0.15])
        z = generator.uniform(1.5, 5)
        while z < LAST:
            length = generator.uniform(6, 16)
            if crossing is not None and z + length > crossing[0] and z < sum(crossing):
                z, length = sum(crossing), generator.uniform(6, 16)
            setback = generator.uniform(1.5, 6) if generator.random() < 0.6 else generator.uniform(0, 0.4)
            if generator.random() >= green:
                house = draw_house(self.stream(), low=low, high=high)
                self._build(house, side * (self._wall(side) + setback), z, z + length)
            else:
                setback = GARDEN
                for _ in range(int(generator.integers(1, 4))):
                    x = side * (self._wall(side) + generator.uniform(1.5, 7))
                    self.stand(paint_tree, x, z + generator.uniform(0, length))
            if setback > 1 and generator.random() < FENCE_CHANCE:
                self._enclose(side, z, z + length)
            z += length + (generator.uniform(0, 3) if generator.random() < 0.3 else 0.0)

    def furnish(self, side: int) -> None:
        """Put lamps, signs, bins and people along one kerb."""
        generator = self.generator
        kerb, walk = self.street.road[(side + 1) // 2], self.street.walk[(side + 1) // 2]
        for z in np.arange(generator.uniform(5, 14), LAST, generator.uniform(14, 28)):
            self.stand(paint_lamp, kerb + side * 0.5, z)
        for thing, mean in ((paint_sign, MEAN_SIGNS), (paint_bin, MEAN_BINS)):
            for _ in range(generator.poisson(mean / 2)):
                self.stand(thing, kerb + side * generator.uniform(0.4, 1.0), self.depth(6, 32))
        if generator.random() < BOLLARD_CHANCE / 2:
            for z in np.arange(generator.uniform(5, 9), 30, 2.2):
                self.stand(paint_bollard, kerb + side * 0.35, z)
        for _ in range(generator.poisson(MEAN_PEOPLE / 2)):
            x, z = kerb + side * generator.uniform(0.4, walk), self.depth(4.5, 36)
            self.stand(paint_person, x, z)
            if generator.random() < 0.3:
                self.stand(paint_person, x + generator.choice([-1, 1]) * 0.6, z + 0.1)

    def park(self, side: int) -> None:
        """Put trees and parked cars along one kerb."""
        generator = self.generator
        kerb = self.street.road[(side + 1) // 2]
        if generator.random() < TREE_CHANCE:
            for z in np.arange(generator.uniform(7, 14), LAST, generator.uniform(7, 16)):
                if generator.random() < 0.8:
                    self.stand(paint_tree, kerb + side * generator.uniform(0.6, 1.0), z)
        if generator.random() < PARKING_CHANCE and self.street.lanes > 1:
            z = generator.uniform(5, 16)
            while z < 70:
                if generator.random() < 0.7:
                    self.stand(paint_car, kerb - side * 1.0, z)
                z += generator.uniform(5.6, 8)

    def drive(self) -> None:
        """Put cars, cyclists and crossing people on the road."""
        generator, street = self.generator, self.street
        left, right = street.road
        for _ in range(generator.poisson(MEAN_DRIVING)):
            lane = int(generator.integers(street.lanes))
            self.stand(paint_car, left + (right - left) * (lane + 0.5) / street.lanes, self.depth(8, 70))
        for _ in range(generator.poisson(MEAN_CYCLISTS)):
            x = generator.choice([left + generator.uniform(0.4, 1), right - generator.uniform(0.4, 1)])
            self.stand(paint_cyclist, x, self.depth(4.5, 24))
        if street.zebra is not None:
            for _ in range(generator.poisson(1.5)):
                self.stand(paint_person, generator.uniform(left, right), street.zebra + generator.uniform(0, 3))

    def depth(self, nearest: float, farthest: float) -> float:
        """A depth that favours what is near, so that pictures are not all of specks."""
        return float(nearest + (farthest - nearest) * self.generator.random() ** 2)

    def _wall(self, side: int) -> float:
        """Distance from X = 0 to where the pavement ends."""
        return abs(self.street.road[(side + 1) // 2]) + self.street.walk[(side + 1) // 2]

    def _build(self, house: House, x: float, start: float, stop: float) -> None:
        middle = (start + stop) / 2
        self.plan.append((middle, lambda: paint_house(self.canvas, self.camera, house, x=x, start=start, stop=stop)))

    def _enclose(self, side: int, start: float, stop: float) -> None:
        own, plane = self.stream(), Plane(self.camera, side * self._wall(side), along=True)
        border = paint_fence if own.random() < 0.8 else paint_hedge
        # Sorted a little nearer than the house behind it.
        self.plan.append(
            (start + 0.45 * (stop - start), lambda: border(self.canvas, plane, max(start, 1.5), stop, own))
        )


def _expose(image: Array, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Vignette, exposure, white balance, lens blur and noise."""
    y = (np.arange(HEIGHT, dtype=np.float32)[:, None] - HEIGHT / 2) / HEIGHT
    x = (np.arange(WIDTH, dtype=np.float32)[None] - WIDTH / 2) / WIDTH
    vignette = 1 - generator.uniform(0.0, 0.5) * (x * x + y * y)
    balance = 1 + generator.normal(0, 0.025, 3).astype(np.float32)
    image = np.clip(image * vignette[..., None] * balance * generator.uniform(0.92, 1.15), 0, 1)
    image = image ** generator.uniform(0.78, 1.1)
    soft = Image.fromarray((image * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(generator.uniform(0.2, 0.7)))
    grain = generator.standard_normal((HEIGHT, WIDTH, 3), dtype=np.float32) * (255 * generator.uniform(*NOISE))
    return np.clip(np.asarray(soft, np.float32) + grain, 0, 255).astype(np.uint8)
