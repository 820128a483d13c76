"""Files that people drop: read if they are images of a bearable size, refused with a message if not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelcontrast.errors import DataError
from pixelcontrast.explore import choices
from pixelcontrast.explore.choices import Choice, Picture, Splits, pixels_for, read_dropped
from pixelcontrast.recipe.root import Recipe


def test_a_dropped_image_has_its_pixels_and_no_labels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_dropped(tmp_path / "a.png")
    assert np.array_equal(found.pixels.permute(1, 2, 0), pixels)
    assert found.labels is None
    assert found.title == "a.png"


@pytest.mark.parametrize(
    ("name", "content"), [("text.png", b"no picture"), ("empty.jpg", b""), ("torn.png", None), ("huge.png", None)]
)
def test_a_bad_file_is_a_message_that_names_it_and_no_place_of_the_machine(
    tmp_path: Path, name: str, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if content is None:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
        if name.startswith("torn"):
            path.write_bytes(path.read_bytes()[:900])
        else:
            monkeypatch.setattr(choices, "MOST_DROPPED_PIXELS", 64 * 64 - 1)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=name) as raised:
        read_dropped(path)
    assert str(tmp_path) not in str(raised.value)


def test_a_large_picture_is_made_smaller_in_its_shape() -> None:
    pixels = torch.zeros(3, 40, 80, dtype=torch.uint8)
    pixels[:, :, 40:] = 200
    labels = (pixels[0] > 0).long()
    fitted = Picture("a", pixels, labels).fitted(800)
    assert fitted.size == (20, 40)
    assert fitted.pixels[0, 10].tolist()[:19] == [0] * 19
    assert fitted.labels[10].tolist() == [0] * 20 + [1] * 20
    small = Picture("a", pixels, labels)
    assert small.fitted(3200) is small


def test_other_bands_stay_what_they_are_and_are_made_visible() -> None:
    bands = torch.rand(5, 40, 80) * 3000
    fitted = Picture("a", bands, None).fitted(800)
    assert fitted.image.shape == (5, 20, 40)
    assert fitted.image.max() > 1000
    assert fitted.pixels.shape == (3, 20, 40)
    assert fitted.pixels.dtype == torch.uint8


def test_many_classes_mean_fewer_pixels() -> None:
    assert pixels_for(19) == 1024 * 2048
    assert pixels_for(171) * 171 <= choices.MOST_PROBABILITIES
    assert pixels_for(171) > 700 * 1000


def test_splits_list_what_is_there(recipe: Recipe) -> None:
    splits = Splits(recipe.data)
    assert splits.names == ("val", "train")
    assert list(splits.images("val")) == [str(i) for i in range(8)]
    found = splits.read(Choice("train", "3"))
    sample = recipe.data.open("train")[3]
    assert torch.equal(found.pixels, sample.image)
    assert torch.equal(found.labels, sample.labels)
    assert found.title == "train: 3"
