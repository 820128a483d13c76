"""Files become RGB images and ids, whatever their depth, palette or channels; what is no image says so."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelcontrast.data.decoding import read_image, read_labels
from pixelcontrast.data.reading import pillow_takes
from pixelcontrast.errors import DataError

Write = Callable[..., Path]
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def test_grey_images_are_repeated(write_png: Write) -> None:
    image = read_image(write_png(GREY))
    assert torch.equal(image, torch.from_numpy(GREY).expand(3, 3, 4))


def test_alpha_is_dropped(write_png: Write) -> None:
    rgba = np.dstack([GREY, GREY + 1, GREY + 2, np.zeros_like(GREY)])
    assert torch.equal(read_image(write_png(rgba)), torch.from_numpy(rgba[..., :3]).permute(2, 0, 1))


def test_sixteen_bit_images_are_scaled(write_png: Write) -> None:
    deep = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    assert read_image(write_png(deep))[0, 0].tolist() == [0, 0, 1, 128, 255]


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    red, green, _ = read_image(tmp_path / "red.jpg")[:, 0, 0].tolist()
    assert red > 200 > 100 > green


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_labels_give_ids_and_not_colours(tmp_path: Path, bits: int) -> None:
    ids = (np.arange(12).reshape(3, 4) % 2**bits).astype(np.uint8)
    picture = Image.frombytes("P", (4, 3), ids.tobytes())
    picture.putpalette([value for i in range(2**bits) for value in (255 - i, 7, i * 3 % 256)])
    path = tmp_path / "palette.png"
    picture.save(path, bits=bits)
    assert torch.equal(read_labels(path), torch.from_numpy(ids))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_labels_of_few_bits_give_ids(tmp_path: Path, bits: int) -> None:
    ids = (np.arange(16).reshape(2, 8) % 2**bits).astype(np.uint8)
    packed = np.packbits(np.unpackbits(ids[..., None], axis=-1)[..., 8 - bits :].reshape(2, -1), axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0)
    path = tmp_path / "few.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    assert torch.equal(read_labels(path), torch.from_numpy(ids))


def test_sixteen_bit_labels_keep_their_ids(write_png: Write) -> None:
    ids = np.array([[0, 10, 255, 300, 65535]], dtype=np.uint16)
    labels = read_labels(write_png(ids))
    assert labels.tolist() == [[0, 10, 255, 300, 65535]]


def test_grey_with_alpha_gives_ids(write_png: Write) -> None:
    path = write_png(GREY)
    Image.merge("LA", (Image.fromarray(GREY), Image.new("L", (4, 3), 255))).save(path)
    assert torch.equal(read_labels(path), torch.from_numpy(GREY))


def test_labels_in_colour_are_refused(write_png: Write) -> None:
    with pytest.raises(DataError, match="file.png: expected one label id a pixel .* got 3 channels"):
        read_labels(write_png(np.dstack([GREY] * 3)))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=rf"cut.{suffix}: expected an image .* truncated"):
        read_image(path)


def test_empty_missing_and_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("this is not an image at all, but some text")
    with pytest.raises(DataError, match=r"empty.png: expected an image \(PNG, JPEG, WebP or TIFF\), got an empty file"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(DataError, match="text.png: expected an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(DataError, match="gone.png: no such file"):
        read_image(tmp_path / "gone.png")


def test_readers_that_raise_pillows_limit_leave_it_as_it_was() -> None:
    usual = Image.MAX_IMAGE_PIXELS
    with pillow_takes(1 << 30):
        with pillow_takes(1 << 30):
            assert Image.MAX_IMAGE_PIXELS == 1 << 30
        assert Image.MAX_IMAGE_PIXELS == 1 << 30, "another one still reads"
    assert usual == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiffs_of_either_byte_order_give_ids(tmp_path: Path, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    ids = np.array([[0, 1], [300, 65535]], dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", ids, byteorder=order)
    assert read_labels(tmp_path / "a.tif").tolist() == ids.tolist()
