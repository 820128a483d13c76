"""Predictions for images and videos without labels, under each one's own name and size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from pixelcontrast.data.transforms import normalize
from pixelcontrast.engine.inputs import Frame, Input, frames_of
from pixelcontrast.engine.outputs import OutputWriter
from pixelcontrast.engine.predictor import Strip, evaluating, predict
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.errors import DataError
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.types import BandStatistics

# Larger images are predicted in windows: 4 million pixels, or 2^28 probabilities (1 GiB), whichever is less.
LARGEST_WHOLE, LARGEST_VOLUME = 1 << 22, 1 << 28
WINDOW_OF_LARGE = (1024, 1024)


@dataclass(frozen=True)
class Predicted:
    """What became of the files that were asked for.

    Attributes:
        written: Number of images and video frames predicted.
        windowed: How many of them were too large to be predicted whole.
        skipped: Messages about the files that could not be read.
    """

    written: int
    windowed: int
    skipped: tuple[str, ...]


def predict_inputs(
    segmentor: Segmentor,
    inputs: Sequence[Input],
    writer: OutputWriter,
    *,
    device: torch.device,
    protocol: EvaluationOptions | None = None,
    batch_size: int = 1,
    advance: Callable[[Frame | None], None] | None = None,
) -> Predicted:
    """Predict every file that can be read, and go on after those that cannot.

    Args:
        segmentor: The network, on `device`.
        inputs: What to predict.
        writer: Takes the predictions.
        device: Where to compute.
        protocol: How an image is predicted; one that is too large for memory is cut into windows in any case.
        batch_size: Images of one size, one after another, that are predicted at once.
        advance: Called with each frame that was written, and with None for a file that could not be read.
    """
    protocol = protocol or EvaluationOptions()
    skipped: list[str] = []
    written = windowed = 0

    def skip(error: DataError) -> None:
        skipped.append(str(error))
        if advance is not None:
            advance(None)

    with evaluating(segmentor):
        for frames in _equal_in_size(_readable(inputs, segmentor.bands, skip), batch_size):
            chosen = protocol_for(frames[0], segmentor.num_classes, protocol)
            _predict_batch(segmentor, frames, writer, chosen, device=device)
            written += len(frames)
            windowed += len(frames) * (chosen != protocol)
            if advance is not None:
                for frame in frames:
                    advance(frame)
    return Predicted(written, windowed, tuple(skipped))


def protocol_for(frame: Frame, num_classes: int, protocol: EvaluationOptions) -> EvaluationOptions:
    """The protocol, in windows if the image is too large to be predicted whole."""
    pixels = frame.image[0].numel()
    if protocol.window is not None or (pixels <= LARGEST_WHOLE and num_classes * pixels <= LARGEST_VOLUME):
        return protocol
    return replace(protocol, window=WINDOW_OF_LARGE)


def _predict_batch(
    segmentor: Segmentor,
    frames: Sequence[Frame],
    writer: OutputWriter,
    protocol: EvaluationOptions,
    *,
    device: torch.device,
) -> None:
    images = [normalize(frame.image, mean=segmentor.mean, std=segmentor.std) for frame in frames]
    with writer.probabilities(frames) as files:

        def store(strip: Strip) -> None:
            for file, rows in zip(files, strip.probabilities, strict=False):  # there may be none
                file.add(rows)

        prediction = predict(segmentor, torch.stack(images).to(device), protocol, observe=store)
    for frame, labels in zip(frames, prediction.labels.cpu(), strict=True):
        writer.write(frame, labels)


def _readable(
    inputs: Iterable[Input], bands: BandStatistics | None, skip: Callable[[DataError], None]
) -> Iterator[Frame]:
    for source in inputs:
        try:
            yield from frames_of(source, bands)
        except DataError as error:
            skip(error)


def _equal_in_size(frames: Iterable[Frame], batch_size: int) -> Iterator[list[Frame]]:
    """Frames that follow each other and are equal in size, as many at a time as asked for, fewer if they are large."""
    held: list[Frame] = []
    for frame in frames:
        most = min(batch_size, max(1, LARGEST_WHOLE // frame.image[0].numel()))
        if held and (len(held) >= most or held[0].image.shape != frame.image.shape):
            yield held
            held = []
        held.append(frame)
    if held:
        yield held
