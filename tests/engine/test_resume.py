"""A run that was interrupted, anywhere and any number of times, ends as one that was not: bit for bit on a CPU."""

import os
import random
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataset_layouts import folder
from pixelcontrast.engine.checkpoints import WholeCheckpointIO, checkpoints_in
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.random_state import random_state, set_random_state
from pixelcontrast.errors import DataError, Stopped
from pixelcontrast.recipe.root import Recipe
from training_runs import before_each_batch, metrics_of, run, shortened

EVERYTHING = {"accumulate": 2, "ema_decay": 0.9, "evaluate_every": 2}


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
    assert (one / "scores.json").read_text() == (other / "scores.json").read_text()
    assert metrics_of(one) == metrics_of(other)
    states = [WholeCheckpointIO().load_checkpoint(checkpoints_in(each / "checkpoints")[-1]) for each in (one, other)]
    for state in states:
        state.pop("provenance")  # when, and how often, differ
        for each in state["random_states"]:
            each.pop("python")  # beartype, which checks these tests, draws from it too
    assert_equal(*states)


def assert_equal(one: Any, other: Any, place: str = "checkpoint") -> None:
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_equal(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{place}[{index}]")
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, place


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")  # more than this machine's cores
@pytest.mark.parametrize(
    ("workers", "options"),
    [
        (0, {}),
        (0, EVERYTHING),
        pytest.param(1, EVERYTHING, marks=pytest.mark.slow),
        pytest.param(4, EVERYTHING, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_stopped_in_every_step_it_ends_as_if_it_had_not_been(
    recipe: Recipe, tmp_path: Path, workers: int, options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is compared: weights, averages, optimiser, memory, generators, loop, metrics, scores."""
    recipe = replace(shortened(recipe, **options), data=replace(recipe.data, workers=workers))
    draws: dict[str, list[tuple[float, float]]] = {"whole": [], "parts": []}

    def draw(name: str) -> None:
        draws[name].append((np.random.rand(), float(torch.rand(()))))

    with before_each_batch(monkeypatch, lambda step: draw("whole")):
        run(recipe, tmp_path / "whole")

    stopped_at: list[int] = []

    def stop_in(step: int) -> None:
        draw("parts")
        if step not in stopped_at:
            stopped_at.append(step)
            os.kill(os.getpid(), signal.SIGTERM)

    with before_each_batch(monkeypatch, stop_in):
        for session in range(recipe.trainer.max_steps):
            with pytest.raises(Stopped):
                run(recipe, tmp_path / "parts", resume=session > 0)
        run(recipe, tmp_path / "parts", resume=True)
    assert stopped_at == list(range(recipe.trainer.max_steps))
    assert draws["whole"] == draws["parts"]
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    lines = (tmp_path / "parts" / "provenance.jsonl").read_text().splitlines()
    assert len(lines) == recipe.trainer.max_steps + 1


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("pixelcontrast.engine.module.SegmentationTask.loss_of", 3),  # in a step
        ("pixelcontrast.engine.evaluation.predict", 2),  # in a validation, after a checkpoint of the same step
        ("pixelcontrast.engine.callbacks.append_metrics", 1),  # between a validation and its line
        ("torch.save", 2),  # in a checkpoint
        ("pixelcontrast.nn.saving.write_weights", 1),  # with the training done
        ("pixelcontrast.engine.scores.write_text", 1),  # with the final evaluation done
    ],
)
def test_where_a_crash_hits_makes_no_difference(
    recipe: Recipe, tmp_path: Path, function: str, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shortened(recipe, max_steps=4, checkpoint_every=1, evaluate_every=2)
    run(recipe, tmp_path / "whole")
    module, _, name = function.rpartition(".")
    calls = 0

    def crashes(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise RuntimeError("the plug is pulled")
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        owner: Any = __import__(module, fromlist=[""]) if "SegmentationTask" not in module else SegmentationTask
        original = getattr(owner, name)
        patch.setattr(owner, name, crashes)
        with pytest.raises(RuntimeError, match="plug"):
            run(recipe, tmp_path / "parts")
    _, printed = run(recipe, tmp_path / "parts", resume=True)
    assert "resuming at step" in printed
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert not list((tmp_path / "parts").rglob("*.partial"))


def test_the_best_validation_is_remembered(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shortened(recipe, max_steps=4, evaluate_every=1)
    _, whole = run(recipe, tmp_path / "whole")

    def stop_in(step: int) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with before_each_batch(monkeypatch, stop_in), pytest.raises(Stopped):
        run(recipe, tmp_path / "parts")
    _, printed = run(recipe, tmp_path / "parts", resume=True)
    said = [[line for line in text.splitlines() if line.startswith("best so far")] for text in (whole, printed)]
    assert said[0][-1] == said[1][-1]


def test_a_change_of_conditions_is_announced(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shortened(recipe, max_steps=2)
    with before_each_batch(monkeypatch, lambda step: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(Stopped):
        run(recipe, tmp_path / "run")
    torch.set_num_threads(2)
    monkeypatch.setattr("pixelcontrast.engine.provenance._version", lambda package: "99")
    _, printed = run(recipe, tmp_path / "run", resume=True)
    text = " ".join(printed.split())
    assert "changed since the checkpoint:" in text
    assert "threads 1, now 2" in text
    assert "now 99" in text
    assert "not bit for bit" in text


@pytest.fixture
def stopped(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A run in `run`, stopped after its first step, on a data set of its own in `data`."""
    layout = folder(tmp_path / "data")
    recipe = replace(recipe, data=replace(layout.options, batch_size=2, crop_size=(24, 32), workers=0))
    recipe = shortened(recipe, max_steps=2)
    with before_each_batch(monkeypatch, lambda step: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(Stopped):
        run(recipe, tmp_path / "run")
    return recipe


def test_other_images_are_announced(stopped: Recipe, tmp_path: Path) -> None:
    for file in (tmp_path / "data").glob("*/train/train-0.*"):
        file.unlink()
    for file in (tmp_path / "data").glob("*/val/val-0.*"):
        file.rename(file.with_stem("val-9"))
    text = " ".join(run(stopped, tmp_path / "run", resume=True)[1].split())
    assert re.search(r"images of train 3 \(\w{8}\), now 2 \(\w{8}\); images of val 2 \(\w{8}\), now 2 \(", text)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("[soil, weed, crop]", "class 1 was 'crop', and is 'weed'"),
        ("[soil, crop, weed, stone]", "3 classes, and the data set has 4 now; class 3 was 'not there', and is 'stone'"),
    ],
)
def test_other_classes_are_refused(stopped: Recipe, tmp_path: Path, now: str, said: str) -> None:
    (tmp_path / "data" / "classes.yaml").write_text(now)
    with pytest.raises(DataError, match=said):
        run(stopped, tmp_path / "run", resume=True)


def test_every_generator_goes_on_where_it_was() -> None:
    state = random_state()
    draws = [(random.gauss(0, 1), np.random.randn(), float(torch.randn(()))) for _ in range(3)]
    set_random_state(state)
    assert [(random.gauss(0, 1), np.random.randn(), float(torch.randn(()))) for _ in range(3)] == draws


@pytest.mark.skipif(not torch.cuda.is_available(), reason="float16's scaler needs a GPU")
def test_the_scaler_of_float16_is_resumed(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shortened(recipe, precision="fp16", accelerator="gpu")
    run(recipe, tmp_path / "whole")

    def stop_in(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with before_each_batch(monkeypatch, stop_in), pytest.raises(Stopped):
        run(recipe, tmp_path / "parts")
    run(recipe, tmp_path / "parts", resume=True)
    states = [
        WholeCheckpointIO().load_checkpoint(checkpoints_in(tmp_path / name / "checkpoints")[-1])
        for name in ("whole", "parts")
    ]
    assert states[0]["MixedPrecision"] == states[1]["MixedPrecision"]
    assert states[0]["MixedPrecision"]["scale"] > 0
