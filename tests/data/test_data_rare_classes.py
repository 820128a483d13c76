"""Rare classes are drawn more often, crops show them, and the k-th sample stays a function of (seed, k)."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_layouts import hub_streamed, noise, save
from pixelcontrast.data import Camvid, RareClasses, training_loader
from pixelcontrast.data.drawing import drawing
from pixelcontrast.data.rare_classes import class_probability, pixels_by_image
from pixelcontrast.errors import DataError
from pixelcontrast.types import Batch

STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
SIZE = (48, 64)


@pytest.fixture
def options(tmp_path: Path) -> Camvid:
    """Ten images of road and sky; a cyclist of 2x2 pixels in one of them, a pole of 3x10 in three."""
    for index in range(10):
        labels = np.where(np.arange(48)[:, None] < 24, 0, 3).repeat(64, axis=1).astype(np.uint8)
        if index == 4:
            labels[30:32, 50:52] = 10
        if index in (1, 4, 7):
            labels[10:20, 5:8] = 2
        save(labels, tmp_path / "trainannot" / f"{index}.png")
        save(noise(index, size=SIZE), tmp_path / "train" / f"{index}.png")
    return Camvid(root=str(tmp_path), batch_size=2, crop_size=(16, 16), workers=0, scale=(0.5, 2.0))


def batches(options: Camvid, **where: int) -> list[Batch]:
    steps = {"seed": 7, "start_step": 0, "num_steps": 6} | where
    return list(training_loader(options.open("train"), options, **steps, **STATISTICS))  # type: ignore[arg-type]


def test_labels_are_counted_by_image(options: Camvid) -> None:
    pixels = pixels_by_image(options.open("train"))
    assert pixels.shape == (10, 11)
    assert pixels[4].tolist() == [24 * 64 - 30, 0, 30, 24 * 64 - 4, 0, 0, 0, 0, 0, 0, 4]
    assert pixels[:, 2].nonzero().flatten().tolist() == [1, 4, 7]


def test_probability_is_the_formula() -> None:
    pixels = torch.tensor([500, 0, 499, 1])
    weights = [0.0 if count == 0 else math.exp((1 - count / 1000) / 0.1) for count in pixels.tolist()]
    expected = [weight / sum(weights) for weight in weights]
    assert class_probability(pixels, 0.1).tolist() == pytest.approx(expected)
    assert class_probability(pixels, 0.01)[3] > 0.99


def test_rare_images_come_more_often(options: Camvid) -> None:
    often = replace(options, rare_classes=RareClasses(images=1.0, crops=0.0, temperature=0.01, min_pixels=1))
    draw = drawing(often.open("train"), often, seed=0)
    drawn = [draw(k).index for k in range(400)]
    # Cyclist and pole are about equally rare, and share what is drawn; the cyclist has one image, the pole three.
    assert drawn.count(4) / 400 == pytest.approx(1 / 2 + 1 / 6, abs=0.08)
    assert set(drawn) <= {1, 4, 7}
    assert all(draw(k).shown is None for k in range(20))


def test_an_image_needs_enough_of_a_class(options: Camvid) -> None:
    few = replace(options, rare_classes=RareClasses(images=1.0, min_pixels=5))
    draw = drawing(few.open("train"), few, seed=0)
    # No image has five pixels of a cyclist, so that one is enough there; all poles have more.
    assert {draw(k).index for k in range(60)} == {1, 4, 7}


def test_crops_show_the_class(options: Camvid) -> None:
    shown = replace(options, rare_classes=RareClasses(images=1.0, crops=1.0, min_pixels=1), scale=(1.0, 1.0))
    draw = drawing(shown.open("train"), shown, seed=7)
    labels = torch.cat([batch.labels for batch in batches(shown, num_steps=15)])
    for k, crop in enumerate(labels):
        assert bool((crop == draw(k).shown).any())
    plain = torch.cat([batch.labels for batch in batches(replace(options, scale=(1.0, 1.0)), num_steps=15)])
    seen = [sum(bool((crop == 10).any()) for crop in crops) for crops in (plain, labels)]
    assert seen[1] > seen[0] + 5


def test_crops_about_a_pixel_stay_inside_and_lie_anywhere_about_it(options: Camvid) -> None:
    shown = replace(options, rare_classes=RareClasses(images=1.0, crops=1.0, min_pixels=1), scale=(1.0, 1.0), flip=0.0)
    draw = drawing(shown.open("train"), shown, seed=7)
    places = set()
    for k, crop in enumerate(torch.cat([batch.labels for batch in batches(shown, num_steps=30)])):
        assert not bool((crop == 255).any()), "a crop that leaves the image would be padded"
        if draw(k).shown == 10:
            places.add(tuple((crop == 10).nonzero()[0].tolist()))
    assert len(places) > 8


def test_other_samples_come_in_the_usual_order(options: Camvid) -> None:
    usual = drawing(options.open("train"), options, seed=3)
    none = replace(options, rare_classes=RareClasses(images=0.0, crops=0.0))
    never = drawing(none.open("train"), none, seed=3)
    assert [never(k) for k in range(30)] == [usual(k) for k in range(30)]
    half = replace(options, rare_classes=RareClasses(images=0.5, crops=0.0, min_pixels=1))
    some = drawing(half.open("train"), half, seed=3)
    same = sum(some(k) == usual(k) for k in range(200)) / 200
    assert 0.5 <= same <= 0.75  # half of them, and those by chance


def test_classes_of_an_image_are_drawn_for_its_crop(options: Camvid) -> None:
    crops = replace(options, rare_classes=RareClasses(images=0.0, crops=1.0))
    dataset = crops.open("train")
    draw, pixels = drawing(dataset, crops, seed=0), pixels_by_image(dataset)
    for k in range(40):
        drawn = draw(k)
        assert drawn.shown is not None
        assert pixels[drawn.index, drawn.shown] > 0


def test_the_stream_is_a_function_of_seed_and_k(options: Camvid) -> None:
    rare = replace(options, rare_classes=RareClasses(images=0.5, crops=0.5, min_pixels=1))
    whole = batches(rare)
    for other, expected in (
        (batches(rare, start_step=4), whole[4:]),
        (batches(replace(rare, workers=2)), whole),
    ):
        for batch, wanted in zip(other, expected, strict=True):
            assert torch.equal(batch.image, wanted.image)
            assert torch.equal(batch.labels, wanted.labels)
    assert any(not torch.equal(a.image, b.image) for a, b in zip(whole, batches(rare, seed=8), strict=True))


def test_a_split_without_a_class_is_refused(options: Camvid) -> None:
    for path in (options.folder() / "trainannot").iterdir():
        save(np.full(SIZE, 11, np.uint8), path)
    with pytest.raises(DataError, match="ignored pixels alone"):
        batches(replace(options, rare_classes=RareClasses()))


def test_a_stream_cannot_be_drawn_from(tmp_path: Path) -> None:
    streamed = replace(hub_streamed(tmp_path / "data").options, rare_classes=RareClasses())
    with pytest.raises(DataError, match="a stream cannot; set data.streaming=false"):
        drawing(streamed.open("train"), streamed, seed=0)


@pytest.mark.parametrize(
    "wrong",
    [{"images": 1.5}, {"crops": -0.1}, {"temperature": 0.0}, {"min_pixels": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_options_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}: expected"):
        RareClasses(**wrong)  # type: ignore[arg-type]
