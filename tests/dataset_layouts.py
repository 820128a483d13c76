"""Small data sets in their true layouts, with what each is expected to read as; one builder a data set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pixelcontrast.data import Camvid, DataOptions, Synthetic
from pixelcontrast.data.datasets import synthetic

SIZE = (24, 32)


@dataclass
class Layout:
    """A data set on disk.

    `expected` holds class ids by split and sample name, None for an image without labels; `images` and `labels` the
    files of each, by split and name; `unknown_id` an id that its files may not hold, None where every id is known.
    """

    options: DataOptions
    expected: dict[str, dict[str, np.ndarray | None]] = field(default_factory=dict)
    images: dict[tuple[str, str], Path] = field(default_factory=dict)
    labels: dict[tuple[str, str], Path] = field(default_factory=dict)
    unknown_id: int | None = None

    def add(self, split: str, name: str, image: Path, labels: Path | None, ids: np.ndarray | None) -> None:
        self.expected.setdefault(split, {})[name] = ids
        self.images[split, name] = image
        if labels is not None:
            self.labels[split, name] = labels


def blocks(seed: int, num_classes: int, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Class ids in runs of 3 pixels, a tenth of them ignored; the highest class is left out."""
    height, width = size
    position = np.arange(height)[:, None] * width + np.arange(width)[None]
    ids = (position // 3 + seed) % max(num_classes - 1, 1)
    return np.where(position // 3 % 10 == 9, 255, ids).astype(np.uint8)


def noise(seed: int, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(array: np.ndarray, path: Path) -> Path:
    """Write a PNG or JPEG, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def camvid(root: Path) -> Layout:
    layout = Layout(Camvid(root=str(root)), unknown_id=37)
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        for index in range(count):
            name, ids = f"{split}_{index}", blocks(index, 11)
            image = save(noise(index), root / split / f"{name}.{'jpg' if index % 2 else 'png'}")
            labels = save(np.where(ids == 255, 11, ids).astype(np.uint8), root / f"{split}annot" / f"{name}.png")
            layout.add(split, name, image, labels, ids)
    return layout


scene = functools.cache(synthetic.scene)  # drawing takes a second where shapes are checked


def drawn(root: Path) -> Layout:
    """The synthetic scenes, made by the data set itself; the caller lowers their number and lends it `scene`."""
    layout = Layout(Synthetic(root=str(root)), unknown_id=37)
    home = Synthetic(root=str(root)).prepare()
    for split, count in synthetic.NUM_IMAGES.items():
        for index in range(count):
            name = f"{index:04d}"
            labels = home / f"{split}annot" / f"{name}.png"
            layout.add(split, name, home / split / f"{name}.png", labels, scene(split, index)[1].numpy())
    return layout


BUILDERS: dict[type[DataOptions], Callable[[Path], Layout]] = {Camvid: camvid, Synthetic: drawn}
