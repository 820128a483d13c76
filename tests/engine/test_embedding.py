"""Embeddings of a run's network: what the files hold is what the network gives at the places they name."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console

from pixelcontrast.data import reading
from pixelcontrast.data.transforms import normalize
from pixelcontrast.engine.checkpoints import newest_whole_checkpoint
from pixelcontrast.engine.choosing import evenly_spaced
from pixelcontrast.engine.crops import COLUMNS, SIDE, as_sheet, read_sheet
from pixelcontrast.engine.embedding import load_memory
from pixelcontrast.engine.embedding_files import EmbeddingIndex, PixelEmbeddings
from pixelcontrast.engine.embedding_splits import REGION_PIXELS, embed_split, index_split
from pixelcontrast.engine.embedding_walk import Walk
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.errors import DataError, RunError
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.recipe.root import Recipe
from training_runs import run, shortened

QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def recipe(recipe: Recipe) -> Recipe:
    return shortened(recipe, max_steps=2)


@pytest.fixture(scope="module")
def contrast_run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "contrast"
    run(recipe, folder)
    return folder


def embed(run_dir: Path, recipe: Recipe, **changes: int) -> PixelEmbeddings:
    return embed_split(run_dir, recipe, "val", **{"pixels": 132, "seed": 0} | changes, console=QUIET)


def index(run_dir: Path, recipe: Recipe) -> EmbeddingIndex:
    return index_split(run_dir, recipe, "train", pixels=60, regions=40, seed=0, console=QUIET)


def outputs(run_dir: Path, recipe: Recipe, split: str) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Features [c h w], probabilities [k H W] and labels by image name, straight from the deployed network."""
    segmentor = Segmentor.from_pretrained(run_dir)
    found = {}
    dataset = recipe.data.open(split)
    for sample in (dataset[i] for i in range(len(dataset))):
        with torch.inference_mode():
            output = segmentor(normalize(sample.image, mean=segmentor.mean, std=segmentor.std)[None])
        logits = F.interpolate(output.logits, size=sample.image.shape[1:], mode="bilinear", align_corners=False)
        found[sample.name] = (output.features[0], logits.softmax(1)[0], sample.labels)
    return found


def checkpoint_of(run_dir: Path) -> dict[str, torch.Tensor]:
    path = newest_whole_checkpoint(RunFolder(run_dir).checkpoints)
    return torch.load(path, weights_only=True)["state_dict"]


def test_the_same_classes_in_another_order_are_refused(contrast_run: Path, recipe: Recipe) -> None:
    segmentor = Segmentor.from_pretrained(contrast_run)
    segmentor.class_names = segmentor.class_names[::-1]
    with pytest.raises(DataError, match="class 0 of the network is 'cyclist', but that of camvid is 'sky'"):
        Walk(segmentor, recipe.data, "val", device=torch.device("cpu"), console=QUIET)


