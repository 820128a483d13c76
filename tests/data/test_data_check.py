"""The check tells each kind of trouble apart, from facts that it reads once and from every file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from dataset_layouts import camvid, folder, noise, save
from pixelcontrast.data import Camvid, Folder, count_classes
from pixelcontrast.data.check import Check, Finding, check_data, contact_sheet
from pixelcontrast.data.check.facts import SplitFacts, gather
from pixelcontrast.data.check.findings import of_split
from pixelcontrast.data.check.report import as_json, class_table, finding_lines, split_table
from pixelcontrast.data.check.sheet import choose
from pixelcontrast.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    camvid(tmp_path)
    return tmp_path


def checked(root: Path) -> Check:
    return check_data(Camvid(root=str(root)))


def the(check: Check, kind: str, split: str | None = None) -> Finding:
    """The one finding of a kind."""
    (finding,) = (f for f in check.findings if f.kind == kind and split in (None, f.split))
    return finding


def kinds(check: Check) -> set[str]:
    return {finding.kind for finding in check.findings}


def relabel(path: Path, change: dict[int, int]) -> None:
    with Image.open(path) as picture:
        ids = np.asarray(picture).copy()
    for old, new in change.items():
        ids[ids == old] = new
    Image.fromarray(ids).save(path)


def test_a_sound_data_set_has_no_errors(root: Path) -> None:
    check = checked(root)
    assert check.number_of("error") == 0
    # Fixtures are small, and leave the highest class out.
    assert kinds(check) == {"unusual count", "absent class"}
    assert "4 images; the published split has 367" in the(check, "unusual count", "train").message
    assert the(check, "absent class", "val").details == ("cyclist",)


def test_counts_are_those_of_the_files(root: Path) -> None:
    facts = checked(root).splits[0]
    expected = count_classes(Camvid(root=str(root)).open("train"))
    assert torch.equal(facts.counts.pixels, expected.pixels)
    assert torch.equal(facts.counts.images, expected.images)
    assert (facts.counts.ignored, facts.counts.num_images) == (expected.ignored, 4)
    assert facts.sizes == {(24, 32): 4}


def test_statistics_are_those_of_every_fourth_pixel(root: Path) -> None:
    dataset = Camvid(root=str(root)).open("train")
    pixels = torch.stack([dataset[i].image[:, ::4, ::4] for i in range(len(dataset))], dim=1).flatten(1).double() / 255
    mean, deviation = checked(root).splits[0].statistics
    assert mean == pytest.approx(pixels.mean(1).tolist())
    assert deviation == pytest.approx(pixels.std(1, correction=0).tolist())


@pytest.mark.parametrize("workers", [2, 5])
def test_threads_change_nothing(root: Path, workers: int) -> None:
    one, several = (as_json(check_data(Camvid(root=str(root)), workers=number)) for number in (1, workers))
    assert one == several


def test_all_broken_files_are_told_at_once_and_by_kind(root: Path) -> None:
    (root / "train" / "train_0.png").write_bytes(b"no image")
    (root / "train" / "train_1.jpg").unlink()
    Image.new("L", (5, 5)).save(root / "trainannot" / "train_2.png")
    Image.new("RGB", (32, 24)).save(root / "trainannot" / "train_3.png")
    check = checked(root)
    assert "train_0.png" in the(check, "unreadable file").details[0]
    assert the(check, "unpaired file").details == (str(root / "trainannot" / "train_1.png"),)
    assert len(the(check, "wrong form of labels").details) == 2
    assert check.splits[0].num_images == 3


def test_unknown_ids_are_summed_over_files(root: Path) -> None:
    for name in ("train_0", "train_2"):
        relabel(root / "trainannot" / f"{name}.png", {0: 37, 4: 200})
    finding = the(checked(root), "unknown label id")
    expected = {}
    for name in ("train_0", "train_2"):
        with Image.open(root / "trainannot" / f"{name}.png") as picture:
            for raw in (37, 200):
                expected[raw] = expected.get(raw, 0) + int((np.asarray(picture) == raw).sum())
    assert f": 37 ({expected[37]} pixels in 2 files), 200 ({expected[200]} pixels in 2 files)" in finding.message
    assert "train_0.png: label id" in finding.details[0]


def test_duplicates_are_known_by_their_pixels(root: Path) -> None:
    with Image.open(root / "train" / "train_0.png") as picture:
        picture.save(root / "val" / "val_0.png", compress_level=1)
    shutil.copy(root / "train" / "train_0.png", root / "train" / "train_2.png")
    check = checked(root)
    assert the(check, "duplicate between splits").details == ("train/train_0 = train/train_2 = val/val_0",)
    assert the(check, "duplicate within a split").details == ("train/train_0 = train/train_2",)


def test_images_of_equal_bytes_and_other_shape_are_no_duplicates(root: Path) -> None:
    flat = np.zeros((24, 32, 3), np.uint8)
    for name, pixels in (("train_0", flat), ("train_2", flat.reshape(32, 24, 3))):
        save(pixels, root / "train" / f"{name}.png")
        save(np.zeros(pixels.shape[:2], np.uint8), root / "trainannot" / f"{name}.png")
    assert "duplicate within a split" not in kinds(checked(root))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_images_that_a_viewer_shows_turned_are_told(tmp_path: Path, suffix: str) -> None:
    layout = folder(tmp_path)
    upright, turned = sorted((tmp_path / "images" / "train").iterdir())[:2]
    for file, orientation in ((upright, 1), (turned, 3)):
        with Image.open(file) as picture:
            exif = picture.getexif()
            exif[ExifTags.Base.Orientation] = orientation
            file.unlink()
            picture.convert("RGB").save(file.with_suffix(f".{suffix}"), exif=exif)
    finding = the(check_data(layout.options), "turned by EXIF")
    assert (finding.severity, finding.details) == ("warning", (turned.stem,))


def test_void_images_and_absent_classes(root: Path) -> None:
    save(np.full((24, 32), 11, np.uint8), root / "valannot" / "val_1.png")
    for path in (root / "trainannot").iterdir():
        relabel(path, {4: 11})
    check = checked(root)
    assert the(check, "all-void image").details == ("val_1",)
    assert the(check, "absent class", "train").details == ("pavement", "cyclist")
    assert the(check, "class without training pixels", "val").details == ("pavement",)
    assert check.number_of("error") == 0


def test_a_split_without_any_label_is_an_error(root: Path) -> None:
    for path in (root / "valannot").iterdir():
        save(np.full((24, 32), 11, np.uint8), path)
    assert the(checked(root), "nothing labelled").split == "val"


def test_a_split_that_is_not_there(root: Path) -> None:
    shutil.rmtree(root / "test")
    assert the(checked(root), "optional split not there").severity == "note"
    shutil.rmtree(root / "val")
    assert the(checked(root), "split not there").severity == "error"
    shutil.rmtree(root / "train")
    with pytest.raises(DataError, match="train: no such folder"):
        checked(root)


class TestMasks:
    """Masks of 0 and 255, the mistake of many a first data set."""

    @pytest.fixture
    def options(self, tmp_path: Path) -> Folder:
        folder(tmp_path)
        (tmp_path / "classes.yaml").write_text("[background, crack]\n")
        for path in (tmp_path / "labels").rglob("*.png"):
            save(((np.arange(24 * 32).reshape(24, 32) % 5 == 0) * 255).astype(np.uint8), path)
        return Folder(root=str(tmp_path))

    def test_are_told_from_ignored_pixels(self, options: Folder) -> None:
        finding = the(check_data(options), "mask of 0 and 255")
        assert finding.severity == "error"
        assert "{background: 0, crack: 255}" in finding.message

    def test_are_fine_once_255_has_a_name(self, options: Folder) -> None:
        (options.folder() / "classes.yaml").write_text("{background: 0, crack: 255}\n")
        assert "mask of 0 and 255" not in kinds(check_data(options))


def test_images_without_labels_are_an_error_in_train_and_val_alone(tmp_path: Path) -> None:
    dataset = folder(tmp_path).options.open("test")
    for split in ("train", "val", "test"):
        facts = gather(dataset, split=split, workers=1)
        assert ("no labels" in {finding.kind for finding in of_split(facts, published=())}) == (split != "test")


def test_the_gravest_come_first(root: Path) -> None:
    shutil.rmtree(root / "test")
    (root / "train" / "train_0.png").write_bytes(b"no image")
    order = [finding.severity for finding in checked(root).findings]
    assert list(dict.fromkeys(order)) == ["error", "warning", "note"]


class TestReport:
    def test_json_holds_everything_and_is_json(self, root: Path) -> None:
        (root / "train" / "train_0.png").write_bytes(b"no image")
        check = checked(root)
        stored = json.loads(json.dumps(as_json(check)))
        assert stored["errors"] == 1
        assert stored["splits"]["train"]["classes"]["road"]["pixels"] == int(check.splits[0].counts.pixels[3])
        assert stored["splits"]["train"]["sizes"] == {"24x32": 3}
        assert sum(entry["share"] for entry in stored["splits"]["val"]["classes"].values()) == pytest.approx(1)
        assert [entry["kind"] for entry in stored["findings"]] == [finding.kind for finding in check.findings]

    def test_tables_have_a_row_a_split_and_a_class(self, root: Path) -> None:
        check = checked(root)
        assert split_table(check).row_count == 3
        assert class_table(check).row_count == 11

    def test_a_terminal_is_given_the_first_details(self) -> None:
        finding = Finding("unreadable file", "train", "5 of 9 images cannot be used", tuple("abcde"))
        lines = list(finding_lines(finding))
        assert lines[0] == "error: train: unreadable file: 5 of 9 images cannot be used"
        assert [line.strip() for line in lines[1:]] == ["a", "b", "c", "and 2 more"]


class TestSheet:
    def facts(self, root: Path) -> SplitFacts:
        return gather(Camvid(root=str(root)).open("train"), split="train", workers=1)

    def test_a_rare_class_is_shown(self, root: Path) -> None:
        for path in sorted((root / "trainannot").iterdir()):
            relabel(path, dict.fromkeys(range(11), 0))
        ids = np.zeros((24, 32), np.uint8)
        ids[0, 0] = 10
        save(ids, root / "trainannot" / "train_3.png")
        assert 3 in choose(self.facts(root), 1)
        assert len(choose(self.facts(root), 3)) == 3
        assert choose(self.facts(root), 9) == [0, 1, 2, 3]

    def test_it_shows_images_and_labels_of_each_split(self, root: Path) -> None:
        options = Camvid(root=str(root))
        check = check_data(options)
        sheet = contact_sheet(check.splits, {split: options.open(split) for split in options.splits})
        colors = {color for _, color in sheet.getcolors(1 << 24) or ()}
        palette = options.label_space.palette
        assert {palette[i] for i in range(10)} | {(0, 0, 0)} <= colors
        assert palette[10] not in colors  # in no file, so not in the legend

    def test_a_split_of_broken_files_leaves_its_title(self, root: Path) -> None:
        for path in (root / "val").iterdir():
            path.write_bytes(b"no image")
        options = Camvid(root=str(root))
        check = check_data(options)
        contact_sheet(check.splits, {split: options.open(split) for split in options.splits})


def test_progress_counts_every_image(root: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    check_data(Camvid(root=str(root)), progress=lambda *now: seen.append(now))
    assert seen[:4] == [("train", i, 4) for i in (1, 2, 3, 4)]
    assert seen[-1] == ("test", 2, 2)


def test_noise_differs_by_name() -> None:
    assert not np.array_equal(noise("a"), noise("b"))
