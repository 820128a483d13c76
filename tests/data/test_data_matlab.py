"""Label ids in MATLAB files are those that scipy reads; whatever else a file holds is told."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from pixelcontrast.data.decoding import read_labels
from pixelcontrast.data.matlab import read_matrix
from pixelcontrast.errors import LabelFormError, UnreadableFileError

IDS = np.arange(15, dtype=np.uint8).reshape(3, 5)
OTHERS: dict[str, Any] = {
    "before": np.array(["some text"]), "cells": np.array([[1, "a"]], dtype=object), "S2": np.ones(3), "tree": {"S": 1}
}  # fmt: skip


def saved(folder: Path, matrix: Any, **options: Any) -> Path:
    savemat(folder / "x.mat", {**OTHERS, "S": matrix, "after": np.zeros(2)}, **options)
    return folder / "x.mat"


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@given(height=st.integers(1, 40), width=st.integers(1, 40), compressed=st.booleans(), most=st.integers(1, 127))
def test_numbers_of_every_type_are_those_that_scipy_reads(
    tmp_path_factory: pytest.TempPathFactory, kind: str, height: int, width: int, compressed: bool, most: int
) -> None:
    ids = np.random.default_rng(height).integers(0, most, (height, width)).astype(kind)
    path = saved(tmp_path_factory.mktemp("mat"), ids, do_compression=compressed)
    assert np.array_equal(read_matrix(path, "S"), loadmat(path)["S"])
    assert torch.equal(read_labels(path), torch.from_numpy(ids.astype(np.int32)))


def test_a_file_of_a_machine_with_the_other_order_of_bytes(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    ids = IDS.astype(">u2")
    parts = [(6, struct.pack(">II", 11, 0)), (5, struct.pack(">ii", 3, 5)), (1, b"S"), (4, ids.tobytes(order="F"))]
    body = b"".join(element(*part) for part in parts)
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, body))
    assert np.array_equal(loadmat(tmp_path / "x.mat")["S"], ids)
    assert np.array_equal(read_labels(tmp_path / "x.mat").numpy(), IDS)


@pytest.mark.parametrize("compressed", [False, True])
def test_no_part_of_a_file_passes_for_the_whole(tmp_path: Path, compressed: bool) -> None:
    savemat(tmp_path / "x.mat", {"S": IDS}, do_compression=compressed)
    whole = (tmp_path / "x.mat").read_bytes()
    for size in range(len(whole) - (not compressed)):  # whose last byte only fills up to a multiple of eight
        (tmp_path / "x.mat").write_bytes(whole[:size])
        with pytest.raises(UnreadableFileError):
            read_labels(tmp_path / "x.mat")


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (IDS, {"format": "4"}, "version 5 to 7"),
        (IDS * 1j, {}, "without a matrix S of numbers"),
        (np.array([["a", 1]], dtype=object), {}, "without a matrix S of numbers"),
    ],
)
def test_what_holds_no_ids_says_so(tmp_path: Path, matrix: Any, options: dict[str, Any], message: str) -> None:
    savemat(tmp_path / "x.mat", {"S": matrix}, **options)
    with pytest.raises(UnreadableFileError, match=f"expected labels in a MATLAB file.*{message}"):
        read_labels(tmp_path / "x.mat")


def test_an_odd_variable_before_the_labels_hides_nothing(tmp_path: Path) -> None:
    savemat(tmp_path / "x.MAT", {"A": np.ones(2), "S": IDS}, appendmat=False)
    content = bytearray((tmp_path / "x.MAT").read_bytes())
    flags = 128 + 8  # of A, the first element of the first matrix, stored as text
    assert content[flags] == 6
    content[flags] = 16
    (tmp_path / "x.MAT").write_bytes(content)
    assert np.array_equal(read_labels(tmp_path / "x.MAT").numpy(), IDS)


@pytest.mark.parametrize("odd", [0.5, np.nan, 1e12, -np.inf])
def test_numbers_that_are_no_ids_say_so(tmp_path: Path, odd: float) -> None:
    with pytest.raises(LabelFormError, match="expected whole numbers"):
        read_labels(saved(tmp_path, np.where(IDS == 4, odd, IDS)))


def test_more_than_two_dimensions_say_so(tmp_path: Path) -> None:
    with pytest.raises(LabelFormError, match="two dimensions, got 3"):
        read_labels(saved(tmp_path, np.ones((2, 3, 4))))
