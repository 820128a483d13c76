"""A run goes on past images that cannot be read, names each once, and stops at the limit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pixelcontrast.errors import DataError
from pixelcontrast.recipe.difference import differences
from pixelcontrast.recipe.root import Recipe
from training_runs import metrics_of, run, shortened


@pytest.fixture
def broken(recipe: Recipe, camvid_root: Path, tmp_path: Path) -> Recipe:
    """Two of six training images cannot be read."""
    root = tmp_path / "data"
    shutil.copytree(camvid_root, root)
    for name in ("1.png", "4.png"):
        (root / "train" / name).write_bytes(b"\x89PNG cut off")
    data = replace(recipe.data, root=str(root), on_error="skip")
    return replace(recipe, data=data, contrast=None)


def test_a_run_names_each_unreadable_image_once_and_resumes_exactly(broken: Recipe, tmp_path: Path) -> None:
    _, printed = run(broken, tmp_path / "whole")
    assert [printed.count(name) for name in ("train/1.png", "train/4.png")] == [1, 1]
    lines = [json.loads(line) for line in (tmp_path / "whole" / "incidents.jsonl").read_text().splitlines()]
    assert sorted(Path(line["text"].partition(":")[0]).name for line in lines) == ["1.png", "4.png"]
    assert {line["kind"] for line in lines} == {"unreadable"}

    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    for path in (tmp_path / "parts" / "checkpoints").glob("step_00000006*"):
        path.unlink()
    for name in ("scores.json", "weights.safetensors"):
        (tmp_path / "parts" / name).unlink()
    run(broken, tmp_path / "parts", resume=True)
    one, other = (tmp_path / name / "weights.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "parts")
    one, other = (tmp_path / name / "incidents.jsonl" for name in ("whole", "parts"))
    assert one.read_text() == other.read_text()


def test_more_than_the_limit_stop_it(broken: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 images cannot be read, more than data\.max_unreadable=1.*check"):
        run(replace(broken, data=replace(broken.data, max_unreadable=1)), tmp_path / "run")


def test_a_run_that_a_fault_stopped_can_go_on_in_another_way(recipe: Recipe) -> None:
    kinder = replace(recipe, data=replace(recipe.data, on_error="skip", max_unreadable=3))
    assert differences(recipe, shortened(kinder, non_finite="skip", spike_factor=3.0)) == ()
