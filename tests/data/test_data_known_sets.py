"""What single data sets have beside the contract: other releases, other label files, other numbers of classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from dataset_layouts import blocks, cityscapes, coco_numbers, coco_stuff, noise, pascal_context, relabel, save
from pixelcontrast.data import Cityscapes, CocoStuff, PascalContext, label_tables
from pixelcontrast.data.datasets.cityscapes import LABEL_IDS
from pixelcontrast.errors import DataError


def ids_of(options: Cityscapes | CocoStuff | PascalContext, split: str = "train", index: int = 0) -> torch.Tensor:
    labels = options.open(split)[index].labels
    assert labels is not None
    return labels


def test_label_tables_have_the_published_sizes() -> None:
    sizes = {"CAMVID": 11, "CITYSCAPES": 19, "PASCAL_CONTEXT": 59, "COCO_STUFF": 171, "ADE20K": 150}
    for table, size in sizes.items():
        space = getattr(label_tables, table)
        assert space.num_classes == size
        assert len(set(space.palette)) == size


def test_cityscapes_train_ids_need_their_option(tmp_path: Path) -> None:
    layout = cityscapes(tmp_path)
    for (split, name), path in layout.labels.items():
        ids = layout.expected[split][name]
        assert ids is not None
        save(ids, path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    options = Cityscapes(root=str(tmp_path))
    assert torch.equal(ids_of(options), ids_of(replace(options, label_files="train_ids")))


def test_cityscapes_coarse_labels_have_a_split_of_their_own(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    name, ids = "erfurt_000000_000019", blocks(4, 19)
    save(noise(4), tmp_path / "leftImg8bit" / "train_extra" / "erfurt" / f"{name}_leftImg8bit.png")
    raw = relabel(ids, dict(enumerate(LABEL_IDS)), ignored=0)
    save(raw, tmp_path / "gtCoarse" / "train_extra" / "erfurt" / f"{name}_gtCoarse_labelIds.png")
    options = Cityscapes(root=str(tmp_path))
    with pytest.raises(DataError, match="coarse labels only; set data.annotations=coarse"):
        options.open("train_extra")
    np.testing.assert_array_equal(ids_of(replace(options, annotations="coarse"), "train_extra").numpy(), ids)


def test_pascal_context_background_is_ignored_or_the_first_class(tmp_path: Path) -> None:
    pascal_context(tmp_path)
    options = PascalContext(root=str(tmp_path))
    fifty_nine, sixty = ids_of(options), ids_of(replace(options, classes=60))
    assert torch.equal(sixty, torch.where(fifty_nine == 255, 0, fifty_nine + 1))
    assert replace(options, classes=60).label_space.names[0] == "background"


def test_coco_stuff_numbers_may_stay_as_they_are(tmp_path: Path) -> None:
    coco_stuff(tmp_path)
    options = CocoStuff(root=str(tmp_path))
    few, all_ = ids_of(options), ids_of(replace(options, classes=182))
    numbers = coco_numbers()
    assert all_.flatten().tolist() == [numbers.get(i, 255) for i in few.flatten().tolist()]
    assert replace(options, classes=182).label_space.names[numbers[170]] == options.label_space.names[170] == "wood"


@pytest.mark.parametrize("suffix", ["mat", "png"])
def test_coco_stuff_10k_is_recognised_by_its_lists(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "imageLists").mkdir()
    (tmp_path / "annotations").mkdir()
    ids = blocks(1, 171)
    raw = relabel(ids, {label: number + 1 for label, number in coco_numbers().items()}, ignored=0)
    for split, name in (("train", "COCO_train2014_000000000077"), ("test", "COCO_train2014_000000000078")):
        (tmp_path / "imageLists" / f"{split}.txt").write_text(name)
        save(noise(1), tmp_path / "images" / f"{name}.jpg")
        path = tmp_path / "annotations" / f"{name}.{suffix}"
        if suffix == "mat":
            savemat(path, {"S": raw.astype(np.uint16), "names": ["x"]}, do_compression=True)
        else:
            save(raw, path)
    for split in ("train", "val"):
        np.testing.assert_array_equal(ids_of(CocoStuff(root=str(tmp_path)), split).numpy(), ids)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"078.{suffix}: expected"):
        ids_of(CocoStuff(root=str(tmp_path)), "val")


def test_coco_stuff_in_neither_layout_says_both(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="for 164k .* for 10k .*; got nothing"):
        CocoStuff(root=str(tmp_path)).open("train")


def test_names_in_a_list_without_a_file_are_named(tmp_path: Path) -> None:
    pascal_context(tmp_path)
    path = tmp_path / "ImageSets" / "SegmentationContext" / "val.txt"
    path.write_text("2008_000007\n2008_999999\n")
    with pytest.raises(DataError, match=r"JPEGImages: 1 of 2 names in .*val.txt have no file: 2008_999999"):
        PascalContext(root=str(tmp_path)).open("val")
    path.unlink()
    with pytest.raises(DataError, match=r"val.txt: no such file; .* there is train.txt"):
        PascalContext(root=str(tmp_path)).open("val")
