"""What the desk answers is what the network, the labels and the index hold at the places asked about."""

import base64
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pixelcontrast.data.transforms import normalize
from pixelcontrast.engine.pictures import RIGHT, VOID, WRONG
from pixelcontrast.errors import DataError, RunError
from pixelcontrast.explore.choices import Choice
from pixelcontrast.explore.desk import Desk
from pixelcontrast.explore.layers import heat_colours
from pixelcontrast.explore.runs import ExploredRun
from pixelcontrast.recipe.root import Recipe

VAL, TRAIN = Choice("val", "2"), Choice("train", "4")
PIXEL = (37, 61)


@pytest.fixture(scope="module")
def desk(explored: ExploredRun, plain: ExploredRun) -> Desk:
    return Desk([explored, plain])


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def output(run: ExploredRun, recipe: Recipe, choice: Choice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [c h w], probabilities [k H W] and labels [H W], straight from the network."""
    sample = recipe.data.open(choice.split)[int(choice.name)]
    segmentor = run.embedder.segmentor
    with torch.inference_mode():
        found = segmentor(normalize(sample.image, mean=segmentor.mean, std=segmentor.std)[None])
    logits = F.interpolate(found.logits, size=sample.labels.shape, mode="bilinear", align_corners=False)
    return found.features[0], logits[0].softmax(0), sample.labels


def test_layers_are_the_prediction_the_label_and_the_errors(desk: Desk, explored: ExploredRun, recipe: Recipe) -> None:
    _, probabilities, labels = output(explored, recipe, VAL)
    prediction, palette = probabilities.argmax(0), torch.tensor(desk.space.palette)
    shown = picture(desk.layer(0, VAL, "prediction", "features", None).uri)
    assert np.array_equal(shown[..., :3], palette[prediction])
    assert (shown[..., 3] == 255).all()
    shown = picture(desk.layer(0, VAL, "label", "features", None).uri)
    known = (labels != 255).numpy()
    assert np.array_equal(shown[known][:, :3], palette[labels[known].long()])
    assert (shown[~known][:, 3] == 0).all()
    shown = picture(desk.layer(0, VAL, "errors", "features", None).uri)[..., :3]
    right = (labels == prediction).numpy()
    assert (shown[known & right] == RIGHT).all()
    assert (shown[known & ~right] == WRONG).all()
    assert (shown[~known] == VOID).all()


def test_a_legend_holds_what_is_shown(desk: Desk, recipe: Recipe) -> None:
    labels = recipe.data.open("val")[int(VAL.name)].labels
    assert dict(desk.legend(0, VAL, "label")) == {
        int(i): pytest.approx(float((labels == i).float().mean())) for i in labels.unique() if i != 255
    }
    shares = [share for _, share in desk.legend(0, VAL, "prediction")]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
    assert desk.legend(0, VAL, "entropy") == []


@pytest.mark.parametrize("kind", ["features", "projected"])
def test_heat_is_hottest_at_the_chosen_pixel_and_changes_with_it(desk: Desk, kind: str) -> None:
    layer = desk.layer(0, VAL, "similarity", kind, PIXEL)
    assert layer.scale.high == pytest.approx(1, abs=1e-5)
    hottest = heat_colours("viridis")[255]
    cells = desk.look(0, VAL).maps[kind].shape[1:]
    row, column = (
        (int((place + 0.5) * n / size) * 2 + 1) * size // (2 * n)
        for place, n, size in zip(PIXEL, cells, (64, 96), strict=True)
    )
    assert np.abs(picture(layer.uri)[row, column, :3].astype(int) - hottest).max() < 60
    assert desk.layer(0, VAL, "similarity", kind, (5, 5)).uri != layer.uri
    assert "arrow keys" in desk.layer(0, VAL, "similarity", kind, None).note


def test_a_reading_is_what_the_network_says_there(desk: Desk, explored: ExploredRun, recipe: Recipe) -> None:
    _, probabilities, labels = output(explored, recipe, VAL)
    reading = desk.read(0, VAL, PIXEL)
    torch.testing.assert_close(reading.probabilities, probabilities[:, PIXEL[0], PIXEL[1]], atol=1e-5, rtol=1e-4)
    assert reading.label == labels[PIXEL]
    assert desk.read(0, VAL, (0, 0)).label is None


def test_kin_are_the_rows_of_the_index_most_like_the_pixel(desk: Desk, explored: ExploredRun, recipe: Recipe) -> None:
    features, _, _ = output(explored, recipe, VAL)
    vector = F.normalize(features[:, PIXEL[0] * features.shape[1] // 64, PIXEL[1] * features.shape[2] // 96], dim=0)
    stored = explored.index.stored
    for part in ("pixel", "region"):
        cosines = torch.from_numpy(getattr(stored, f"{part}_features")).float() @ vector
        found = desk.kin(0, VAL, "features", PIXEL, part)
        best = cosines.topk(len(found))
        np.testing.assert_allclose([kin.similarity for kin in found], best.values, atol=2e-3)
        first = int(best.indices[0])
        assert found[0].image == stored.names[getattr(stored, f"{part}_image")[first]]
        assert found[0].label == getattr(stored, f"{part}_label")[first]
        assert picture(found[0].crop).size


def test_an_image_is_not_its_own_kin(desk: Desk, explored: ExploredRun) -> None:
    index = explored.index
    for part in ("pixel", "region"):
        own_is_nearest = []
        for choice in (Choice("train", name) for name in index.names):
            found = desk.kin(0, choice, "features", PIXEL, part)
            assert all(kin.image != choice.name for kin in found)
            vector = desk.look(0, choice).maps["features"]
            vector = vector[:, PIXEL[0] * vector.shape[1] // 64, PIXEL[1] * vector.shape[2] // 96]
            nearest = int(index.images(part)[(index.rows(part, "features") @ vector).argmax()])
            own_is_nearest.append(index.names[nearest] == choice.name)
        assert any(own_is_nearest)


def test_a_crop_shows_the_pixel_at_its_centre_within_a_ring(desk: Desk) -> None:
    """Blocks are coloured by their class: 40 times its id, and noise below 40."""
    found = desk.kin(0, VAL, "features", PIXEL, "pixel")
    centres = [picture(kin.crop)[54:58, 54:58, :3].mean() for kin in found]
    assert sum(abs(c - (40 * k.label + 20)) < 20 for c, k in zip(centres, found, strict=True)) > 0.7 * len(found)


def test_a_region_is_bright_and_the_rest_is_dimmed(desk: Desk) -> None:
    """In a network's eyes all may be one; here the pictures are looked at."""
    found = desk.kin(0, VAL, "features", PIXEL, "region")
    for kin in found:
        if kin.label > 1:
            shown = picture(kin.crop)[..., :3].mean(axis=2)
            assert (np.abs(shown - (40 * kin.label + 20)) < 30).mean() > 0.05
            assert (shown < 0.36 * 200).mean() > 0.05


def test_distance_is_0_where_the_memory_holds_the_very_pixel(desk: Desk, explored: ExploredRun) -> None:
    layer = desk.layer(0, VAL, "memory", "features", None)
    assert 0 < layer.scale.low < layer.scale.high < 2
    assert layer.heat == "magma"
    projected = desk.look(0, VAL).maps["projected"]
    other = ExploredRun(explored.path, explored.recipe)
    other.memory = projected.flatten(1).T.contiguous()
    near = Desk([other]).layer(0, VAL, "memory", "features", None)
    assert abs(near.scale.high) < 1e-5


def test_what_a_run_lacks_is_said(desk: Desk, plain_run: object) -> None:
    assert "trained without contrast" in desk.layer(1, VAL, "memory", "features", None).note
    assert "trained without contrast" in desk.layer(1, VAL, "similarity", "projected", PIXEL).note
    assert f"pixelcontrast embed {plain_run} --index" in desk.layer(1, VAL, "index", "features", None).note
    assert f"pixelcontrast embed {plain_run} --index" in desk.kin(1, VAL, "features", PIXEL, "pixel")
    assert f"pixelcontrast embed {plain_run} --index" in desk.suspects(1, "features")
    assert desk.kinds == ("features", "projected")


def test_other_images_are_drawn_without_this_one(desk: Desk) -> None:
    first, second = (desk.others("val", but=VAL, draw=draw) for draw in (0, 1))
    assert VAL not in first
    assert len(set(first)) == 6
    assert first != second
    assert first == desk.others("val", but=VAL, draw=0)
    assert len(desk.others("val", but=TRAIN, draw=0, count=100)) == 8


def test_elsewhere_says_how_alike_the_likest_pixel_is(desk: Desk, explored: ExploredRun, recipe: Recipe) -> None:
    other = Choice("val", "5")
    (here,) = desk.elsewhere(0, VAL, "features", PIXEL, [other])
    vector = desk.look(0, VAL).maps["features"]
    vector = vector[:, PIXEL[0] * vector.shape[1] // 64, PIXEL[1] * vector.shape[2] // 96]
    features, _, _ = output(explored, recipe, other)
    assert here.best == pytest.approx(float((vector @ F.normalize(features, dim=0).flatten(1)).max()), abs=1e-4)
    (before,) = desk.elsewhere(0, VAL, "features", None, [other])
    assert before.layer == ""
    assert before.best is None
    (none,) = desk.elsewhere(1, VAL, "projected", PIXEL, [other])
    assert none.layer == ""


def test_suspects_come_from_other_images_and_bear_another_label(desk: Desk) -> None:
    found = desk.suspects(0, "features")
    assert found
    shares = [each.against / each.asked for each in found]
    assert shares == sorted(shares, reverse=True)
    assert all(each.suggested != each.label and 1 <= each.support <= each.against <= each.asked for each in found)
    assert picture(desk.suspect_crop(0, found[0])).size


def test_runs_of_other_classes_are_refused(explored: ExploredRun, plain: ExploredRun) -> None:
    other = ExploredRun(plain.path, plain.recipe)
    names = ("else", *other.label_space.names[1:])
    other.label_space = type(other.label_space)(names, other.label_space.palette)
    with pytest.raises(RunError, match="other classes"):
        Desk([explored, other])


def test_an_image_that_is_not_there_is_a_message(desk: Desk) -> None:
    with pytest.raises(DataError, match="no image '22' in the val split"):
        desk.picture(Choice("val", "22"))
    with pytest.raises(DataError, match="no split 'vla'"):
        desk.picture(Choice("vla", "2"))
