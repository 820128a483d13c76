"""A small data set in CamVid's layout, and a recipe that trains on it in seconds."""

from pathlib import Path

import pytest

from block_scenes import write_camvid
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


@pytest.fixture(scope="session")
def camvid_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid(tmp_path_factory.mktemp("camvid"))


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
