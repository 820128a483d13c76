"""A dry run: what a recipe will cost, measured on a few real steps, before anything is trained."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from pixelcontrast.engine.measuring import peak_bytes
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.pictures import as_pixels, colourise, save_picture
from pixelcontrast.engine.precision import autocast
from pixelcontrast.engine.ranks import best_device
from pixelcontrast.engine.run_options import RunOptions
from pixelcontrast.engine.training import build_task, describe
from pixelcontrast.types import Batch

_STEPS = 3


def plan(recipe: RunOptions, *, picture: Path, console: Console) -> None:
    """Print sizes, planned memory and time per step, and write a picture of the first batch.

    The steps are real ones, forward and backward, in the recipe's precision, but no weight is changed.

    Raises:
        UserError: For everything that would stop the run at its start.
    """
    task = build_task(recipe)
    val = recipe.data.open("val")
    describe(task, recipe, console)
    data = task.training_data
    console.print(f"data: {recipe.data.name}, {len(data.dataset)} training and {len(val)} validation images")
    batches = list(data.loader(task.segmentor, num_steps=_STEPS))
    save_picture(picture, batch_picture(batches[0], task))
    console.print(f"first batch: {tuple(batches[0].image.shape)}, pictured in {picture}")
    options = recipe.trainer
    device = torch.device("cpu") if options.accelerator == "cpu" else best_device()
    seconds = options.accumulate * min(_seconds_of(task, batch, device=device) for batch in batches)
    total = seconds * options.max_steps / 3600
    console.print(f"time: {seconds:.2f} s a step on {device}, so about {total:.1f} h for {options.max_steps} steps")
    console.print(f"peak memory: {peak_bytes(device) / 1e9:.2f} GB on {device}")


def batch_picture(batch: Batch, task: SegmentationTask) -> Image.Image:
    """Images of a batch above their labels, as the network gets them."""
    images = as_pixels(batch.image, mean=task.segmentor.mean, std=task.segmentor.std).permute(0, 2, 3, 1)
    labels = torch.stack([colourise(label, task.segmentor.palette) for label in batch.labels])
    rows: list[Tensor] = [torch.cat(list(images), dim=1), torch.cat(list(labels), dim=1)]
    return Image.fromarray(np.asarray(torch.cat(rows)))


def _seconds_of(task: SegmentationTask, batch: Batch, *, device: torch.device) -> float:
    """Forward, every term of the loss as if contrast had started, and backward."""
    task.to(device).train()
    batch = task.transfer_batch_to_device(batch, device, 0)
    started = time.perf_counter()
    with autocast(task.options.precision, device):
        loss = task.loss_of(batch, step=task.options.max_steps)[0]
    loss.backward()  # type: ignore[no-untyped-call]
    loss.item()  # waits for the device
    task.zero_grad()
    return time.perf_counter() - started
