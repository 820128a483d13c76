"""What one does with a finished run: evaluate it, and predict with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from pixelcontrast.data import DataSet
from pixelcontrast.engine.prediction import Predicted, find_images, predict_images
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import score_split
from pixelcontrast.nn.segmentor import Segmentor


def best_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def evaluate_run(run_dir: Path, data: DataSet, *, split: str) -> Scores:
    """Evaluate a run's deployed weights on a split; what comes out goes to `evaluations/SPLIT` in the run folder.

    Raises:
        UserError: If the run has no weights, or the split cannot be read.
    """
    folder = RunFolder(run_dir)
    device = best_device()
    segmentor = Segmentor.from_pretrained(folder.require_weights()).to(device)
    place = folder.evaluation(split)
    step = json.loads(folder.scores.read_text())["step"] if folder.scores.exists() else 0
    scores = score_split(segmentor, data, split, device=device, step=step, folder=place)
    scores.save(place.scores)
    return scores


def predict_run(run_dir: Path, inputs: Sequence[Path], output: Path, *, console: Console) -> Predicted:
    """Predict images with a run's deployed weights; files that cannot be read are skipped.

    Raises:
        UserError: If the run has no weights, or an input is missing or holds no image.
    """
    weights = RunFolder(run_dir).require_weights()
    found = find_images(inputs)
    device = best_device()
    segmentor = Segmentor.from_pretrained(weights).to(device)
    steps = track(range(len(found)), description="predicting", console=console)
    return predict_images(segmentor, found, output, device=device, steps=steps)
