"""The scripts of benchmarks/ run: figures are for the machines they are made on, but a script must not rot."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pixelcontrast.engine.training import train
from pixelcontrast.recipe.root import dump, load

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def small_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Runs parts of gpu.py in its small mode, which prints and writes JSON files to `tmp_path`."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr("measure._said_by", lambda *_: "")  # no git: a source that is being changed is measured again

    def call(*parts: str) -> str:
        monkeypatch.setattr(sys, "argv", ["gpu.py", *parts, "--small", "--output", str(tmp_path)])
        runpy.run_path(str(FOLDER / "gpu.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


def results(path: Path) -> dict[str, dict[str, object]]:
    content = json.loads(path.read_text())
    assert {"commit", "hardware", "threads", "torch"} <= set(content["environment"])
    return content["results"]


def test_a_part_for_a_gpu_runs_on_a_cpu_and_is_not_repeated(small_gpu, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small_gpu("kernel")
    assert {"products", "all", "semi_hard"} <= set(results(tmp_path / "gpu_kernel.json")["190"])
    before = (tmp_path / "gpu_kernel.json").read_bytes()
    again = small_gpu("kernel", "waits")
    assert "kernel: done before" in again
    assert (tmp_path / "gpu_kernel.json").read_bytes() == before
    (tmp_path / "gpu_waits.json").write_bytes(before.replace(b'"hardware": "', b'"hardware": "another, '))
    assert "done before" not in small_gpu("waits")
    assert set(results(tmp_path / "gpu_waits.json").values()) == {"no wait", False}


@pytest.mark.slow
def test_every_other_part_for_a_gpu_runs_on_a_cpu(small_gpu, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small_gpu("step", "profile", "float16", "pinned")
    assert results(tmp_path / "gpu_step.json")["cross entropy"]["ratio"] == 1.0
    assert all(entry["calls"] >= 1 for entry in results(tmp_path / "gpu_profile.json")["semi_hard"].values())
    assert results(tmp_path / "gpu_float16.json")["finite"] is True
    losses = results(tmp_path / "gpu_pinned.json")["losses"]
    assert losses["device"] == losses["cpu"]


def test_loading_is_measured_beside_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    output = tmp_path / "loading.json"
    arguments = ["--images", "1", "--repetitions", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["loading.py", *arguments])
    runpy.run_path(str(FOLDER / "loading.py"), run_name="__main__")
    assert set(results(output)) == {"decoding", "loading"}
    assert json.loads(output.read_text())["ratio"] > 1


def test_gradients_of_detached_keys_are_shorter_than_those_of_keys_that_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    changes = ["data.crop_size=[64,64]", "data.batch_size=2", "contrast.memory=null", "trainer.max_steps=1"]
    recipe = load("synthetic/hrnet_w18_small", [*changes, "trainer.logger=none"])
    train(recipe, recipe_text=dump(recipe), run_dir=tmp_path / "run", resume=False, console=Console(quiet=True))
    output = tmp_path / "gradients.json"
    few = ["--filling", "1", "--measured", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["gradients.py", str(tmp_path / "run"), *few])
    runpy.run_path(str(FOLDER / "gradients.py"), run_name="__main__")
    figures = json.loads(output.read_text())["runs"][str(tmp_path / "run")]
    assert figures["in_batch"]["relative"] == 1
    assert figures["in_batch"]["cosine_to_in_batch"] == pytest.approx(1, abs=1e-3)
    assert figures["detached"]["relative"] < 0.8
    assert set(figures) == {"cross_entropy", "in_batch", "detached", "pixels", "regions", "both"}
