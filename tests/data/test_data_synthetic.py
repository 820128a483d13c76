"""The drawn scenes are the same everywhere and every time, made once, whole or not at all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dataset_layouts import scene
from pixelcontrast.data import Synthetic, count_classes
from pixelcontrast.data.datasets import synthetic
from pixelcontrast.errors import DataError


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    counts = {"train": 2, "val": 1}
    monkeypatch.setattr(synthetic, "NUM_IMAGES", counts)
    monkeypatch.setattr(synthetic, "scene", scene)
    return counts


def test_there_are_enough_images() -> None:
    assert synthetic.NUM_IMAGES["train"] >= 200
    assert synthetic.NUM_IMAGES["val"] >= 40


def test_scenes_are_functions_of_split_and_index() -> None:
    image, labels = scene("train", 0)
    again, other, elsewhere = synthetic.scene("train", 0), scene("train", 1), scene("val", 0)
    assert torch.equal(image, again[0])
    assert torch.equal(labels, again[1])
    assert not torch.equal(labels, other[1])
    assert not torch.equal(labels, elsewhere[1])


def test_scenes_hold_classes_and_void_only() -> None:
    for index in range(2):
        image, labels = scene("train", index)
        assert image.shape == (3, 256, 512)
        assert image.dtype == labels.dtype == torch.uint8
        assert set(labels.unique().tolist()) <= {*range(11), 255}
        assert float(image.float().std()) > 10


def test_first_opening_draws_and_later_ones_read(tmp_path: Path, few: dict[str, int]) -> None:
    options = Synthetic(root=str(tmp_path))
    seen: list[tuple[int, int]] = []
    home = options.prepare(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    dataset = options.open("train")
    assert len(dataset) == few["train"]
    image, labels = scene("train", 1)
    assert torch.equal(dataset[1].image, image)
    assert dataset[1].labels is not None
    assert torch.equal(dataset[1].labels, labels)
    times = {path: path.stat().st_mtime_ns for path in home.rglob("*.png")}
    options.prepare()
    assert times == {path: path.stat().st_mtime_ns for path in home.rglob("*.png")}


def test_two_processes_at_once_leave_one_whole_folder(tmp_path: Path, few: dict[str, int]) -> None:
    options = Synthetic(root=str(tmp_path))
    with ThreadPoolExecutor(3) as pool:
        homes = set(pool.map(lambda _: options.prepare(), range(3)))
    assert homes == {options.home()}
    assert list(tmp_path.iterdir()) == [options.home()]


def test_an_interruption_leaves_nothing_half_done(
    tmp_path: Path, few: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Synthetic(root=str(tmp_path))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        options.prepare(interrupt)
    assert list(tmp_path.iterdir()) == []


def test_scenes_are_kept_below_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Synthetic().home().is_relative_to(tmp_path / "pixelcontrast")
    assert Synthetic(root="/data").home().parent == Path("/data")


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"expected a folder to draw .* set data.root=PATH"):
        Synthetic(root=str(tmp_path / "file")).open("train")


@pytest.mark.slow
def test_every_class_occurs_and_small_ones_are_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "NUM_IMAGES", {"train": 1, "val": 40})
    counts = count_classes(Synthetic(root=str(tmp_path)).open("val"))
    assert counts.absent == ()
    shares = dict(zip(counts.names, counts.shares.tolist(), strict=True))
    assert shares["road"] > 0.25
    assert max(shares[name] for name in ("sign", "cyclist", "person", "pole", "fence", "car")) < 0.05
    assert min(counts.images.tolist()) >= 10
    assert counts.ignored > 0
