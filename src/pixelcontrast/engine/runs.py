"""What one does with a trained network: evaluate it, and predict with it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from pixelcontrast.contrast.ranks import rank
from pixelcontrast.data import DataSet
from pixelcontrast.engine.inputs import Frame, Input, count_frames
from pixelcontrast.engine.outputs import OutputWriter
from pixelcontrast.engine.prediction import Predicted, predict_inputs
from pixelcontrast.engine.progress import CountProgress
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.engine.ranks import best_device, joined_ranks
from pixelcontrast.engine.run_folder import EvaluationFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import score_split
from pixelcontrast.nn.segmentor import Segmentor


def evaluate_network(
    segmentor: Segmentor,
    data: DataSet,
    protocol: EvaluationOptions,
    *,
    split: str,
    step: int,
    folder: EvaluationFolder,
    console: Console,
) -> Scores | None:
    """Evaluate a network on a split, with all processes that `torchrun` started; what comes out goes to `folder`.

    Args:
        segmentor: The network.
        data: The data set and how it is loaded.
        protocol: How an image is predicted.
        split: Which split; it must have labels.
        step: Optimiser steps the network was trained for.
        folder: Takes scores, counts by image, examples and pictures.
        console: Where progress is shown.

    Returns:
        The scores, on the first process; None on the others.

    Raises:
        DataError: If the split cannot be read, or has other classes than the network.
    """
    with joined_ranks() as device:
        scores = score_split(
            segmentor.to(device),
            data,
            split,
            device=device,
            step=step,
            protocol=protocol,
            folder=folder,
            console=console,
        )
        if rank() > 0:
            return None
    scores.save(folder.scores)
    return scores


def predict_with_network(
    segmentor: Segmentor,
    inputs: Sequence[Input],
    writer: OutputWriter,
    protocol: EvaluationOptions,
    *,
    batch_size: int,
    console: Console,
) -> Predicted:
    """Predict images and videos on this machine's accelerator, and show how far it is.

    Args:
        segmentor: The network.
        inputs: What to predict.
        writer: Takes the predictions.
        protocol: How an image is predicted.
        batch_size: Images of equal size that are predicted at once.
        console: Where progress is shown.

    Raises:
        UserError: If videos cannot be read here, or names do not suit what is to be written.
    """
    writer.check_names(inputs)
    device, total = best_device(), sum(count_frames(each) for each in inputs)
    with writer, CountProgress("predicting", total, console) as progress:

        def show(frame: Frame | None) -> None:
            progress.advance("" if frame is None else str(frame.name))

        return predict_inputs(
            segmentor.to(device), inputs, writer, device=device, protocol=protocol, batch_size=batch_size, advance=show
        )
