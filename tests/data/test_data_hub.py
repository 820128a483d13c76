"""Tables with images in them: read from a folder of parquet as from the hub, whole or as a stream."""

import builtins
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataset_layouts import blocks, encoded, hub, hub_streamed, noise, write_parquet
from pixelcontrast.data import Hub, parquet
from pixelcontrast.data.check import check_data
from pixelcontrast.data.parquet import KEPT_BLOCKS, ParquetTable
from pixelcontrast.data.rows import Rows
from pixelcontrast.errors import DataError

pytest.importorskip("datasets")
pytest.importorskip("pyarrow")


@pytest.fixture
def options(tmp_path: Path) -> Hub:
    made = hub(tmp_path / "data").options
    assert isinstance(made, Hub)
    return made


def write_train(options: Hub, rows: list[dict[str, object]]) -> None:
    """Replace all splits, whose columns must be alike, by one."""
    for path in (options.folder() / "data").iterdir():
        path.unlink()
    write_parquet(options.folder() / "data" / "train-00000-of-00001.parquet", rows, block=2)


def cell(data: bytes | None) -> dict[str, object]:
    return {"bytes": data, "path": "" if data is None else "x.png"}


@pytest.mark.parametrize("name", ["~nobody-of-this-name/classes.yaml", "~\0"])
def test_a_file_of_classes_that_no_home_leads_to_is_a_message(options: Hub, name: str) -> None:
    with pytest.raises(DataError, match="no such file; expected a list of names"):
        _ = replace(options, classes=name).label_space


def test_a_slice_of_a_split_may_be_another(options: Hub) -> None:
    sliced = replace(options, train_split="train[:60%]", val_split="train[60%:]")
    whole, parts = options.open("train"), [sliced.open("train"), sliced.open("val")]
    assert [len(part) for part in parts] == [3, 2]
    assert torch.equal(whole[4].image, parts[1][1].image)


def test_streaming_gives_the_same(options: Hub, tmp_path: Path) -> None:
    streamed = hub_streamed(tmp_path / "again").options.open("train")
    whole = options.open("train")
    assert isinstance(streamed, Rows)
    assert streamed.blocks == (2, 2, 1)
    for index in (4, 0, 3, 1, 2):
        assert torch.equal(whole[index].image, streamed[index].image)
        assert whole[index].name == streamed[index].name


def test_names_may_come_from_a_yaml_file(options: Hub, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("{weed: 2, soil: 0, crop: 1}")
    mine = replace(options, classes=str(tmp_path / "mine.yaml"))
    assert options.label_space.names == ("soil", "crop", "weed")
    assert mine.label_space.names == ("weed", "soil", "crop")


def test_columns_may_be_called_anything_and_hold_plain_bytes(options: Hub) -> None:
    write_train(options, [{"pixels": encoded(noise(0)), "mask": encoded(blocks(0, 3))}])
    with pytest.raises(DataError, match=r"expected a column 'image', got pixels, mask; set data.image_column"):
        options.open("train")
    for streaming in (False, True):
        other = replace(options, image_column="pixels", label_column="mask", streaming=streaming)
        sample = other.open("train")[0]
        assert sample.labels is not None
        np.testing.assert_array_equal(sample.labels.numpy(), blocks(0, 3))


def test_a_column_of_numbers_is_a_message(options: Hub) -> None:
    wrong = replace(options, label_column="other")
    with pytest.raises(DataError, match=r"expected images in the column 'other', got int64; set data.image_column"):
        wrong.open("train")
    with pytest.raises(DataError, match=r"train/0/other: expected the bytes of an image, got int"):
        replace(wrong, streaming=True).open("train")[0]


def test_a_broken_cell_is_named_by_its_row(options: Hub) -> None:
    images = (encoded(noise(0)), b"\x89PNG and then nothing", encoded(noise(1)[:5]), None)
    write_train(options, [{"image": cell(image), "label": cell(encoded(blocks(0, 3)))} for image in images])
    for streaming in (False, True):
        dataset = replace(options, streaming=streaming).open("train")
        with pytest.raises(DataError, match=r"train/1/image: expected an image .* got 21 bytes that do not decode"):
            dataset[1]
        with pytest.raises(DataError, match=r"train/2/label: expected labels of 5x32"):
            dataset[2]
        with pytest.raises(DataError, match=r"train/3/image: expected the bytes of an image, got NoneType"):
            dataset[3]
    found = [finding.kind for finding in check_data(options).findings if finding.severity == "error"]
    assert found == ["split not there", "unreadable file", "wrong form of labels"]


@pytest.mark.parametrize("streaming", [False, True])
def test_an_unknown_split_is_refused(options: Hub, streaming: bool) -> None:
    with pytest.raises(DataError, match=r"validate"):
        replace(options, val_split="validate", streaming=streaming).open("val")


def test_a_stream_cannot_be_sliced(options: Hub) -> None:
    with pytest.raises(DataError, match=r"expected a split 'train\[:50%\]', got .*train.*; a stream cannot be sliced"):
        replace(options, train_split="train[:50%]", streaming=True).open("train")


def test_a_repository_without_the_network_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"nobody/nothing: no such folder, and no file of classes .*data.classes=PATH"):
        Hub(root="nobody/nothing").open("train")


def test_a_missing_library_is_a_message(options: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'pixelcontrast\[hub\]'"):
        options.open("train")


class TestParquetTable:
    @pytest.fixture
    def files(self, tmp_path: Path) -> list[str]:
        for number in range(3):
            rows: list[dict[str, object]] = [{"a": 100 * number + i, "b": i} for i in range(7)]
            write_parquet(tmp_path / f"{number}.parquet", rows, block=3)
        return [str(tmp_path / f"{number}.parquet") for number in range(3)]

    def test_rows_are_those_of_the_files_one_after_another(self, files: list[str]) -> None:
        table = ParquetTable.open(files, ["a"])
        assert table.blocks == (3, 3, 1) * 3
        expected = [{"a": 100 * number + i} for number in range(3) for i in range(7)]
        assert [table[index] for index in range(len(table))] == expected
        assert [table[index] for index in reversed(range(len(table)))] == expected[::-1]

    def test_few_blocks_are_kept(self, files: list[str]) -> None:
        table = ParquetTable.open(files, ["a"])
        for index in range(len(table)):
            _ = table[index]
            assert len(table._kept) <= KEPT_BLOCKS
        assert not pickle.loads(pickle.dumps(table))._kept

    def test_a_block_is_read_once_while_it_is_kept(self, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        table = ParquetTable.open(files, ["a"])
        opened: list[str] = []
        real = parquet._opened

        def counted(file: str) -> Any:
            opened.append(file)
            return real(file)

        monkeypatch.setattr(parquet, "_opened", counted)
        for index in (0, 2, 1, 3, 0, 5):
            _ = table[index]
        assert len(opened) == 2

    def test_other_files_and_columns_are_refused(self, files: list[str], tmp_path: Path) -> None:
        (tmp_path / "x.parquet").write_bytes(b"no parquet")
        with pytest.raises(DataError, match=r"x.parquet: expected a parquet file"):
            ParquetTable.open([str(tmp_path / "x.parquet")], ["a"])
        with pytest.raises(DataError, match=r"0.parquet: expected a column 'image', got a, b"):
            ParquetTable.open(files, ["image"])
