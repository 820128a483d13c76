"""Images of any number of bands and of any unit, from TIFFs, normalised by what the recipe states."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator

from dataset_layouts import folder_bands, noise, save
from pixelcontrast.data import Folder, training_loader
from pixelcontrast.data.bands import read_bands
from pixelcontrast.data.check import check_data
from pixelcontrast.data.decoding import read_image, read_labels
from pixelcontrast.data.tiff import read_tiff
from pixelcontrast.data.transforms import TrainingTransform, color_distortion, normalize, visible
from pixelcontrast.errors import DataError, UnreadableFileError
from pixelcontrast.types import BandStatistics

tifffile = pytest.importorskip("tifffile")

BANDS = np.random.default_rng(0).integers(0, 5000, (6, 20, 30)).astype(np.uint16)


def unit(count: int) -> BandStatistics:
    return BandStatistics((0.0,) * count, (1.0,) * count)


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "minisblack"},  # a page a band
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"},
        {},  # written with the bands last and no word about it
    ],
)
def test_bands_may_be_stored_in_any_order(tmp_path: Path, options: dict[str, str]) -> None:
    last = options.get("planarconfig") == "contig" or not options
    tifffile.imwrite(tmp_path / "x.tif", BANDS.transpose(1, 2, 0) if last else BANDS, **options)
    image = read_bands(tmp_path / "x.tif", unit(6))
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image.numpy(), BANDS.astype(np.float32))


def test_eight_bits_stay_eight_bits(tmp_path: Path) -> None:
    small = (BANDS[:4] % 256).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", small, photometric="minisblack")
    image = read_bands(tmp_path / "x.tif", unit(4))
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.numpy(), small)


def test_other_files_give_the_bands_they_have(tmp_path: Path) -> None:
    rgba = np.concatenate([noise(0), noise(1)[..., :1]], axis=2)
    np.testing.assert_array_equal(read_bands(save(rgba, tmp_path / "x.png"), unit(4)).numpy(), rgba.transpose(2, 0, 1))
    grey = BANDS[0]
    np.testing.assert_array_equal(read_bands(save(grey, tmp_path / "y.png"), unit(1)).numpy()[0], grey)


def test_no_data_counts_as_the_mean(tmp_path: Path) -> None:
    floats = np.ones((2, 5, 5), np.float32)
    floats[0, 0, 0], floats[1, 2, 2] = np.nan, -np.inf
    tifffile.imwrite(tmp_path / "x.tif", floats, photometric="minisblack")
    image = read_bands(tmp_path / "x.tif", BandStatistics((7.0, 9.0), (1.0, 1.0)))
    assert (float(image[0, 0, 0]), float(image[1, 2, 2])) == (7.0, 9.0)
    assert int((image == 1).sum()) == 48


def test_another_number_of_bands_is_told_with_what_the_file_measures(tmp_path: Path) -> None:
    flat = np.stack([np.full((8, 8), 100), np.tile([0, 200], (8, 4))]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", flat, photometric="minisblack")
    expected = r"x.tif: expected 3 bands.*got 2 bands of uint16; .*data.mean=\[100, 100\] data.std=\[0, 100\]"
    with pytest.raises(DataError, match=expected):
        read_bands(tmp_path / "x.tif", unit(3))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_bands_without_statistics_are_refused(tmp_path: Path, dtype: type, count: int) -> None:
    pixels = BANDS[:count].astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb" if count == 3 else "minisblack")
    with pytest.raises(DataError, match=rf"x.tif: expected RGB of 8 bits, or data.mean.*got {count} bands of"):
        read_image(tmp_path / "x.tif")


def test_rgb_and_labels_may_be_tiffs(tmp_path: Path) -> None:
    pixels = noise(0)
    Image.fromarray(pixels).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").numpy(), pixels.transpose(2, 0, 1))
    Image.fromarray(pixels[..., 0]).save(tmp_path / "y.tif", compression="tiff_deflate")
    np.testing.assert_array_equal(read_labels(tmp_path / "y.tif").numpy(), pixels[..., 0])


def test_a_damaged_tiff_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(b"II*\0 and then nothing")
    for read in (read_image, lambda path: read_bands(path, unit(2))):
        with pytest.raises(DataError, match="x.tif: expected an image"):
            read(tmp_path / "x.tif")


def test_check_measures_what_a_recipe_needs(tmp_path: Path) -> None:
    layout = folder_bands(tmp_path)
    check = check_data(replace(layout.options, mean=(0.0,) * 4, std=(1.0,) * 4))  # type: ignore[call-arg]
    mean, deviation = check.splits[0].statistics
    dataset = layout.options.open("train")
    pixels = torch.cat([dataset[i].image[:, ::4, ::4].flatten(1) for i in range(2)], dim=1).double()
    assert mean == pytest.approx(pixels.mean(1).tolist())
    assert deviation == pytest.approx(pixels.std(1, correction=0).tolist())


def test_training_crops_are_normalised_by_the_statistics(tmp_path: Path) -> None:
    layout = folder_bands(tmp_path)
    options = replace(layout.options, crop_size=(24, 32), scale=(1.0, 1.0), flip=0.0, photometric=False, workers=0)
    bands = options.bands
    assert bands is not None
    loader = training_loader(
        options.open("train"), options, seed=0, start_step=0, num_steps=1, mean=bands.mean, std=bands.std
    )
    (batch,) = loader
    raw = {name: options.open("train")[i].image for i in range(2) for name in [options.open("train")[i].name]}
    for image, name in zip(batch.image, batch.names, strict=True):
        restored = image * torch.tensor(bands.std)[:, None, None] + torch.tensor(bands.mean)[:, None, None]
        torch.testing.assert_close(restored, raw[name], rtol=1e-4, atol=0.1)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [((1.0,), None, "beside mean"), ((1.0, 2.0), (1.0,), "as mean has: 2, got 1"), ((1.0,), (0.0,), "positive")],
)
def test_statistics_are_checked(mean: tuple[float, ...], std: tuple[float, ...] | None, message: str) -> None:
    with pytest.raises(ValueError, match=f"^std: expected .*{message}"):
        Folder(mean=mean, std=std)


def test_bands_change_in_brightness_and_contrast_by_one_factor() -> None:
    image = torch.from_numpy(BANDS.astype(np.float32))
    matrix, offset = color_distortion(image, Generator().manual_seed(3))
    factor = float(matrix[0, 0])
    assert torch.equal(matrix, factor * torch.eye(6))
    assert factor != 1.0
    # Contrast is about each band's own mean, so that a flat band keeps its value but for brightness.
    flat = torch.full((2, 8, 8), 300.0)
    matrix, offset = color_distortion(flat, Generator().manual_seed(3))
    changed = normalize(flat, mean=(0.0, 0.0), std=(1.0, 1.0), matrix=matrix, offset=offset)
    assert float(changed.std()) == pytest.approx(0, abs=1e-3)
    assert 0.75 * 300 <= float(changed.mean()) <= 1.25 * 300


def test_values_beyond_a_byte_are_not_clamped() -> None:
    image = torch.tensor([[[-50.0, 9000.0]]])
    assert normalize(image, mean=(0.0,), std=(1.0,)).flatten().tolist() == [-50.0, 9000.0]


def test_crops_outside_the_image_are_the_mean() -> None:
    transform = TrainingTransform(
        crop_size=(30, 40), scale=(1, 1), flip=0, photometric=False, max_class_share=1,
        mean=(1000.0,) * 6, std=(10.0,) * 6,
    )  # fmt: skip
    pixels, _ = transform(
        torch.from_numpy(BANDS.astype(np.float32)), torch.zeros(20, 30, dtype=torch.uint8), Generator().manual_seed(0)
    )
    assert pixels.shape == (6, 30, 40)
    assert not pixels[:, 20:].any()


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_image_can_be_shown(count: int, dtype: torch.dtype) -> None:
    image = torch.from_numpy(BANDS[:count].astype(np.int32)).to(dtype)
    shown = visible(image)
    assert shown.shape == (3, 20, 30)
    assert shown.dtype == torch.uint8
    if dtype == torch.float32:
        assert int(shown.min()) == 0
        assert int(shown.max()) == 255


def test_a_band_without_a_number_is_told_and_warns_of_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.full((2, 4, 5), np.nan, dtype=np.float32), photometric="minisblack")
    with pytest.raises(DataError, match=r"this one measures data.mean=\[nan, nan\]"):
        read_image(tmp_path / "x.tif")


def test_a_tiff_without_a_pixel_is_damaged(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((13, 17), dtype=np.uint8), byteorder="<", metadata=None)
    bits = struct.pack("<HHI", 258, 3, 1)  # of a sample: one short integer
    content = (tmp_path / "x.tif").read_bytes()
    assert content.count(bits + b"\x08") == 1
    (tmp_path / "x.tif").write_bytes(content.replace(bits + b"\x08", bits + b"\0"))
    for read in (read_image, read_labels, lambda path: read_bands(path, unit(2))):
        with pytest.raises(UnreadableFileError, match="x.tif: expected an image"):
            read(tmp_path / "x.tif")


def test_pages_that_lead_round_in_a_circle_are_refused(tmp_path: Path) -> None:
    width = struct.pack("<HHII", 256, 4, 1, 5)
    first = struct.pack("<H", 1) + width + struct.pack("<I", 26)
    second = struct.pack("<HI", 0, 26)  # no tags, and the next page is itself
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + first + second)
    with pytest.raises(UnreadableFileError, match="round in a circle"):
        read_tiff(tmp_path / "x.tif")


def test_colour_pngs_of_sixteen_bits_are_refused_for_pillow_cuts_them(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (1).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    rows = zlib.compress(b"\0" + bytes(range(6)))
    path = tmp_path / "deep.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    with pytest.raises(UnreadableFileError, match="colour PNG of 16 bits, of which Pillow keeps 8"):
        read_bands(path, BandStatistics((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
