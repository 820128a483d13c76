"""Laws of the deployed network: its weights, its files, its errors."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from safetensors.torch import save_file

from pixelcontrast.errors import RunError
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.types import BandStatistics

SMALL = ModelOptions(backbone="test_resnet", head=FCN())
NAMES, PALETTE = ("road", "sky"), ((128, 64, 128), (70, 130, 180))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Segmentor(SMALL, 2, class_names=NAMES, palette=PALETTE).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_hrnet_gives_its_four_branches_and_the_concatenation() -> None:
    segmentor = Segmentor(ModelOptions(), 11)
    assert segmentor.backbone.shapes.channels == (16, 32, 64, 128)
    assert segmentor.backbone.shapes.strides == (4, 8, 16, 32)
    output = segmentor(torch.randn(1, 3, 45, 80))
    assert output.features.shape == (1, 240, 12, 20)
    assert output.logits.shape == (1, 11, 12, 20)


def test_names_palette_and_normalisation_travel_with_the_weights(folder: Path) -> None:
    loaded = Segmentor.from_pretrained(folder)
    assert (loaded.class_names, loaded.palette) == (NAMES, PALETTE)
    assert loaded.mean == loaded.std == (0.5, 0.5, 0.5)
    assert not loaded.training


def test_equal_weights_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    Segmentor.from_pretrained(folder).to(memory_format=torch.channels_last).save_pretrained(tmp_path / "again")
    for name in ("weights.safetensors", "config.json", "README.md"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_no_path_is_written(tmp_path: Path) -> None:
    first = Segmentor(SMALL, 2)
    first.save_pretrained(tmp_path / "a")
    from_file = ModelOptions(backbone="test_resnet", head=FCN(), pretrained=str(tmp_path / "a" / "weights.safetensors"))
    second = Segmentor(from_file, 2)
    second.save_pretrained(tmp_path / "b")
    for name in ("config.json", "README.md", "weights.safetensors"):
        assert str(tmp_path).encode() not in (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("missing", ["config.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(RunError, match=f"{missing} is not there"):
        Segmentor.from_pretrained(folder)


def test_no_folder_and_no_hub_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a folder with config.json"):
        Segmentor.from_pretrained(tmp_path / "nowhere")


def test_weights_of_another_model_are_refused_by_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_classes": 5, "class_names": [], "palette": []}))
    with pytest.raises(RunError, match="of another model.*classifier"):
        Segmentor.from_pretrained(folder)


@pytest.mark.parametrize(
    "change", [{"head": {"name": "wheel"}}, {"backbone": "resnt18"}, {"colour": 3}, {"head": {"name": "fcn", "odd": 1}}]
)
def test_a_configuration_that_cannot_be_read_is_one_clear_error(folder: Path, change: dict[str, object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="is not a configuration that this version"):
        Segmentor.from_pretrained(folder)


def test_a_configuration_of_no_network_is_one_clear_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"]["contrast_map"] = 9
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="describes no network that can be built: the backbone has"):
        Segmentor.from_pretrained(folder)
    with pytest.raises(RunError, match="got a file.*name its folder"):
        Segmentor.from_pretrained(folder / "config.json")


def test_damaged_weights_are_one_clear_error(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(RunError, match="damaged"):
        Segmentor.from_pretrained(folder)


def test_names_and_colours_are_one_a_class() -> None:
    with pytest.raises(ValueError, match="class_names must have one entry for each of the 3 classes, got 2"):
        Segmentor(SMALL, 3, class_names=NAMES)
    for color in ((0, 0, 256), (0, 0)):
        with pytest.raises((ValueError, TypeCheckError), match="palette"):
            Segmentor(SMALL, 1, palette=[color])  # type: ignore[list-item]


def test_a_map_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="a map must be from -4 to 3"):
        Segmentor(ModelOptions(backbone="test_resnet", contrast_map=4), 2)


def test_bands_other_than_rgb_are_taken_and_kept(tmp_path: Path) -> None:
    bands = BandStatistics((100.0, 200.0, 300.0, 12_000.0, 60_000.0), (10.0, 20.0, 30.0, 40.0, 9_000.0))
    segmentor = Segmentor(SMALL, 3, bands=bands).eval()
    image = torch.randn(1, 5, 64, 96)
    segmentor.save_pretrained(tmp_path)
    loaded = Segmentor.from_pretrained(tmp_path)
    assert torch.equal(segmentor(image).logits, loaded(image).logits)
    assert (loaded.bands, loaded.mean, loaded.in_channels) == (bands, bands.mean, 5)
    assert "bands in the units of their files" in (tmp_path / "README.md").read_text()
    with pytest.raises(RuntimeError):
        segmentor(torch.randn(1, 3, 64, 96))


def test_weights_of_three_bands_start_a_network_of_more(tmp_path: Path) -> None:
    save_file(Segmentor(SMALL, 3).backbone.network.state_dict(), tmp_path / "weights.safetensors")
    pretrained = replace(SMALL, pretrained=str(tmp_path / "weights.safetensors"))
    six = Segmentor(pretrained, 3, bands=BandStatistics((0.0,) * 6, (1.0,) * 6))
    three = Segmentor(pretrained, 3)
    image = torch.randn(1, 3, 64, 64)
    # timm repeats the kernels over the bands and divides, so that equal bands give equal maps.
    torch.testing.assert_close(
        six.eval().backbone(torch.cat([image, image], dim=1))[0], three.eval().backbone(image)[0]
    )
