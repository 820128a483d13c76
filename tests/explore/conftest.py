"""Run folders that were never trained, with all that the explorer reads: weights, a checkpoint, an index."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from block_scenes import write_camvid
from pixelcontrast.contrast import ContrastOptions, MemoryBank, MemoryOptions
from pixelcontrast.data import Camvid
from pixelcontrast.engine.checkpoints import WholeCheckpointIO
from pixelcontrast.engine.embedding_splits import index_split
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.explore.runs import ExploredRun
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.projection import ProjectionHead
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.regions import unit_length
from pixelcontrast.recipe.root import Recipe, dump

CONTRAST = ContrastOptions(embedding_dim=16, memory=MemoryOptions(pixels_per_class=4, regions_per_class=2))


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    data = Camvid(root=str(write_camvid(tmp_path_factory.mktemp("camvid"), val=8)), workers=0)
    return Recipe(model=ModelOptions(backbone="test_resnet", head=FCN()), data=data, contrast=CONTRAST)


def write_run(folder: Path, recipe: Recipe, *, seed: int) -> Path:
    """A run folder of a network with random weights; its contrast, if any, has a memory that is half full."""
    torch.manual_seed(seed)
    space = recipe.data.label_space
    segmentor = Segmentor(recipe.model, space.num_classes, class_names=space.names, palette=space.palette).eval()
    segmentor.save_pretrained(folder)
    run = RunFolder(folder)
    run.recipe.write_text(dump(recipe))
    if recipe.contrast is not None:
        dim = recipe.contrast.embedding_dim
        memory = MemoryBank.from_options(space.num_classes, dim, recipe.contrast.memory)
        labels = torch.randint(0, space.num_classes, (2, 6, 6))
        memory.enqueue(unit_length(torch.randn(2, dim, 6, 6)), labels)
        head = ProjectionHead(segmentor.feature_channels, dim)
        parts = {"contrast.head.": head, "contrast.memory.": memory}
        state = {prefix + key: value for prefix, part in parts.items() for key, value in part.state_dict().items()}
        WholeCheckpointIO().save_checkpoint({"state_dict": state}, run.checkpoints / "step_00000007.ckpt")
    return folder


def write_index(folder: Path, recipe: Recipe) -> None:
    quiet = Console(file=io.StringIO())
    index_split(folder, recipe, "train", pixels=110, regions=66, seed=0, console=quiet).save(RunFolder(folder).index)


@pytest.fixture(scope="session")
def contrast_run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("runs") / "contrast", recipe, seed=0)
    write_index(folder, recipe)
    return folder


@pytest.fixture(scope="session")
def plain_run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without contrast, and without an index."""
    return write_run(tmp_path_factory.mktemp("runs") / "plain", replace(recipe, contrast=None), seed=1)


@pytest.fixture(scope="session")
def explored(contrast_run: Path, recipe: Recipe) -> ExploredRun:
    return ExploredRun(contrast_run, recipe)


@pytest.fixture(scope="session")
def plain(plain_run: Path, recipe: Recipe) -> ExploredRun:
    return ExploredRun(plain_run, replace(recipe, contrast=None))
