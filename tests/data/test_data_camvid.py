"""CamVid pairs its files early, reads ids with void ignored, and says what is wrong with files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_layouts import camvid_original
from pixelcontrast.data import Camvid, count_classes
from pixelcontrast.errors import DataError


def test_void_is_ignored_and_classes_keep_their_ids(camvid_root: Path) -> None:
    sample = Camvid(root=str(camvid_root)).open("train")[0]
    raw = torch.from_numpy(np.asarray(Image.open(camvid_root / "trainannot" / f"{sample.name}.png")).copy())
    assert sample.labels is not None
    assert torch.equal(sample.labels, torch.where(raw == 11, 255, raw))
    assert sample.image.shape == (3, *raw.shape)


def test_all_splits_open_with_unique_names(camvid_root: Path) -> None:
    options = Camvid(root=str(camvid_root))
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        dataset = options.open(split)
        assert len({dataset[i].name for i in range(len(dataset))}) == count


def test_missing_root_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set data.root=PATH. Expected there: train/, val/"):
        Camvid().open("train")
    with pytest.raises(DataError, match=r"nowhere does not exist .*expected a folder with train/"):
        Camvid(root=str(tmp_path / "nowhere")).open("train")


def test_missing_folder_says_what_is_there(camvid_root: Path) -> None:
    (camvid_root / "valannot").rename(camvid_root / "validation_labels")
    with pytest.raises(DataError, match=r"valannot: no such folder; .* there is .*validation_labels/"):
        Camvid(root=str(camvid_root)).open("val")


def test_unknown_split_names_the_nearest(camvid_root: Path) -> None:
    with pytest.raises(DataError, match="no split 'vall'.*train, val, test.*Did you mean 'val'"):
        Camvid(root=str(camvid_root)).open("vall")


def test_empty_folder_is_refused(camvid_root: Path) -> None:
    for path in (camvid_root / "val").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"val: expected image files .*got nothing"):
        Camvid(root=str(camvid_root)).open("val")


def test_image_without_labels_is_found_before_reading(camvid_root: Path) -> None:
    (camvid_root / "trainannot" / "train_1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 images have no labels: train_1.jpg"):
        Camvid(root=str(camvid_root)).open("train")


def test_labels_without_image_are_found_before_reading(camvid_root: Path) -> None:
    (camvid_root / "train" / "train_1.jpg").unlink()
    with pytest.raises(DataError, match=r"1 label files have no image: train_1.png"):
        Camvid(root=str(camvid_root)).open("train")


def test_two_files_of_one_stem_are_refused(camvid_root: Path) -> None:
    Image.new("RGB", (4, 4)).save(camvid_root / "train" / "train_0.jpg")
    with pytest.raises(DataError, match=r"train_0.jpg and train_0.png have the same stem"):
        Camvid(root=str(camvid_root)).open("train")


def test_labels_of_another_size_name_both_sizes(camvid_root: Path) -> None:
    Image.new("L", (16, 12)).save(camvid_root / "trainannot" / "train_0.png")
    with pytest.raises(DataError, match=r"train_0.png: expected labels of 24x32 .* got 12x16"):
        Camvid(root=str(camvid_root)).open("train")[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unknown_id_names_file_value_position_and_count(camvid_root: Path, dtype: type) -> None:
    labels = np.zeros((24, 32), dtype)
    labels[5, 7] = labels[6, 8] = 37
    Image.fromarray(labels).save(camvid_root / "trainannot" / "train_0.png")
    message = r"train_0.png: label id 37 at row 5, column 7 \(2 pixels of it, 2 of 768.*expected ids 0-11, 255\. .*map"
    with pytest.raises(DataError, match=message):
        Camvid(root=str(camvid_root)).open("train")[0]


def test_id_above_a_byte_is_unknown_and_not_wrapped(camvid_root: Path) -> None:
    Image.fromarray(np.full((24, 32), 256 + 3, np.uint16)).save(camvid_root / "trainannot" / "train_0.png")
    with pytest.raises(DataError, match="label id 259"):
        Camvid(root=str(camvid_root)).open("train")[0]


def test_cache_gives_the_same_and_reads_once(camvid_root: Path) -> None:
    plain = Camvid(root=str(camvid_root)).open("val")
    cached = Camvid(root=str(camvid_root), cache=True).open("val")
    for index in range(len(plain)):
        assert torch.equal(plain[index].image, cached[index].image)
    for path in (camvid_root / "val").iterdir():
        path.unlink()
    assert cached[0].name == "val_0"


def test_absent_classes_are_reported(camvid_root: Path) -> None:
    for path in (camvid_root / "valannot").iterdir():
        labels = np.asarray(Image.open(path)).copy()
        labels[labels == 6] = 11
        Image.fromarray(labels).save(path)
    counts = count_classes(Camvid(root=str(camvid_root)).open("val"))
    assert counts.absent == ("sign", "cyclist")
    assert counts.num_images == 3
    assert int(counts.pixels.sum()) + counts.ignored == 3 * 24 * 32
    assert float(counts.shares.sum()) == pytest.approx(1.0)


def test_real_camvid_is_read(real_camvid: Path) -> None:
    for split, count in (("train", 367), ("val", 101)):
        dataset = Camvid(root=str(real_camvid)).open(split)
        assert len(dataset) == count
        assert dataset[0].image.shape == (3, 360, 480)


def test_one_list_of_frames_alone_is_refused(tmp_path: Path) -> None:
    layout = camvid_original(tmp_path)
    (tmp_path / "train.txt").write_text("0016E5_07959\n")
    assert len(layout.options.open("train")) == 1
    with pytest.raises(DataError, match=r"val.txt is missing, while train.txt is there"):
        layout.options.open("val")
