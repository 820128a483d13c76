"""A user's own folder: how classes are written, pairs listed, masks read, and what is said when something is off."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_layouts import blocks, folder, noise, relabel, save
from pixelcontrast.data import Folder, LabelSpace
from pixelcontrast.errors import DataError


@pytest.fixture
def options(tmp_path: Path) -> Folder:
    folder(tmp_path)
    return Folder(root=str(tmp_path))


def write_classes(options: Folder, text: str) -> None:
    (options.folder() / "classes.yaml").write_text(text)


def labels_of(options: Folder, index: int = 0) -> torch.Tensor:
    labels = options.open("train")[index].labels
    assert labels is not None
    return labels


def test_names_may_map_to_ids_in_any_order(options: Folder) -> None:
    before = labels_of(options)
    write_classes(options, "{weed: 2, soil: 0, crop: 1}")
    assert options.label_space.names == ("weed", "soil", "crop")
    moved = {0: 1, 1: 2, 2: 0, 255: 255}
    assert labels_of(options).flatten().tolist() == [moved[i] for i in before.flatten().tolist()]


def test_colours_may_be_given(options: Folder) -> None:
    write_classes(options, "soil: {id: 0, color: [120, 90, 60]}\ncrop: 1\nweed: {id: 2}\n")
    space = options.label_space
    assert space.palette[0] == (120, 90, 60)
    assert len(set(space.palette)) == 3


def test_masks_of_0_and_255_are_two_classes(options: Folder) -> None:
    for path in (options.folder() / "labels" / "train").iterdir():
        save(relabel(blocks(0, 3), {0: 0, 1: 255}, ignored=0), path)
    write_classes(options, "{background: 0, crack: 255}")
    assert set(labels_of(options).unique().tolist()) == {0, 1}


def test_palette_pngs_give_ids(options: Folder) -> None:
    path = options.folder() / "labels" / "train" / "train-0.png"
    before = labels_of(options)
    with Image.open(path) as picture:
        colored = Image.frombytes("P", picture.size, picture.tobytes())
    colored.putpalette([value for i in range(256) for value in (255 - i, i // 2, 9)])
    colored.save(path)
    assert torch.equal(labels_of(options), before)


def test_zero_may_mean_no_class(options: Folder) -> None:
    before = labels_of(options)
    for path in (options.folder() / "labels" / "train").iterdir():
        with Image.open(path) as picture:
            ids = np.asarray(picture)
        save(np.where(ids == 255, 0, ids + 1).astype(np.uint8), path)
    assert torch.equal(labels_of(replace(options, reduce_zero_label=True)), before)


def test_other_ids_may_be_ignored(options: Folder) -> None:
    write_classes(options, "[soil]")
    with pytest.raises(DataError, match=r"label id 1 at .* expected ids 0, 255\. .*classes.yaml, or .*data.ignore_ids"):
        labels_of(options)
    assert set(labels_of(replace(options, ignore_ids=(1, 255))).unique().tolist()) == {0, 255}


def test_what_is_ignored_is_no_class_and_an_id_of_a_byte(options: Folder) -> None:
    with pytest.raises(DataError, match=r"\[0\] are ignored and are classes in .*classes.yaml as well"):
        replace(options, ignore_ids=(0, 255)).open("train")
    for ids in ((255, 65535), (255, -100)):
        with pytest.raises(DataError, match="expected ids in the files from 0 to 255"):
            replace(options, ignore_ids=ids).open("train")
    write_classes(options, "{soil: 255}")
    with pytest.raises(DataError, match=r"from 0 to 255, got \[256\]"):
        replace(options, reduce_zero_label=True).open("train")


def test_labels_that_are_jpegs_are_refused(options: Folder) -> None:
    path = options.folder() / "labels" / "train" / "train-0.png"
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"))
    path.unlink()
    with pytest.raises(DataError, match="got a JPEG, which changes them"):
        labels_of(options)


def test_labels_turned_beside_their_image_are_told_apart_from_a_wrong_size(options: Folder) -> None:
    path = options.folder() / "labels" / "train" / "train-0.png"
    save(blocks(0, 3, size=(32, 24)), path)
    save(noise("a", size=(24, 32)), options.folder() / "images" / "train" / "train-0.jpg")
    with pytest.raises(DataError, match="one of the two is turned, maybe by EXIF"):
        labels_of(options)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_pairs_may_be_listed(options: Folder, suffix: str) -> None:
    rows = [
        {"image": f"images/train/train-{i}.jpg", "labels": f"labels/train/train-{i}.png", "split": split}
        for i, split in enumerate(("val", "train", "train"))
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    if suffix == "csv":
        text = "\n".join(["image,labels,split"] + [",".join(row.values()) for row in rows])
    (options.folder() / f"pairs.{suffix}").write_text(text)
    listed = replace(options, pairs=f"pairs.{suffix}")
    assert [listed.open("train")[i].name for i in range(2)] == ["images/train/train-1", "images/train/train-2"]
    assert len(listed.open("val")) == 1
    with pytest.raises(DataError, match="expected rows with split 'test', got none"):
        listed.open("test")


def test_what_else_a_row_holds_does_not_matter(options: Folder) -> None:
    row = {"image": "images/train/train-0.jpg", "labels": "labels/train/train-0.png", "split": "train"}
    (options.folder() / "pairs.jsonl").write_text(json.dumps(row | {"boxes": [[1, 2]], "checked": None}))
    assert len(replace(options, pairs="pairs.jsonl").open("train")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,labels,split\nimages/gone.jpg,labels/train/train-0.png,train\n",
            "row 1 names .*gone.jpg, which is not",
        ),
        ("picture,labels\na,b\n", r"row 1 has \['labels', 'picture'\]; expected image, labels and split"),
        ("image,labels,split\nimages/train/train-0.jpg,,train\n", "row 1 .* has no labels"),
        ("image,labels,split\nimages/train/train-0.jpg,labels/train/train-0.png,Train\n", "Did you mean 'train'"),
        (
            "image,labels,split\n"
            "images/train/train-0.jpg,labels/train/train-0.png,train\n"
            "images/train/train-0.jpg,labels/train/train-1.png,train \n",
            "has two files of labels",
        ),
        ("image,labels,split\nimages/a,b.jpg,labels/a,b.png,train\n", "row 1 has more cells than there are names"),
    ],
)
def test_wrong_rows_are_named(options: Folder, text: str, message: str) -> None:
    (options.folder() / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        replace(options, pairs="pairs.csv").open("train")


@pytest.mark.parametrize(
    "text",
    [
        "soil",
        "{soil: 0, crop: 0}",
        "{soil: -1}",
        "{soil: red}",
        "[a, a: b",
        "{soil: {color: [1, 2, 3]}}",
        "[]",
        "[{name: car, id: 1}, {name: road, id: 0}]",
        "[[128, 0, 0]]",
        "[null]",
        "[yes, no]",
        "{yes: 0}",
        "[a, b, a]",
    ],
)
def test_other_classes_files_are_refused(options: Folder, text: str) -> None:
    write_classes(options, text)
    with pytest.raises(DataError, match=r"classes.yaml: expected a list of names .*, or a mapping from name to id"):
        options.open("train")


def test_missing_classes_file_says_what_to_write(options: Folder) -> None:
    (options.folder() / "classes.yaml").unlink()
    with pytest.raises(
        DataError, match=r"classes.yaml: no such file; expected a list of names.* there is images/, lab"
    ):
        options.open("train")


def test_image_formats_may_differ_from_file_to_file(options: Folder) -> None:
    root = options.folder() / "images" / "train"
    (root / "train-0.jpg").unlink()
    save(noise(0)[..., 0], root / "train-0.png")
    image = options.open("train")[0].image
    assert torch.equal(image[0], image[2])


def test_label_space_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="expected 1 to 254 classes, got 0"):
        LabelSpace((), ())
    with pytest.raises(ValueError, match=r"class names must differ, but \['a'\]"):
        LabelSpace(("a", "a"), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(ValueError, match="one colour a class: 2 names, 1 colours"):
        LabelSpace(("a", "b"), ((0, 0, 0),))


def test_labels_may_be_drawn_in_colours(options: Folder) -> None:
    before = labels_of(options)
    write_classes(
        options, "soil: {id: 0, color: [120, 90, 60]}\ncrop: {id: 1, color: [0, 200, 0]}\nweed: {color: [7, 7, 7]}\n"
    )
    drawn = np.array([[120, 90, 60], [0, 200, 0], [7, 7, 7], *[[0, 0, 0]] * 253], np.uint8)
    path = options.folder() / "labels" / "train" / "train-0.png"
    save(drawn[before.numpy()], path)
    colored = replace(options, label_colors=True)
    assert torch.equal(labels_of(colored), before)
    save(np.full((24, 32, 3), 9, np.uint8), path)
    with pytest.raises(
        DataError, match=r"train-0.png: colour \(9, 9, 9\) at row 0, column 0 .*the colours in .*classes"
    ):
        labels_of(colored)


def test_drawings_need_a_colour_for_each_class_and_no_ids(options: Folder) -> None:
    colored = replace(options, label_colors=True)
    write_classes(options, "crop: {color: [0, 200, 0]}\nsoil: {color: [120, 90, 60]}\n")
    assert colored.label_space == LabelSpace(("crop", "soil"), ((0, 200, 0), (120, 90, 60)))
    write_classes(options, "crop: {color: [0, 200, 0]}\nsoil: 1\n")
    with pytest.raises(DataError, match=r"with data.label_colors, a mapping .*; 'soil' has no color"):
        colored.open("train")
    write_classes(options, "[crop, soil]")
    with pytest.raises(DataError, match="'crop' has no color"):
        _ = colored.label_space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop: {id: 0, colour: [0, 200, 0]}", "'crop' has 'colour', which is none of id, color. Did you mean 'color'"),
        ("crop: {color: [0, 200, 0]}", "'crop' has no id"),
        (str([f"c{i}" for i in range(255)]), "at most 254 classes can be told apart, got 255"),
        ("{soil: 0, crop: 3, tree: 0, road: 256}", "lie in 0 to 255, got 256$"),
        ("{soil: 0, crop: 3, tree: 0}", "ids must differ .*, got 0$"),
    ],
)
def test_what_is_wrong_with_the_classes_is_named(options: Folder, text: str, message: str) -> None:
    write_classes(options, text)
    with pytest.raises(DataError, match=message):
        options.open("train")


def test_ids_one_too_high_are_told_both_readings(options: Folder) -> None:
    write_classes(options, "[soil]")
    with pytest.raises(DataError, match=r"data.ignore_ids=.*; or if 0 is no class and 1 the last one, set data.reduce"):
        labels_of(options)
    write_classes(options, "{soil: 0, weed: 7}")
    with pytest.raises(DataError, match=r"data.ignore_ids=\[255,...\] if it is at most 255$"):
        labels_of(options)


def test_a_drawing_taken_for_ids_is_told_how_to_be_read(options: Folder) -> None:
    save(np.zeros((24, 32, 3), np.uint8), options.folder() / "labels" / "train" / "train-0.png")
    with pytest.raises(DataError, match="3 channels of colour; .* data.label_colors=true"):
        labels_of(options)


def test_a_colour_is_of_one_class_and_has_no_id(options: Folder) -> None:
    write_classes(options, "road: {id: 0, color: [255, 0, 0]}\nbus: {id: 1, color: [255, 0, 0]}\n")
    with pytest.raises(DataError, match=r"'road' and 'bus' are both drawn in \[255, 0, 0\]"):
        replace(options, label_colors=True).open("train")
    with pytest.raises(ValueError, match="label_colors goes without ignore_ids"):
        replace(options, label_colors=True, ignore_ids=(2,))


def test_classes_may_be_the_hubs(options: Folder) -> None:
    before = labels_of(options)
    (options.folder() / "id2label.json").write_text('{"0": "soil", "2": "weed", "1": "crop"}')
    other = replace(options, classes="id2label.json")
    assert other.label_space.names == ("soil", "crop", "weed")
    assert torch.equal(labels_of(other), before)
    for text in ('{"0": "soil", "1": "soil"}', "[1]", '{"a": "soil"}', "{"):
        (options.folder() / "id2label.json").write_text(text)
        with pytest.raises(DataError, match=r"id2label.json: expected"):
            other.open("train")
