"""Training goes on where data is odd but right, and stops with one clear message where it is wrong."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelcontrast.data import Folder
from pixelcontrast.errors import DataError
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.recipe.root import Recipe
from training_runs import run, shortened


@pytest.fixture
def own(recipe: Recipe, camvid_root: Path, tmp_path: Path) -> Recipe:
    """The recipe on a copy of the data that a test may spoil."""
    root = tmp_path / "data"
    shutil.copytree(camvid_root, root)
    return shortened(replace(recipe, data=replace(recipe.data, root=str(root))), max_steps=2)


def root_of(recipe: Recipe) -> Path:
    return Path(recipe.data.root or "")


def test_images_without_any_label_train_with_a_finite_loss(own: Recipe, tmp_path: Path) -> None:
    for file in (root_of(own) / "trainannot").glob("*.png"):
        Image.fromarray(np.full((64, 96), 11, dtype=np.uint8)).save(file)
    run(own, tmp_path / "run")
    weights = Segmentor.from_pretrained(tmp_path / "run").state_dict()
    assert all(value.isfinite().all() for value in weights.values())


def test_a_batch_of_one_trains(own: Recipe, tmp_path: Path) -> None:
    run(replace(own, data=replace(own.data, batch_size=1)), tmp_path / "run")


def test_a_class_absent_from_the_split_is_left_out_of_the_mean_and_named(own: Recipe, tmp_path: Path) -> None:
    scores, _ = run(own, tmp_path / "run")
    absent = [name for name, value in scores.IoU.items() if value is None]
    assert tuple(absent) == scores.absent
    present = [value for value in scores.IoU.values() if value is not None]
    assert scores.mIoU == pytest.approx(sum(present) / len(present), abs=1e-3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P"])
def test_grey_palette_16_bit_and_transparent_images_train(own: Recipe, tmp_path: Path, mode: str) -> None:
    for file in (root_of(own) / "train").glob("*.png"):
        grey = np.asarray(Image.open(file).convert("L"))
        picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.open(file).convert(mode)
        picture.save(file)
    run(own, tmp_path / "run")


def test_labels_of_another_set_are_refused_with_file_and_value(own: Recipe, tmp_path: Path) -> None:
    for file in (root_of(own) / "trainannot").glob("*.png"):
        Image.fromarray(np.full((64, 96), 37, dtype=np.uint8)).save(file)
    with pytest.raises(DataError, match=r"trainannot.*label id 37"):
        run(own, tmp_path / "run")


def test_a_missing_validation_split_shows_before_training(own: Recipe, tmp_path: Path) -> None:
    shutil.rmtree(root_of(own) / "val")
    with pytest.raises(DataError, match="val"):
        run(own, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_masks_of_0_and_255_are_told_before_the_training_and_after(own: Recipe, tmp_path: Path) -> None:
    mask = np.zeros((64, 96), dtype=np.uint8)
    mask[:, ::2] = 255
    for split in ("train", "val"):
        for i in range(2):
            for kind, array in (("images", np.zeros((64, 96, 3), dtype=np.uint8)), ("labels", mask)):
                file = tmp_path / "masks" / kind / split / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
    (tmp_path / "masks" / "classes.yaml").write_text("[background, crack]")
    data = Folder(root=str(tmp_path / "masks"), batch_size=2, crop_size=(64, 64), workers=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of the criterion, which knows no classes.yaml
        scores, printed = run(replace(own, data=data), tmp_path / "run")
    said = " ".join(printed.split())
    assert "in the first 2 steps every pixel is 'background' or ignored, never 'crack'" in said
    assert "name it as a class in classes.yaml, {background: 0, crack: 255}" in said
    assert "every labelled pixel is 'background'" in str(scores.table("val").caption)
