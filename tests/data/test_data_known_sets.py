"""What single data sets have beside the contract: other releases, other label files, other numbers of classes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from dataset_layouts import (
    blocks,
    camvid_original,
    cityscapes,
    coco_numbers,
    coco_stuff,
    coco_stuff_10k,
    encode_runs,
    noise,
    pascal_context,
    pascal_context_merged,
    relabel,
    save,
)
from pixelcontrast.data import Camvid, Cityscapes, CocoStuff, PascalContext, label_tables
from pixelcontrast.data.datasets.camvid import segnet_split
from pixelcontrast.data.datasets.cityscapes import LABEL_IDS
from pixelcontrast.data.merged_masks import decode_runs
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


def test_cityscapes_labels_of_the_other_form_are_named(tmp_path: Path) -> None:
    layout = cityscapes(tmp_path)
    for path in layout.labels.values():
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    found = r"in \S+aachen there is .*labelTrainIds.png.* with data.label_files=train_ids"
    with pytest.raises(DataError, match=r"expected CITY/\*_gtFine_labelIds.png; " + found):
        layout.options.open("train")


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


def test_coco_stuff_10k_may_lie_in_matlab_files(tmp_path: Path) -> None:
    layout = coco_stuff_10k(tmp_path)
    expected = ids_of(CocoStuff(root=str(tmp_path)), "val")
    for path in layout.labels.values():
        with Image.open(path) as picture:
            raw = np.asarray(picture).astype(np.uint16)
        path.unlink()
        savemat(path.with_suffix(".mat"), {"S": raw, "names": ["x"]}, do_compression=True)
    assert torch.equal(ids_of(CocoStuff(root=str(tmp_path)), "val"), expected)
    path = path.with_suffix(".mat")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"078.mat: expected"):
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


class TestMergedMasks:
    # Of pycocotools 2.0: a mask of 37x53 with a pixel at its corner, a block with a gap, and another corner.
    PUBLISHED = f"01k56WJ1b0{23 * 'O^O1b0'}O^O1ah0O[XO000"

    def mask(self) -> np.ndarray:
        mask = np.zeros((37, 53), np.uint8)
        mask[3:20, 5:30] = 1
        mask[10:12, :] = 0
        mask[30:, 50:] = 1
        mask[0, 0] = 1
        return mask

    def test_the_text_is_cocos(self) -> None:
        assert encode_runs(self.mask()) == self.PUBLISHED
        runs = decode_runs(self.PUBLISHED)
        painted = np.repeat(np.arange(len(runs)) % 2, runs).reshape(53, 37).T
        np.testing.assert_array_equal(painted, self.mask())

    @given(st.lists(st.booleans(), min_size=1, max_size=200))
    def test_decoding_undoes_encoding(self, pixels: list[bool]) -> None:
        mask = np.array(pixels)[:, None]
        runs = decode_runs(encode_runs(mask))
        np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2 == 1, runs), mask[:, 0])

    def test_a_mask_that_is_cut_short_is_named(self, tmp_path: Path) -> None:
        pascal_context_merged(tmp_path)
        path = tmp_path / "trainval_merged.json"
        content = json.loads(path.read_text())
        for text in ("", "P"):
            content["annos_segmentation"][0]["segmentation"]["counts"] = text
            path.write_text(json.dumps(content))
            with pytest.raises(DataError, match=r"merged.json: expected a mask of 24x32 for category 1 of 2008_000002"):
                ids_of(PascalContext(root=str(tmp_path)))

    def test_the_same_classes_come_out_of_every_form(self, tmp_path: Path) -> None:
        pascal_context_merged(tmp_path)
        sixty = ids_of(PascalContext(root=str(tmp_path), classes=60))
        fifty_nine = ids_of(PascalContext(root=str(tmp_path)))
        assert torch.equal(sixty, torch.where(fifty_nine == 255, 0, fifty_nine + 1))

    @pytest.mark.parametrize("text", ["{", "[]", '{"images": []}'])
    def test_another_file_is_refused(self, tmp_path: Path, text: str) -> None:
        pascal_context_merged(tmp_path)
        (tmp_path / "trainval_merged.json").write_text(text)
        with pytest.raises(DataError, match=r"trainval_merged.json: expected the JSON of PASCAL-Context's annotations"):
            PascalContext(root=str(tmp_path)).open("train")

    def test_an_image_that_is_missing_is_left_over(self, tmp_path: Path) -> None:
        pascal_context_merged(tmp_path)
        (tmp_path / "JPEGImages" / "2008_000003.jpg").unlink()
        with pytest.raises(DataError, match=r"1 of 2 images of phase 'train' .* have no file: 2008_000003.jpg"):
            PascalContext(root=str(tmp_path)).open("train")


class TestOriginalCamvid:
    def test_the_split_of_a_frame_is_segnets(self, real_camvid: Path) -> None:
        for split in ("train", "val"):
            assert {segnet_split(path.stem) for path in (real_camvid / split).iterdir()} == {split}

    def test_lists_decide_where_there_are_any(self, tmp_path: Path) -> None:
        camvid_original(tmp_path)
        (tmp_path / "train.txt").write_text(
            "/x/train/0001TP_008550.png /x/trainannot/0001TP_008550.png\n0016E5_07959\n"
        )
        assert [sample.name for sample in Camvid(root=str(tmp_path)).open("train")] == ["0001TP_008550", "0016E5_07959"]
        (tmp_path / "val.txt").write_text("0016E5_99999.png\n")
        with pytest.raises(DataError, match=r"val.txt: 1 frames are not in 701_StillsRaw_full: 0016E5_99999; add"):
            Camvid(root=str(tmp_path)).open("val")

    def test_frames_of_no_sequence_need_lists(self, tmp_path: Path) -> None:
        camvid_original(tmp_path)
        save(noise(0), tmp_path / "701_StillsRaw_full" / "holiday_3.png")
        save(np.zeros((24, 32, 3), np.uint8), tmp_path / "LabeledApproved_full" / "holiday_3_L.png")
        with pytest.raises(DataError, match=r"1 frames are of none of CamVid's sequences.*holiday_3.png; write"):
            Camvid(root=str(tmp_path)).open("train")

    def test_all_32_colours_mean_something(self) -> None:
        colors = [color for color, _ in label_tables.CAMVID_COLORS.values()]
        assert len(set(colors)) == 32
        assert {name for _, name in label_tables.CAMVID_COLORS.values()} == {None, *label_tables.CAMVID.names}
