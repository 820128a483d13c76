"""What every data set keeps to, on a fixture in its true layout; a data set without a fixture fails here."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from dataset_layouts import BUILDERS, OTHER_LAYOUTS, Layout, scene
from pixelcontrast.data import (
    DataOptions,
    DataSet,
    Joint,
    count_classes,
    describe,
    evaluation_loader,
    training_loader,
)
from pixelcontrast.data.check import check_data
from pixelcontrast.data.datasets import synthetic
from pixelcontrast.errors import DataError
from pixelcontrast.types import BandStatistics

KINDS: tuple[type[DataOptions], ...] = get_args(DataSet)
STATISTICS = BandStatistics((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[DataOptions]:
    return request.param


@pytest.fixture(params=[*BUILDERS.values(), *OTHER_LAYOUTS], ids=lambda build: build.__name__)
def layout(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(synthetic, "NUM_IMAGES", {"train": 2, "val": 1})
    monkeypatch.setattr(synthetic, "scene", scene)
    build: Callable[[Path], Layout] = request.param
    return build(tmp_path)


def some_pair(layout: Layout) -> tuple[str, str, int]:
    """A split and sample that has labels in a file of their own, and its index."""
    if not layout.labels:
        pytest.skip("all labels lie in one file")
    split, name = next(iter(layout.labels))
    dataset = layout.options.open(split)
    return split, name, next(i for i in range(len(dataset)) if dataset[i].name == name)


def test_every_data_set_has_a_fixture() -> None:
    assert set(BUILDERS) == set(KINDS), "add one to tests/dataset_layouts.py"


def test_options_can_be_written_in_a_recipe(kind: type[DataOptions]) -> None:
    name = get_type_hints(kind)["name"]
    assert get_origin(name) is Literal
    assert getattr(kind(), "name") == get_args(name)[0]  # noqa: B009
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    assert adapter.validate_python(adapter.dump_python(kind(), mode="json")) == kind()
    with pytest.raises(ValidationError, match="batchsize"):
        adapter.validate_python({"batchsize": 8})


def test_every_option_is_documented(kind: type[DataOptions]) -> None:
    documented = " ".join(parent.__doc__ or "" for parent in kind.__mro__)
    for option in fields(kind):
        assert option.name == "name" or re.search(rf"^ +{option.name}: \S", documented, re.MULTILINE), option.name


def test_card_needs_no_files(kind: type[DataOptions]) -> None:
    card = describe(kind)
    assert card.summary.endswith(".")
    assert card.layout
    assert card.splits[0] == "train"
    assert len(card.summary) <= 120


def test_every_split_is_paired_and_read_as_meant(layout: Layout) -> None:
    assert set(layout.expected) <= set(layout.options.splits)
    for split, expected in layout.expected.items():
        dataset = layout.options.open(split)
        samples = {dataset[i].name: dataset[i] for i in range(len(dataset))}
        assert samples.keys() == expected.keys() == set(dataset.names)
        for name, ids in expected.items():
            sample = samples[name]
            assert sample.image.shape[0] == (3 if layout.options.bands is None else len(layout.options.bands.mean))
            if ids is None:
                assert sample.labels is None
            else:
                assert sample.labels is not None
                np.testing.assert_array_equal(sample.labels.numpy(), ids)
                assert sample.labels.shape == sample.image.shape[1:]


def test_ids_are_classes_or_ignored(layout: Layout) -> None:
    dataset = layout.options.open("train")
    assert dataset.label_space == layout.options.label_space
    size = dataset.label_space.num_classes
    found = {value for i in range(len(dataset)) for value in dataset[i].labels.unique().tolist()}  # type: ignore[union-attr]
    assert found <= {*range(size), 255}
    assert 255 in found


def test_absent_classes_are_named(layout: Layout) -> None:
    counts = count_classes(layout.options.open("train"))
    present = {int(i) for ids in layout.expected["train"].values() if ids is not None for i in np.unique(ids)}
    names = layout.options.label_space.names
    assert counts.absent == tuple(name for i, name in enumerate(names) if i not in present)


def test_training_and_evaluation_run(layout: Layout) -> None:
    options = replace(layout.options, batch_size=2, crop_size=(16, 20), workers=0)
    bands = options.bands or STATISTICS
    statistics = {"mean": bands.mean, "std": bands.std}
    batches = list(training_loader(options.open("train"), options, seed=0, start_step=0, num_steps=2, **statistics))
    assert [tuple(batch.image.shape) for batch in batches] == [(2, len(bands.mean), 16, 20)] * 2
    assert all(bool(batch.image.isfinite().all()) and batch.labels.dtype == torch.int64 for batch in batches)
    samples = list(evaluation_loader(options.open("val"), options, **statistics))
    assert len(samples) == len(options.open("val"))


def test_cached_samples_are_the_same(layout: Layout) -> None:
    plain, cached = layout.options.open("train"), replace(layout.options, cache=True).open("train")
    for _ in range(2):
        assert torch.equal(plain[0].image, cached[0].image)


def test_unknown_split_is_refused(layout: Layout) -> None:
    with pytest.raises(DataError, match=r"no split 'trian'; expected one of .*train.* Did you mean 'train'"):
        layout.options.open("trian")


def test_missing_labels_are_found_at_opening(layout: Layout) -> None:
    split, name, _ = some_pair(layout)
    layout.labels[split, name].unlink()
    with pytest.raises(DataError, match=re.escape(layout.images[split, name].stem)):
        layout.options.open(split)


def test_truncated_image_is_named_when_read(layout: Layout) -> None:
    if not layout.images:
        pytest.skip("all images lie in one file")
    (split, name), path = next(iter(layout.images.items()))
    dataset = layout.options.open(split)
    index = next(i for i in range(len(dataset)) if dataset[i].name == name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"{re.escape(path.name)}: expected an image"):
        layout.options.open(split)[index]


def test_labels_of_another_size_are_named_when_read(layout: Layout) -> None:
    split, name, index = some_pair(layout)
    path = layout.labels[split, name]
    with Image.open(path) as picture:
        small = picture.resize((10, 14), Image.Resampling.NEAREST)
    small.save(path)
    with pytest.raises(DataError, match=rf"{re.escape(path.name)}: expected labels of \d+x\d+ .*, got 14x10"):
        layout.options.open(split)[index]


def test_unknown_ids_are_named_when_read(layout: Layout) -> None:
    split, name, index = some_pair(layout)
    path = layout.labels[split, name]
    with Image.open(path) as picture:
        labels = np.asarray(picture).copy()
    labels[2, 3] = layout.unknown_id
    Image.fromarray(labels).save(path)
    unknown = re.escape(str(layout.unknown_id))
    with pytest.raises(DataError, match=rf"{re.escape(path.name)}: (label id|colour) {unknown} at row 2, column 3"):
        layout.options.open(split)[index]


def test_check_finds_no_error_in_a_sound_data_set(layout: Layout) -> None:
    check = check_data(layout.options)
    assert check.number_of("error") == 0, check.findings
    assert {facts.split for facts in check.splits} == set(layout.expected)


def damage(layout: Layout, kind: str) -> Path:
    """Break one file of the fixture; return the one that a message must name."""
    split, name, _ = some_pair(layout)
    image, labels = layout.images[split, name], layout.labels[split, name]
    if kind == "unpaired file":
        labels.unlink()
    elif kind == "unreadable file":
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    elif kind == "wrong form of labels":
        Image.new("L", (10, 14)).save(labels)
        return labels
    else:
        with Image.open(labels) as picture:
            Image.new(picture.mode, picture.size, layout.unknown_id).save(labels)
        return labels
    return image


@pytest.mark.parametrize(
    "kind_of_damage", ["unpaired file", "unreadable file", "wrong form of labels", "unknown label id"]
)
def test_check_finds_one_broken_file(layout: Layout, kind_of_damage: str) -> None:
    path = damage(layout, kind_of_damage)
    errors = [finding for finding in check_data(layout.options).findings if finding.severity == "error"]
    assert [finding.kind for finding in errors] in ([kind_of_damage], [kind_of_damage, "split not there"])
    assert path.stem in errors[0].message + " ".join(errors[0].details)


def test_missing_folder_says_what_is_expected(kind: type[DataOptions], tmp_path: Path) -> None:
    if kind is synthetic.Synthetic:
        pytest.skip("makes its folder")
    if kind is Joint:
        pytest.skip("has no folder of its own")
    with pytest.raises(DataError, match="nowhere does not exist .*expected a folder with"):
        kind(root=str(tmp_path / "nowhere")).open("train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected"):
        kind(root=str(tmp_path / "empty")).open("train")
