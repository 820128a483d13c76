"""Runs a step that a training kept again, on its own: the data set is not needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from pixelcontrast.data import LabelSpace
from pixelcontrast.engine.diagnosis import Diagnosis, diagnose
from pixelcontrast.engine.kept_step import KeptStep, load_kept_step
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.precision import autocast
from pixelcontrast.engine.random_state import set_torch_state
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.run_options import RunOptions
from pixelcontrast.engine.training import assemble
from pixelcontrast.errors import RunError


def kept_files(run_dir: Path, step: int | None) -> tuple[Path, ...]:
    """The files of a kept step, one a rank: of the one asked for, or of the last.

    Raises:
        RunError: If the run kept none, or not that one.
    """
    files = sorted(RunFolder(run_dir).replay.glob("step_*.pt"))
    if not files:
        raise RunError(f"{run_dir} kept no step: nothing in it was not finite, or trainer.non_finite was ignore")
    last = files[-1].stem.partition("-")[0]
    wanted = last if step is None else f"step_{step:08d}"
    found = tuple(file for file in files if file.stem.partition("-")[0] == wanted)
    if not found:
        raise RunError(f"{run_dir} kept no step {step}; it kept {', '.join(file.stem for file in files)}")
    return found


def replay_step(recipe: RunOptions, file: Path, *, device: torch.device) -> tuple[KeptStep, tuple[Diagnosis, ...]]:
    """Run a kept step again, forward and backward, and look at every number.

    On the CPU, with as many threads as then, it computes what the run computed, bit for bit; batch statistics over
    several ranks are those of this rank alone, and a compiled network runs as it is written.

    Raises:
        RunError: If the file is none that a training kept, or is of another recipe.
    """
    kept = load_kept_step(file)
    task = _task_of(recipe, kept, source=file).to(device).train()
    batches = [task.transfer_batch_to_device(batch, device, 0) for batch in kept.images()]
    set_torch_state(kept.generators)
    found = diagnose(
        task,
        batches,
        step=kept.step,
        class_names=kept.class_names,
        precision=lambda: autocast(kept.precision, device),
        scale=kept.scale,
    )
    return kept, found


def _task_of(recipe: RunOptions, kept: KeptStep, *, source: Path) -> SegmentationTask:
    space = LabelSpace(tuple(kept.class_names), tuple((r, g, b) for r, g, b in kept.palette))
    task = assemble(recipe, replace(recipe.model, pretrained=False), space, None)
    bands = task.segmentor.in_channels
    if any(batch.image.shape[1] != bands for batch in kept.images()):
        raise RunError(f"{source} is of another recipe than the one beside it: its images have not {bands} channels")
    try:
        task.segmentor.load_state_dict(kept.network)
        task.criteria.load_state_dict(kept.contrast)
    except RuntimeError as error:
        raise RunError(f"{source} is of another recipe than the one beside it: {error}") from error
    return task
