"""What is published works alone: the wheel, away from the source tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_alone_lists_its_recipes_and_trains_one_step(tmp_path: Path) -> None:
    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    alone = tmp_path / "alone"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(alone), str(wheel))
    assert str(alone) in run("-c", "import pixelcontrast; print(pixelcontrast.__file__)", PYTHONPATH=str(alone))
    assert "synthetic/hrnet_w18_small" in run("-m", "pixelcontrast", "list", "recipes", PYTHONPATH=str(alone))
    small = ["trainer.max_steps=1", "data.batch_size=2", "data.crop_size=[64, 64]", "trainer.accelerator=cpu"]
    overrides = [argument for value in small for argument in ("--set", value)]
    run("-m", "pixelcontrast", "train", "synthetic/hrnet_w18_small", *overrides, "--run-dir", "run",
        PYTHONPATH=str(alone))  # fmt: skip
    assert (tmp_path / "run" / "scores.json").exists()
    assert (tmp_path / "run" / "weights.safetensors").exists()
