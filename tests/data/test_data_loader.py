"""The k-th training sample is a pure function of (seed, k)."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pixelcontrast.data import Camvid, DataOptions, SegmentationDataset, evaluation_loader, training_loader
from pixelcontrast.data.order import permutation
from pixelcontrast.errors import DataError, RecipeError
from pixelcontrast.types import Batch

STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def options(camvid_root: Path) -> Camvid:
    return Camvid(root=str(camvid_root), batch_size=2, crop_size=(16, 16), workers=0)


@pytest.fixture
def dataset(options: Camvid) -> SegmentationDataset:
    return options.open("train")


def load(dataset: SegmentationDataset, options: DataOptions, **where: int) -> list[Batch]:
    steps = {"seed": 7, "start_step": 0, "num_steps": 5} | where
    return list(training_loader(dataset, options, **steps, **STATISTICS))  # type: ignore[arg-type]


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a.image, b.image) and torch.equal(a.labels, b.labels) and a.names == b.names
        for a, b in zip(left, right, strict=True)
    )


def test_workers_change_nothing(dataset: SegmentationDataset, options: Camvid) -> None:
    assert same(load(dataset, options), load(dataset, replace(options, workers=2)))


def test_cache_changes_nothing(dataset: SegmentationDataset, options: Camvid) -> None:
    assert same(load(dataset, options), load(replace(options, cache=True).open("train"), options))


def test_ranks_share_each_batch_in_order(dataset: SegmentationDataset, options: Camvid) -> None:
    options = replace(options, batch_size=4)
    whole = load(dataset, options)
    shares = [load(dataset, options, rank=rank, world_size=2) for rank in (0, 1)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(batch.image, torch.cat([first.image, second.image]))
        assert batch.names == first.names + second.names


def test_a_run_can_start_at_any_step(dataset: SegmentationDataset, options: Camvid) -> None:
    assert same(load(dataset, options)[3:], load(dataset, options, start_step=3))


def test_batch_size_does_not_change_the_stream(dataset: SegmentationDataset, options: Camvid) -> None:
    small = load(dataset, options, num_steps=4)
    large = load(dataset, replace(options, batch_size=4), num_steps=2)
    assert torch.equal(torch.cat([b.image for b in small]), torch.cat([b.image for b in large]))


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_global_generator_alone(dataset: SegmentationDataset, options: Camvid, workers: int) -> None:
    options = replace(options, workers=workers)
    before = torch.get_rng_state()
    load(dataset, options)
    list(evaluation_loader(dataset, options, **STATISTICS))
    assert torch.equal(before, torch.get_rng_state())


def test_another_seed_gives_another_stream(dataset: SegmentationDataset, options: Camvid) -> None:
    assert not same(load(dataset, options), load(dataset, options, seed=8))


def test_every_image_comes_once_an_epoch(dataset: SegmentationDataset, options: Camvid) -> None:
    names = [name for batch in load(dataset, options, num_steps=6) for name in batch.names]
    for epoch in range(3):
        assert len(set(names[4 * epoch : 4 * epoch + 4])) == 4


def test_epochs_differ_in_order() -> None:
    orders = {tuple(permutation(20, seed=3, epoch=epoch).tolist()) for epoch in range(10)}
    assert len(orders) == 10


def test_one_image_seen_again_is_transformed_anew(dataset: SegmentationDataset, options: Camvid) -> None:
    seen: dict[str, torch.Tensor] = {}
    for batch in load(dataset, options, num_steps=4):
        for name, image in zip(batch.names, batch.image, strict=True):
            assert name not in seen or not torch.equal(seen[name], image)
            seen[name] = image


def test_batches_that_do_not_divide_are_refused(dataset: SegmentationDataset, options: Camvid) -> None:
    with pytest.raises(RecipeError, match=r"multiple of the 3 ranks, got 2; set data.batch_size=3"):
        load(dataset, options, world_size=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_files_arrive_as_they_are(camvid_root: Path, options: Camvid, workers: int) -> None:
    dataset = options.open("train")
    Image.new("L", (32, 24), 37).save(camvid_root / "trainannot" / "train_2.png")
    with pytest.raises(DataError, match=r"^[^\n]*train_2.png: label id 37[^\n]*$"):
        load(dataset, replace(options, workers=workers))


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_gives_each_image_once_over_all_ranks(camvid_root: Path, options: Camvid, workers: int) -> None:
    dataset = options.open("val")
    options = replace(options, workers=workers)
    names = []
    for rank in (0, 1):
        for sample in evaluation_loader(dataset, options, rank=rank, world_size=2, **STATISTICS):
            assert sample.image.shape == (1, 3, 24, 32)
            assert sample.labels.shape == (24, 32)
            assert sample.labels.dtype == torch.int64
            names.append(sample.name)
    assert sorted(names) == [dataset[i].name for i in range(len(dataset))]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("crop_size", (0, 8)),
        ("workers", -1),
        ("scale", (2.0, 1.0)),
        ("flip", 1.5),
        ("max_class_share", 0.0),
    ],
)
def test_options_are_checked(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: expected .*, got "):
        Camvid(**{field: value})  # type: ignore[arg-type]
