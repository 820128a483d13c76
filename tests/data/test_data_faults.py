"""Files that cannot be read, for a moment or for good: what is retried, what is skipped, what is refused."""

import errno
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image, PngImagePlugin

from dataset_layouts import noise
from pixelcontrast.data import Camvid, training_loader
from pixelcontrast.data.decoding import read_image, read_labels
from pixelcontrast.data.retrying import TRANSIENT, WAITS, retried
from pixelcontrast.errors import DataError, UnreadableFileError
from pixelcontrast.types import Batch

STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr("pixelcontrast.data.retrying.time.sleep", seconds.append)
    return seconds


def failing(times: int, number: int) -> Callable[[], str]:
    left = iter(range(times))

    def read() -> str:
        if next(left, None) is not None:
            raise OSError(number, "server not responding")
        return "read"

    return read


class TestRetries:
    @pytest.mark.parametrize("number", sorted(TRANSIENT))
    def test_what_passes_is_read_again_and_waits_grow(self, number: int, waited: list[float]) -> None:
        assert retried(failing(3, number), Path("x")) == "read"
        assert waited == list(WAITS[:3]) == sorted(WAITS[:3])

    def test_what_does_not_pass_is_given_up(self, waited: list[float]) -> None:
        with pytest.raises(OSError, match="not responding"):
            retried(failing(99, errno.ESTALE), Path("x"))
        assert waited == list(WAITS)

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOSPC])
    def test_what_says_that_a_file_is_not_there_is_not_read_again(self, number: int, waited: list[float]) -> None:
        with pytest.raises(OSError):  # noqa: PT011 - the number says it
            retried(failing(1, number), Path("x"))
        assert waited == []

    @pytest.mark.parametrize("read", [read_image, read_labels])
    def test_an_image_is_read_again(
        self, tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
    ) -> None:
        path = tmp_path / "grey.png"
        Image.fromarray(noise(0)[..., 0]).save(path)
        fails, load = iter(range(2)), PngImagePlugin.PngImageFile.load

        def flaky(image: Image.Image) -> object:
            if next(fails, None) is not None:
                raise OSError(errno.EIO, "Input/output error")
            return load(image)

        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", flaky)
        read(path)
        assert len(waited) == 2

    def test_a_broken_file_is_read_once(self, tmp_path: Path, waited: list[float]) -> None:
        path = tmp_path / "cut.png"
        Image.fromarray(noise(0)).save(path)
        path.write_bytes(path.read_bytes()[:300])
        with pytest.raises(UnreadableFileError, match="truncated"):
            read_image(path)
        assert waited == []


class TestSkipping:
    @pytest.fixture
    def options(self, camvid_root: Path) -> Camvid:
        """Four training images, of which the second is broken."""
        (camvid_root / "train" / "train_1.jpg").write_bytes(b"\xff\xd8\xff no image")
        return Camvid(root=str(camvid_root), batch_size=2, crop_size=(16, 16), workers=0, on_error="skip")

    def batches(self, options: Camvid, **where: int) -> list[Batch]:
        steps = {"seed": 7, "start_step": 0, "num_steps": 8} | where
        return list(training_loader(options.open("train"), options, **steps, **STATISTICS))  # type: ignore[arg-type]

    def test_error_is_the_default(self, options: Camvid) -> None:
        assert Camvid().on_error == "error"
        with pytest.raises(UnreadableFileError, match=r"train_1\.jpg"):
            self.batches(replace(options, on_error="error"))

    def test_another_image_stands_in_and_the_broken_one_is_named(self, options: Camvid) -> None:
        batches = self.batches(options)
        assert all("train_1" not in batch.names and len(batch.names) == 2 for batch in batches)
        messages = [message for batch in batches for message in batch.unreadable]
        assert len(messages) >= 4, "it comes once an epoch"
        assert all("train_1.jpg: expected an image" in message for message in messages)

    def test_all_other_samples_are_those_of_whole_files(self, options: Camvid, camvid_root: Path) -> None:
        skipping = self.batches(options)
        Image.fromarray(noise(1)).save(camvid_root / "train" / "train_1.jpg")
        for one, other in zip(skipping, self.batches(options), strict=True):
            kept = [i for i, name in enumerate(other.names) if name != "train_1"]
            assert [one.names[i] for i in kept] == [other.names[i] for i in kept]
            assert torch.equal(one.image[kept], other.image[kept])

    @pytest.mark.parametrize(("workers", "start"), [(0, 3), (2, 0), (2, 5)])
    def test_workers_and_resuming_change_nothing(self, options: Camvid, workers: int, start: int) -> None:
        whole = self.batches(options)[start:]
        parts = self.batches(replace(options, workers=workers), start_step=start)
        for one, other in zip(whole, parts, strict=True):
            assert (one.names, one.unreadable) == (other.names, other.unreadable)
            assert torch.equal(one.image, other.image)

    def test_nothing_but_broken_images_is_an_error(self, options: Camvid, camvid_root: Path) -> None:
        for path in (camvid_root / "train").iterdir():
            path.write_bytes(b"")
        with pytest.raises(UnreadableFileError, match="empty file"):
            self.batches(options)

    def test_a_wrong_label_is_never_skipped(self, options: Camvid, camvid_root: Path) -> None:
        Image.new("L", (32, 24), 37).save(camvid_root / "trainannot" / "train_2.png")
        with pytest.raises(DataError, match="label id 37"):
            self.batches(options)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


