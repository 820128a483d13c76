"""Whatever bytes an image, a label file or a file of weights holds, the answer is an error that says so, or success."""

import io
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import damaged
from PIL import Image
from safetensors.torch import save

from pixelcontrast.data.decoding import read_image, read_labels
from pixelcontrast.data.tiff import read_tiff
from pixelcontrast.engine.checkpoints import WholeCheckpointIO
from pixelcontrast.engine.embedding_files import PixelEmbeddings
from pixelcontrast.engine.kept_step import load_kept_step
from pixelcontrast.engine.scoring import read_counts
from pixelcontrast.errors import UserError
from pixelcontrast.nn.weights import read_checkpoint, read_weights

fuzz = settings(settings.get_profile("fuzz"))


def picture(mode: str, kind: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 11, (13, 17, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PICTURES = [
    picture("RGB", "PNG"), picture("P", "PNG", bits=4), picture("L", "PNG"), picture("I;16", "PNG"),
    picture("RGBA", "PNG"), picture("LA", "PNG"), picture("1", "PNG"),
    picture("RGB", "JPEG"), picture("CMYK", "JPEG"), picture("L", "JPEG"),
    picture("RGB", "JPEG", progressive=True), picture("RGB", "WEBP"), picture("RGBA", "WEBP", lossless=True),
    picture("RGB", "BMP"), picture("P", "GIF"), picture("RGB", "TIFF", compression="tiff_lzw"), picture("L", "TIFF"),
]  # fmt: skip
TIFFS = [picture("RGB", "TIFF"), picture("I;16", "TIFF"), picture("RGB", "TIFF", compression="tiff_adobe_deflate")]


def matrix(**options: object) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"S": np.arange(30, dtype=np.uint8).reshape(5, 6), "names": np.array(["a"])}, **options)
    return buffer.getvalue()


MATRICES = [matrix(), matrix(do_compression=True), matrix(format="4")]
STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.int64)}


def torch_file(content: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def arrays(**values: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)
    return buffer.getvalue()


CHECKPOINTS = [
    torch_file(STATE), torch_file(STATE, zipped=False), torch_file({"state_dict": STATE, "epoch": 3, "name": "x"}),
    torch_file([STATE, 1.5, None, "word"]),
]  # fmt: skip
ONES = np.ones((2, 3), dtype=np.int64)
COUNTS = arrays(names=np.array(["a", "b"]), intersection=ONES, labelled=ONES, predicted=ONES)


def read(content: bytes, name: str, reader: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(UserError):
        path = Path(folder) / name
        path.write_bytes(content)
        reader(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("reader", [read_image, read_labels])
@fuzz
@given(content=st.sampled_from(PICTURES).flatmap(damaged) | st.binary(max_size=300))
def test_images_and_labels(reader: Callable[[Path], object], suffix: str, content: bytes) -> None:
    read(content, f"x{suffix}", reader)


@fuzz
@given(st.sampled_from(TIFFS).flatmap(damaged) | st.binary(max_size=300))
def test_bands(content: bytes) -> None:
    pytest.importorskip("tifffile")
    read(content, "x.tif", read_tiff)


@fuzz
@given(st.sampled_from(MATRICES).flatmap(damaged) | st.binary(max_size=300))
def test_matrices(content: bytes) -> None:
    read(content, "x.mat", read_labels)


@pytest.mark.parametrize("reader", [read_checkpoint, WholeCheckpointIO().load_checkpoint, load_kept_step])
@fuzz
@given(content=st.sampled_from(CHECKPOINTS).flatmap(damaged) | st.binary(max_size=300))
def test_checkpoints(reader: Callable[[Path], object], content: bytes) -> None:
    read(content, "x.pth", reader)


@fuzz
@given(damaged(save(STATE)) | st.binary(max_size=300))
def test_safetensors(content: bytes) -> None:
    read(content, "x.safetensors", read_weights)


@fuzz
@given(damaged(COUNTS) | st.binary(max_size=300))
def test_arrays(content: bytes) -> None:
    read(content, "x.npz", read_counts)
    read(content, "x.npz", PixelEmbeddings.load)
