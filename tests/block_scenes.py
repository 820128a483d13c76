"""A small data set in CamVid's layout: blocks of five classes, coloured by their class."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_scene(path: Path, labels_path: Path, *, seed: int) -> None:
    """Blocks of five classes, coloured by class with noise, and a void frame."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 5, (4, 6)), np.ones((16, 16), dtype=np.int64)).astype(np.uint8)
    image = (labels[..., None] * 40 + rng.integers(0, 40, (*labels.shape, 3))).astype(np.uint8)
    labels[:2] = 11
    path.parent.mkdir(parents=True, exist_ok=True)
    labels_path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    Image.fromarray(labels).save(labels_path)


def write_camvid(root: Path, *, train: int = 6, val: int = 3) -> Path:
    """The folders of both splits."""
    for split, count in (("train", train), ("val", val)):
        for i in range(count):
            write_scene(root / split / f"{i}.png", root / f"{split}annot" / f"{i}.png", seed=100 * count + i)
    return root