class TestBombs:
    def test_a_declared_size_is_refused_before_a_pixel_is_decoded(self, tmp_path: Path) -> None:
        (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000))
        with pytest.raises(UnreadableFileError) as refused:
            read_image(tmp_path / "bomb.png")
        assert "bomb" in str(refused.value)
        (tmp_path / "large.png").write_bytes(png(13_000, 13_000))
        with pytest.raises(UnreadableFileError, match="do not decode"):  # its size is fine, its pixels are missing
            read_image(tmp_path / "large.png")

    def test_the_limit_can_be_moved_and_pillows_own_is_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, usual = tmp_path / "wide.png", Image.MAX_IMAGE_PIXELS
        Image.new("L", (3000, 100), 7).save(path)
        monkeypatch.setenv("PIXELCONTRAST_MAX_PIXELS", "299999")
        with pytest.raises(UnreadableFileError, match=r"at most 299999 pixels, got 100x3000.*MAX_PIXELS=300000"):
            read_image(path)
        monkeypatch.setenv("PIXELCONTRAST_MAX_PIXELS", "300000")
        assert read_image(path).shape == (3, 100, 3000)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        monkeypatch.setattr("pixelcontrast.data.reading._MOST_PIXELS", 200)
        assert read_image(path).shape == (3, 100, 3000), "more than Pillow takes by itself"
        assert Image.MAX_IMAGE_PIXELS == 100
        monkeypatch.setenv("PIXELCONTRAST_MAX_PIXELS", "many")
        with pytest.raises(DataError, match="must be a positive number of pixels, got 'many'"):
            read_image(path)
        assert usual is not None

    def test_more_than_pillow_takes_is_told_alike(self, tmp_path: Path) -> None:
        (tmp_path / "vast.png").write_bytes(png(60_000, 50_000))
        with pytest.raises(UnreadableFileError, match=r"got 3000000000: .*MAX_PIXELS=3000000000") as caught:
            read_image(tmp_path / "vast.png")
        assert "truncated" not in str(caught.value)

    @pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
    def test_a_text_or_profile_that_inflates_is_refused_or_passed_over(self, tmp_path: Path, kind: bytes) -> None:
        zeros = zlib.compress(bytes(200 << 20), 9)
        data = {b"zTXt": b"k\0\0" + zeros, b"iTXt": b"k\0\1\0\0\0" + zeros, b"iCCP": b"k\0\0" + zeros}[kind]
        (tmp_path / "text.png").write_bytes(png(10, 9, (kind, data)))
        try:
            image = read_image(tmp_path / "text.png")
        except UnreadableFileError:
            return
        assert image.shape == (3, 9, 10)

    def test_a_matrix_that_declares_too_much_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        scipy.io.savemat(tmp_path / "s.mat", {"S": np.zeros((300, 200), dtype=np.uint8)}, do_compression=True)
        monkeypatch.setenv("PIXELCONTRAST_MAX_PIXELS", "59999")
        with pytest.raises(UnreadableFileError, match="at most 59999 pixels, got 300x200"):
            read_labels(tmp_path / "s.mat")
        monkeypatch.setenv("PIXELCONTRAST_MAX_PIXELS", "60000")
        assert read_labels(tmp_path / "s.mat").shape == (300, 200)

    def test_no_format_that_starts_another_program_is_tried(self, tmp_path: Path) -> None:
        path = tmp_path / "script.png"
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
        with Image.open(path) as image:
            assert image.format == "EPS", "Pillow alone would hand it to Ghostscript"
        with pytest.raises(UnreadableFileError, match="not in a format that is known"):
            read_image(path)
