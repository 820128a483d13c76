"""Files to read: generated ones, and the real CamVid where it is at hand."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_layouts import camvid


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    """CamVid in SegNet's layout: 4 train, 3 val and 2 test images of 24x32."""
    camvid(tmp_path)
    return tmp_path


@pytest.fixture
def write_png(tmp_path: Path) -> Callable[..., Path]:
    """Write an array as a PNG: write_png(array), with PIL's mode and options."""

    def write(array: np.ndarray, *, mode: str | None = None, name: str = "file.png", **options: object) -> Path:
        picture = Image.fromarray(array)
        picture = picture if mode is None else picture.convert(mode)
        picture.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.fixture
def real_camvid() -> Path:
    """The real CamVid, where it is at hand: $PIXELCONTRAST_CAMVID, or shared/data/camvid beside the checkout."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "camvid"
    folder = Path(os.environ.get("PIXELCONTRAST_CAMVID", beside))
    if not (folder / "train").is_dir():
        pytest.skip("CamVid is not here; set PIXELCONTRAST_CAMVID")
    return folder