def test_rows_are_what_the_network_gives_there(contrast_run: Path, recipe: Recipe) -> None:
    found = embed(contrast_run, recipe)
    truth = outputs(contrast_run, recipe, "val")
    state = checkpoint_of(contrast_run)
    assert np.bincount(found.label).tolist() == [12] * 5  # of 11 classes, 5 occur
    for i in range(len(found.label)):
        features, probabilities, labels = truth[str(found.names[found.image[i]])]
        row, column = int(found.row[i]), int(found.column[i])
        height, width = labels.shape
        cell = features[:, row * features.shape[1] // height, column * features.shape[2] // width]
        np.testing.assert_allclose(found.features[i], F.normalize(cell, dim=0), atol=1e-3)
        np.testing.assert_allclose(found.norms[i], cell.norm(), rtol=1e-3)
        hidden = F.relu(state["contrast.head.hidden.weight"] @ cell + state["contrast.head.hidden.bias"])
        projected = state["contrast.head.out.weight"] @ hidden + state["contrast.head.out.bias"]
        np.testing.assert_allclose(found.projected[i], F.normalize(projected, dim=0), atol=2e-3)
        assert found.label[i] == labels[row, column]
        assert found.prediction[i] == probabilities[:, row, column].argmax()
        np.testing.assert_allclose(found.probability[i], probabilities[:, row, column].max(), atol=1e-4)


def test_two_runs_are_looked_at_in_the_same_places(contrast_run: Path, recipe: Recipe, tmp_path: Path) -> None:
    alone = replace(recipe, contrast=None, seed=recipe.seed + 1)
    run(alone, tmp_path / "alone")
    first, second = embed(contrast_run, recipe), embed(tmp_path / "alone", alone)
    assert first.same_pixels(second)
    assert not np.array_equal(first.features, second.features)
    assert second.projected is None
    assert not first.same_pixels(embed(contrast_run, recipe, seed=1))


def test_without_a_checkpoint_there_is_no_projection(contrast_run: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(contrast_run, tmp_path / "moved")
    shutil.rmtree(RunFolder(tmp_path / "moved").checkpoints)
    assert embed(tmp_path / "moved", recipe).projected is None


def test_crops_show_the_pixel_at_their_centre(contrast_run: Path, recipe: Recipe) -> None:
    """The data set's blocks of 16 pixels are coloured by their class: 40 times its id, and noise below 40."""
    found = embed(contrast_run, recipe)
    sheet = np.asarray(Image.open(io.BytesIO(found.crops.tobytes()))).astype(int)
    side, columns = int(found.crop_side), int(found.crop_columns)
    right = 0
    for i, label in enumerate(found.label):
        top, left = i // columns * side, i % columns * side
        centre = sheet[top + side // 2 - 1 : top + side // 2 + 1, left + side // 2 - 1 : left + side // 2 + 1]
        right += abs(centre.mean() - (40 * label + 20)) < 20
    assert right > 0.75 * len(found.label)  # the others lie at the edge of a block


def test_a_sheet_may_be_larger_than_pillow_lets_pictures_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 crops, which `embed --pixels` allows, are more than its limit; here the limit is smaller instead."""
    squares = [Image.new("RGB", (SIDE, SIDE), (0, 0, shade)) for shade in range(0, 250, 3)]
    sheet = as_sheet(squares)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(reading, "_MOST_PIXELS", 2000)
    read = read_sheet(sheet, len(squares))
    assert read.size == (COLUMNS * SIDE, 2 * SIDE)
    assert abs(read.getpixel((SIDE // 2, SIDE + SIDE // 2))[2] - 3 * COLUMNS) < 5
    assert Image.MAX_IMAGE_PIXELS == 1000
    for damaged, count in ((sheet, COLUMNS), (sheet[:500], len(squares)), (sheet[:0], len(squares))):
        with pytest.raises(RunError, match="run `pixelcontrast embed` again"):
            read_sheet(damaged, count)


def test_a_file_gives_back_what_was_saved(contrast_run: Path, recipe: Recipe, tmp_path: Path) -> None:
    for number, stored in enumerate((embed(contrast_run, recipe), index(contrast_run, recipe))):
        path = tmp_path / "deep" / f"{number}.npz"
        stored.save(path)
        again = type(stored).load(path)
        for name, value in vars(stored).items():
            np.testing.assert_array_equal(getattr(again, name), value)


def test_a_wrong_file_is_a_message(contrast_run: Path, recipe: Recipe, tmp_path: Path) -> None:
    index(contrast_run, recipe).save(tmp_path / "index.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "index.npz").read_bytes()[:-100])
    np.savez(tmp_path / "pickled.npz", classes=np.asarray([{}], dtype=object))
    for name in ("index.npz", "torn.npz", "pickled.npz", "missing.npz"):
        with pytest.raises(RunError, match=rf"{name}: expected a file that `pixelcontrast embed` wrote"):
            PixelEmbeddings.load(tmp_path / name)


def test_an_index_holds_the_means_of_regions(contrast_run: Path, recipe: Recipe) -> None:
    found = index(contrast_run, recipe)
    truth = outputs(contrast_run, recipe, "train")
    assert np.bincount(found.region_label).tolist() == [4] * 5
    for i in range(len(found.region_label)):
        features, probabilities, labels = truth[str(found.names[found.region_image[i]])]
        label = int(found.region_label[i])
        top, left, bottom, right = found.region_box[i]
        member = labels == label
        assert member.sum() == member[top:bottom, left:right].sum() == found.region_size[i]
        agreement = (probabilities.argmax(0)[member] == label).float().mean()
        np.testing.assert_allclose(found.region_agreement[i], agreement, atol=1e-3)
        rows, columns = (torch.arange(n) * m // n for n, m in zip(labels.shape, features.shape[1:], strict=True))
        cells = features[:, rows][:, :, columns][:, member]
        mean = F.normalize(F.normalize(cells, dim=0).mean(dim=1), dim=0)
        sampled = member.sum() > REGION_PIXELS
        np.testing.assert_allclose(found.region_features[i], mean, atol=0.05 if sampled else 2e-3)
    np.testing.assert_allclose(np.linalg.norm(found.region_projected.astype(float), axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(found.pixel_features.astype(float), axis=1), 1, atol=2e-3)


def test_the_memory_is_read_without_its_empty_slots(contrast_run: Path, tmp_path: Path) -> None:
    state = checkpoint_of(contrast_run)
    labels, rows = state["contrast.memory.labels"], state["contrast.memory.rows"]
    found = load_memory(contrast_run, most=10**6)
    assert 0 < len(found.labels) < len(labels)
    assert torch.equal(found.labels, labels[labels >= 0])
    assert torch.equal(found.embeddings, rows[labels >= 0])
    few = load_memory(contrast_run, most=5)
    assert few.labels.tolist() == found.labels[evenly_spaced(len(found.labels), most=5)].tolist()
    assert load_memory(tmp_path, most=5) is None


def test_rows_that_lie_class_by_class_keep_their_shares() -> None:
    labels = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)
    assert torch.bincount(labels[evenly_spaced(1000, most=100)]).tolist() == [60, 30, 10]
    assert evenly_spaced(7, most=7).tolist() == list(range(7))
