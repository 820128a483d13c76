"""A small data set in CamVid's layout, and a recipe that trains on it in seconds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelcontrast.contrast import ContrastOptions, MemoryOptions
from pixelcontrast.data import Camvid
from pixelcontrast.engine.options import SGD, TrainerOptions
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.recipe.root import Recipe

CONTRAST = ContrastOptions(
    embedding_dim=16,
    anchors_per_class=8,
    positives_per_anchor=16,
    negatives_per_anchor=32,
    memory=MemoryOptions(pixels_per_class=16, regions_per_class=4, pixels_per_region=3),
)


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


@pytest.fixture(scope="session")
def camvid_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("camvid")
    for split, count in (("train", 6), ("val", 3)):
        for i in range(count):
            write_scene(root / split / f"{i}.png", root / f"{split}annot" / f"{i}.png", seed=100 * count + i)
    return root


@pytest.fixture(scope="session")
def recipe(camvid_root: Path) -> Recipe:
    return Recipe(
        seed=3,
        model=ModelOptions(backbone="resnet10t", head=FCN()),
        data=Camvid(root=str(camvid_root), batch_size=2, crop_size=(64, 64), workers=0),
        contrast=CONTRAST,
        optimizer=SGD(lr=0.05),
        trainer=TrainerOptions(max_steps=6, checkpoint_every=3, log_every=1, accelerator="cpu", devices=1),
    )
