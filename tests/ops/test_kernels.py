"""The Triton kernels equal their twins; on the CPU by Triton's interpreter, which must be chosen before import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pixelcontrast.ops import pixel_contrast_loss

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize("part", ["streaming", "mining"])
def test_the_kernels_equal_their_twins(part: str) -> None:
    pytest.importorskip("triton")
    script = Path(__file__).with_name("kernel_twins.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(SOURCE)}
    run = subprocess.run([sys.executable, script, part], env=environment, capture_output=True, text=True, check=False)
    if "only 0-dimensional arrays can be converted to Python scalars" in run.stderr:
        pytest.skip("the interpreter of Triton 3.6 does not run on numpy 2.4")
    assert run.returncode == 0, run.stderr


def test_without_a_gpu_they_are_refused() -> None:
    rows, labels = torch.ones(2, 3), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="needs a GPU, got anchors on the CPU"):
        pixel_contrast_loss(rows, labels, rows, labels, implementation="triton")


def test_float64_is_refused() -> None:
    rows, labels = torch.ones(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="computes in float32 at most, got float64"):
        pixel_contrast_loss(rows, labels, rows, labels, implementation="triton")
