"""A leap of a term is reported with its step and files; noise, trends and what is not finite are not."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcontrast.engine import spikes
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.spikes import SpikeWatch
from pixelcontrast.recipe.root import Recipe
from pixelcontrast.types import Batch
from training_runs import run, shortened


def fed(*values: float, factor: float = 12.0) -> SpikeWatch:
    watch = SpikeWatch(factor)
    for value in values:
        watch.judge(value)
    return watch


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_noise_and_a_falling_trend_are_no_spikes_at_any_scale(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    trend = torch.linspace(2, 1, 400) * torch.rand(400, generator=generator).mul(0.3).add(1)
    watch = SpikeWatch(12.0)
    assert [watch.judge(scale * float(value)) for value in trend] == [None] * 400


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_a_leap_is_a_spike_at_any_scale_and_the_median_before_it_is_told(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = (scale * torch.rand(60, generator=generator).mul(0.3).add(1)).tolist()
    median = fed(*values).judge(10 * scale)
    assert median == pytest.approx(sorted(values)[30], rel=0.05)


def test_the_first_steps_are_not_judged_and_one_spike_hides_no_other() -> None:
    assert fed(*[1.0] * 49).judge(100.0) is None
    watch = fed(*[1.0] * 50)
    assert [watch.judge(100.0) for _ in range(3)] == [1.0] * 3


def test_what_is_not_finite_is_left_to_others() -> None:
    watch = fed(*[1.0, float("nan")] * 50, float("inf"))
    assert len(watch.values) == 50
    assert watch.judge(float("nan")) is None


def test_a_lower_level_and_a_flat_line_are_no_spikes() -> None:
    watch = fed(*[1.0] * 60)
    assert watch.judge(0.01) is None
    assert watch.judge(1.2) is None
    assert watch.judge(1.25) is not None


def test_a_run_names_step_files_and_value_once_and_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps are enough to compare with here; the third one's cross entropy is made to leap."""
    step, names = SegmentationTask.training_step, []

    def leaping(task: SegmentationTask, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = step(task, batch, batch_idx)
        if task.global_step == 2:
            names.extend(batch.names)
            task.parts["loss/cross_entropy"] = torch.tensor(500.0)
        return loss

    monkeypatch.setattr(SegmentationTask, "training_step", leaping)
    monkeypatch.setattr(spikes, "_FEWEST", 2)
    _, printed = run(shortened(recipe, log_every=2), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "incidents.jsonl").read_text().splitlines()]
    (incident,) = (line for line in lines if "cross_entropy" in line["text"])
    assert (incident["step"], incident["kind"], incident["files"]) == (2, "spike", names)
    assert "loss/cross_entropy is 500" in incident["text"]
    assert f"loss spike at step 2: {incident['text']}; files: {', '.join(names)}" in " ".join(printed.split())
