"""What outsiders rely on: names, signatures, and that importing costs nothing."""

import inspect
import subprocess
import sys

import pytest

import pixelcontrast
from pixelcontrast import ops

PUBLIC = {
    "AttachedContrast",
    "ContrastOptions",
    "MemoryBank",
    "MemoryOptions",
    "PixelContrast",
    "PixelSet",
    "SegmentationOutput",
    "Segmentor",
    "Tap",
    "__version__",
    "attach",
    "pixel_contrast_loss",
}


def parameters_of(function: object) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]  # type: ignore[arg-type]


def test_public_names_are_these() -> None:
    assert set(pixelcontrast.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(pixelcontrast, name)
    assert isinstance(value, str) or inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'PixelContrastt'"):
        _ = pixelcontrast.PixelContrastt  # type: ignore[attr-defined]


def test_operators_are_these() -> None:
    assert {"mine_keys", "pixel_contrast_loss", "region_means", "sample_anchors"} <= set(ops.__all__)
    assert pixelcontrast.pixel_contrast_loss is ops.pixel_contrast_loss


def test_signatures_that_people_call() -> None:
    assert parameters_of(pixelcontrast.pixel_contrast_loss)[:7] == [
        "anchors", "anchor_labels", "keys", "key_labels", "temperature", "exclude", "own_key",
    ]  # fmt: skip
    assert parameters_of(pixelcontrast.PixelContrast.forward) == ["features", "labels", "logits"]
    assert {"embedding_dim", "temperature", "ignore_index"} <= set(parameters_of(pixelcontrast.PixelContrast))
    assert parameters_of(pixelcontrast.MemoryBank)[:6] == [
        "num_classes", "embedding_dim", "pixels_per_class", "regions_per_class", "pixels_per_region", "dtype",
    ]  # fmt: skip
    for name in ("from_pretrained", "save_pretrained"):
        assert callable(getattr(pixelcontrast.Segmentor, name))


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, pixelcontrast; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_core_needs_torch_and_jaxtyping_only() -> None:
    """A library user pays for nothing else: no training framework, no backbones, no recipes."""
    heavy = ("lightning", "timm", "pydantic", "rich", "typer", "matplotlib", "sklearn", "torchvision")
    code = f"import sys, pixelcontrast; pixelcontrast.PixelContrast; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
