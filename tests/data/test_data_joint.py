"""Several data sets in one training: classes meet by name, mistakes show before any file is read, shares hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_layouts import camvid, cityscapes, folder, hub_streamed, joint
from pixelcontrast.data import Camvid, Cityscapes, Folder, Joint, JointPart, LabelSpace, PascalContext, training_loader
from pixelcontrast.data.drawing import drawing
from pixelcontrast.errors import DataError, RecipeError
from pixelcontrast.recipe.difference import differences
from pixelcontrast.recipe.root import dump, load, parse

STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
RENAME = {"pavement": "sidewalk", "tree": "vegetation", "sign": "traffic sign", "pedestrian": "person", "cyclist": None}


def street(root: Path = Path("x"), **changes: object) -> Joint:
    parts = (
        JointPart(data=Cityscapes(root=str(root / "cityscapes"))),
        JointPart(data=Camvid(root=str(root / "camvid")), rename=RENAME),
    )
    return Joint(parts=parts, batch_size=2, crop_size=(16, 16), workers=0, **changes)  # type: ignore[arg-type]


def test_names_that_are_equal_are_one_class() -> None:
    space = street().label_space
    assert space.names == Cityscapes().label_space.names  # CamVid adds none: all of its classes have a place
    assert space.palette[0] == Cityscapes().label_space.palette[0]


def test_classes_may_be_listed_in_another_order() -> None:
    rename = dict.fromkeys(Cityscapes().label_space.names, None) | {"road": "way", "sky": "sky"}
    part = JointPart(data=Cityscapes(), rename=rename)
    assert Joint(parts=(part,), classes=("sky", "way")).label_space.names == ("sky", "way")


def test_labels_are_mapped_and_names_stay_apart(tmp_path: Path) -> None:
    cityscapes(tmp_path / "cityscapes")
    layout = camvid(tmp_path / "camvid")
    dataset = street(tmp_path).open("train")
    assert len(dataset) == 2 + 4
    names = [dataset[i].name for i in range(6)]
    assert list(dataset.names) == names
    assert names[0].startswith("cityscapes/")
    assert names[2:] == [f"camvid/train_{i}" for i in range(4)]
    space, own = dataset.label_space, Camvid().label_space
    for index, name in enumerate(names[2:], start=2):
        ids = layout.expected["train"][name.removeprefix("camvid/")]
        labels = dataset.labels(index)
        assert labels is not None
        assert torch.equal(labels, dataset[index].labels)  # type: ignore[arg-type]
        for old in np.unique(ids):
            joint_name = None if old == 255 else RENAME.get(own.names[old], own.names[old])
            expected = 255 if joint_name is None else space.names.index(joint_name)
            assert set(labels[torch.from_numpy(ids == old)].tolist()) == {expected}


def test_val_holds_the_parts_that_are_evaluated(tmp_path: Path) -> None:
    cityscapes(tmp_path / "cityscapes")
    camvid(tmp_path / "camvid")
    both = street(tmp_path)
    one = replace(both, parts=(both.parts[0], replace(both.parts[1], evaluate=False)))
    assert len(both.open("val")) == 1 + 3
    assert len(one.open("val")) == 1
    assert len(one.open("train")) == 6
    with pytest.raises(DataError, match="no part has the split 'val'"):
        replace(both, parts=(replace(both.parts[1], evaluate=False),)).open("val")


def test_one_data_set_may_be_there_twice(tmp_path: Path) -> None:
    camvid(tmp_path / "camvid")
    part = JointPart(data=Camvid(root=str(tmp_path / "camvid")))
    dataset = Joint(parts=(part, part)).open("train")
    assert {dataset[i].name.partition("/")[0] for i in range(8)} == {"camvid-1", "camvid-2"}


@pytest.mark.parametrize(
    ("parts", "classes", "message"),
    [
        ((), None, "Joint needs its parts"),
        (
            (JointPart(data=Camvid(), rename={"cyclst": "x"}),),
            None,
            r"parts.0.rename: camvid has no class 'cyclst'. Did you",
        ),
        (
            (JointPart(data=Cityscapes()), JointPart(data=Camvid())),
            Cityscapes().label_space.names,
            r"parts.1: class 'pavement' of camvid is not among data.classes; give its name there in data.parts.1",
        ),
        ((JointPart(data=Camvid()),), (*Camvid().label_space.names, "dragon"), "classes: no part has 'dragon'"),
        ((JointPart(data=Folder()),), None, "data.root=PATH"),
    ],
)
def test_mistakes_show_before_files_are_read(
    parts: tuple[JointPart, ...], classes: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _ = Joint(parts=parts, classes=classes).label_space


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("data={name: joint, parts: [{data: {name: camvid, batch_size: 3}}]}", "batch_size is said once for all parts"),
        ("data={name: joint, parts: [{data: camvid, share: 0}]}", "share: expected a positive number, got 0"),
        ("data={name: joint, parts: [{data: camvid, share: 1}, {data: camvid}]}", "a share in all parts or in none"),
        ("data={name: joint, root: x}", "each part has its own"),
        ("data={name: joint, parts: [{data: camvit}]}", "Did you mean 'camvid'"),
        ("data={name: joint, parts: [{data: {name: joint}}]}", "expected one of"),
        ("data={name: joint, parts: [{dta: camvid}]}", "Did you mean 'data'"),
    ],
)
def test_mistakes_in_a_recipe_are_told_in_its_terms(settings: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load("synthetic/hrnet_w18_small", [settings])


def test_a_recipe_of_parts_loads_as_itself_and_its_folders_may_move() -> None:
    text = (
        "data={name: joint, parts: [{data: cityscapes, share: 3}, {data: camvid, share: 1, rename: {cyclist: null}}]}"
    )
    recipe = load("synthetic/hrnet_w18_small", [text])
    assert parse(dump(recipe)) == recipe
    moved = load("synthetic/hrnet_w18_small", [text, "data.parts.0.data.root=/elsewhere"])
    assert moved.data.parts[0].data.root == "/elsewhere"  # type: ignore[union-attr]
    assert differences(recipe, moved) == ()
    other = load("synthetic/hrnet_w18_small", [text, "data.parts.1.rename.cyclist=car"])
    assert len(differences(recipe, other)) == 1


def test_bands_must_agree() -> None:
    bands = Folder(mean=(1.0, 2.0), std=(1.0, 1.0))
    assert Joint(parts=(JointPart(data=bands), JointPart(data=bands))).bands == bands.bands
    with pytest.raises(DataError, match="same bands and statistics"):
        _ = Joint(parts=(JointPart(data=bands), JointPart(data=Camvid()))).bands


def test_shares_are_those_of_the_samples(tmp_path: Path) -> None:
    cityscapes(tmp_path / "cityscapes")
    camvid(tmp_path / "camvid")
    plain = street(tmp_path)
    shared = replace(plain, parts=tuple(replace(p, share=s) for p, s in zip(plain.parts, (3.0, 1.0), strict=True)))
    for options, expected in ((plain, 2 / 6), (shared, 3 / 4)):
        draw = drawing(options.open("train"), options, seed=5)
        drawn = [draw(k).index for k in range(600)]
        assert sum(index < 2 for index in drawn) / 600 == pytest.approx(expected, abs=0.01)
        assert set(drawn) == set(range(6))


def test_a_joint_stream_keeps_to_blocks(tmp_path: Path) -> None:
    parts = tuple(JointPart(data=hub_streamed(tmp_path / name).options) for name in ("a", "b"))  # type: ignore[arg-type]
    options = Joint(parts=parts)
    draw = drawing(options.open("train"), options, seed=0)
    drawn = [draw(k).index for k in range(10)]
    assert sorted(drawn) == list(range(10))


def test_training_runs_over_parts_with_cache_and_without(tmp_path: Path) -> None:
    layout = joint(tmp_path)
    plain = replace(layout.options, batch_size=2, crop_size=(16, 20), workers=0)
    cached = replace(plain, cache=True)
    first, second = (
        list(training_loader(each.open("train"), each, seed=0, start_step=0, num_steps=3, **STATISTICS))
        for each in (plain, cached)
    )
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.image, b.image)
        assert a.names == b.names


def test_a_network_of_many_classes_is_refused_early() -> None:
    many = LabelSpace(tuple(map(str, range(254))), ((0, 0, 0),) * 254)
    assert many.num_classes == 254
    with pytest.raises(DataError, match="259 classes together, expected at most 254"):
        _ = Joint(parts=(JointPart(data=PascalContext()), JointPart(data=folder_of_many()))).label_space


def folder_of_many() -> Folder:
    class Many(Folder):
        @property
        def label_space(self) -> LabelSpace:
            return LabelSpace(tuple(f"class {i}" for i in range(200)), ((0, 0, 0),) * 200)

    return Many()


def test_parts_of_a_users_own_are_joined(tmp_path: Path) -> None:
    own = folder(tmp_path / "own")
    part = JointPart(data=own.options, rename={"soil": "ground"})  # type: ignore[arg-type]
    assert Joint(parts=(part,)).label_space.names == ("ground", "crop", "weed")
