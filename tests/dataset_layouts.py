"""Small data sets in their true layouts, with what each is expected to read as; one builder a data set."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pixelcontrast.data import Ade20k, Camvid, Cityscapes, CocoStuff, DataOptions, Folder, PascalContext, Synthetic
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


def noise(seed: object, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image, another one for each seed, such as a file's name."""
    return np.random.default_rng(zlib.crc32(str(seed).encode())).integers(0, 256, (*size, 3), dtype=np.uint8)


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
            image = save(noise(name), root / split / f"{name}.{'jpg' if index % 2 else 'png'}")
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


def relabel(ids: np.ndarray, numbers: dict[int, int], *, ignored: int) -> np.ndarray:
    """Class ids to the numbers that files hold."""
    table = np.full(256, ignored)
    for label, number in numbers.items():
        table[label] = number
    return table[ids].astype(np.uint8)


def cityscapes(root: Path) -> Layout:
    layout = Layout(Cityscapes(root=str(root)), unknown_id=77)
    numbers = dict(enumerate((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)))
    for split, cities in (("train", ("aachen", "bochum")), ("val", ("lindau",)), ("test", ("berlin",))):
        for seed, city in enumerate(cities):
            name = f"{city}_000000_000019"
            image = save(noise(name), root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
            if split == "test":
                layout.add(split, name, image, None, None)
                continue
            ids, folder = blocks(seed, 19), root / "gtFine" / split / city
            labels = save(relabel(ids, numbers, ignored=3 if seed else 255), folder / f"{name}_gtFine_labelIds.png")
            save(noise(0), folder / f"{name}_gtFine_color.png")
            layout.add(split, name, image, labels, ids)
    return layout


def pascal_context(root: Path) -> Layout:
    layout = Layout(PascalContext(root=str(root)), unknown_id=60)
    lists = root / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    for split, names in (("train", ("2008_000002", "2008_000003")), ("val", ("2008_000007",))):
        for seed, name in enumerate(names):
            ids = blocks(seed, 59)
            image = save(noise(name), root / "JPEGImages" / f"{name}.jpg")
            raw = relabel(ids, {i: i + 1 for i in range(59)}, ignored=0)
            layout.add(split, name, image, save(raw, root / "SegmentationClassContext" / f"{name}.png"), ids)
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    save(noise(9), root / "JPEGImages" / "2009_000001.jpg")  # of VOC, but in neither list
    return layout


def coco_numbers() -> dict[int, int]:
    unused = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    return dict(enumerate(number for number in range(182) if number not in unused))


def coco_stuff(root: Path) -> Layout:
    layout = Layout(CocoStuff(root=str(root)), unknown_id=11)
    for split, names in (("train", ("000000000009", "000000000025")), ("val", ("000000000139",))):
        for seed, name in enumerate(names):
            ids = blocks(seed, 171)
            image = save(noise(name), root / "images" / f"{split}2017" / f"{name}.jpg")
            raw = relabel(ids, coco_numbers(), ignored=255)
            layout.add(split, name, image, save(raw, root / "stuffthingmaps" / f"{split}2017" / f"{name}.png"), ids)
    return layout


def ade20k(root: Path) -> Layout:
    layout = Layout(Ade20k(root=str(root)), unknown_id=151)
    for split, part in (("train", "training"), ("val", "validation")):
        for seed in range(2):
            name, ids = f"ADE_{split}_{seed:08d}", blocks(seed, 150)
            image = save(noise(name), root / "images" / part / f"{name}.jpg")
            raw = relabel(ids, {i: i + 1 for i in range(150)}, ignored=0)
            layout.add(split, name, image, save(raw, root / "annotations" / part / f"{name}.png"), ids)
    return layout


def folder(root: Path) -> Layout:
    layout = Layout(Folder(root=str(root)), unknown_id=9)
    (root / "classes.yaml").write_text("[soil, crop, weed]\n")
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for seed in range(count):
            name, ids = f"{split}-{seed}", blocks(seed, 3)
            image = save(noise(name), root / "images" / split / f"{name}.jpg")
            labels = None if split == "test" else save(ids, root / "labels" / split / f"{name}.png")
            layout.add(split, name, image, labels, None if split == "test" else ids)
    return layout


BUILDERS: dict[type[DataOptions], Callable[[Path], Layout]] = {
    Ade20k: ade20k,
    Camvid: camvid,
    Cityscapes: cityscapes,
    CocoStuff: coco_stuff,
    Folder: folder,
    PascalContext: pascal_context,
    Synthetic: drawn,
}
