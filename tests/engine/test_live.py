"""TensorBoard shows what the network makes of the same images and pixels, once a step, and disturbs nothing."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from pixelcontrast.data.transforms import normalize
from pixelcontrast.engine.pictures import RIGHT, VOID, WRONG, colourise
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.recipe.root import Recipe
from training_runs import run, shortened


def events(run_dir: Path) -> EventAccumulator:
    return EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"images": 0, "scalars": 0}).Reload()


def steps(found: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in found.Images(tag)]


def picture(found: EventAccumulator, tag: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(found.Images(tag)[-1].encoded_image_string)))


def table(run_dir: Path, name: str) -> list[list[str]]:
    lines = (run_dir / "tensorboard" / "projector" / f"{name}.tsv").read_text().splitlines()
    return [line.split("\t") for line in lines]


@pytest.fixture(scope="module")
def recipe(recipe: Recipe) -> Recipe:
    return shortened(recipe, max_steps=4, evaluate_every=2, checkpoint_every=2, live_images=2, live_pixels=44)


@pytest.fixture(scope="module")
def shown(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live") / "run"
    run(recipe, folder)
    return folder


def test_pictures_are_what_the_network_gives(shown: Path, recipe: Recipe) -> None:
    found = events(shown)
    assert sorted(found.Tags()["images"]) == ["image/0", "image/1", "prediction/0", "prediction/1"]
    assert steps(found, "image/0") == [0]
    assert steps(found, "prediction/1") == [2, 4]
    segmentor = Segmentor.from_pretrained(shown)
    sample = recipe.data.open("val")[1]
    with torch.inference_mode():
        logits = segmentor(normalize(sample.image, mean=segmentor.mean, std=segmentor.std)[None]).logits
    logits = F.interpolate(logits, size=sample.labels.shape, mode="bilinear", align_corners=False)
    predicted = logits.argmax(1)[0]
    prediction, errors = np.split(picture(found, "prediction/1"), 2, axis=1)
    assert np.array_equal(prediction, colourise(predicted, segmentor.palette))
    assert (errors[sample.labels == 255] == VOID).all()
    assert (errors[(sample.labels != 255) & (sample.labels == predicted)] == RIGHT).all()
    assert (errors[(sample.labels != 255) & (sample.labels != predicted)] == WRONG).all()
    photograph, _ = np.split(picture(found, "image/1"), 2, axis=1)
    assert np.abs(photograph.astype(int) - sample.image.permute(1, 2, 0).numpy()).max() <= 1


def test_the_projector_is_told_of_pixels_as_they_are(shown: Path, recipe: Recipe) -> None:
    (head, *rows) = table(shown, "pixels")
    assert head == ["label", "prediction", "image", "row", "column"]
    features = np.asarray(table(shown, "features"), dtype=float)
    projected = np.asarray(table(shown, "projected"), dtype=float)
    assert projected.shape == (len(rows), recipe.contrast.embedding_dim)
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-2)
    segmentor, names = Segmentor.from_pretrained(shown), recipe.data.label_space.names
    for (label, _, image, row, column), vector in zip(rows, features, strict=True):
        sample = recipe.data.open("val")[int(image)]
        assert names[sample.labels[int(row), int(column)]] == label
        with torch.inference_mode():
            output = segmentor(normalize(sample.image, mean=segmentor.mean, std=segmentor.std)[None]).features[0]
        height, width = sample.labels.shape
        cell = output[:, int(row) * output.shape[1] // height, int(column) * output.shape[2] // width]
        np.testing.assert_allclose(vector, F.normalize(cell, dim=0), atol=2e-3)


def test_the_projector_can_read_its_files(shown: Path) -> None:
    folder = shown / "tensorboard"
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert [entry.tensor_name for entry in config.embeddings] == ["features", "projected"]
    for entry in config.embeddings:
        assert len((folder / entry.tensor_path).read_text().splitlines()) == len(table(shown, "pixels")) - 1
        assert (folder / entry.metadata_path).is_file()
        side = entry.sprite.single_image_dim[0]
        with Image.open(folder / entry.sprite.image_path) as sprite:
            width, height = sprite.size
        assert width == height
        assert (width // side) ** 2 >= len(table(shown, "pixels")) - 1


def test_a_run_that_goes_on_shows_each_step_once(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelcontrast.engine.training._deploy", kill)  # after the last step, before the scores
        with pytest.raises(KeyboardInterrupt):
            run(recipe, folder)
    for checkpoint in (folder / "checkpoints").glob("step_00000004.*"):
        checkpoint.unlink()
    run(recipe, folder, resume=True)
    found = events(folder)
    assert steps(found, "image/0") == [0]
    assert steps(found, "prediction/0") == [2, 4]
    losses = [event.step for event in found.Scalars("loss")]
    assert sorted(set(losses)) == [0, 1, 2, 3]
    assert losses.count(3) == 1
    assert [event.step for event in found.Scalars("val/mIoU")] == [2]


def test_looking_changes_nothing(recipe: Recipe, tmp_path: Path) -> None:
    batch_norm = replace(recipe, contrast=replace(recipe.contrast, projection="dense", projection_norm="batch"))
    for name, options in (("plain", recipe), ("norm", batch_norm)):
        runs = [tmp_path / f"{name}_{images}" for images in (0, 2)]
        for folder, images in zip(runs, (0, 2), strict=True):
            run(shortened(options, live_images=images), folder)
        first, second = ((folder / "metrics.jsonl").read_text() for folder in runs)
        assert first == second
        assert not (runs[0] / "tensorboard" / "projector").exists()
        assert not events(runs[0]).Tags()["images"]


def test_no_pixels_means_no_projector(recipe: Recipe, tmp_path: Path) -> None:
    run(shortened(recipe, live_pixels=0, max_steps=1), tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard" / "projector").exists()
    assert steps(events(tmp_path / "run"), "prediction/0") == [1]
