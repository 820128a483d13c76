"""Predictions for images without labels: class ids, colours and an overlay, under the image's own name and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelcontrast.data.decoding import IMAGE_SUFFIXES, read_image
from pixelcontrast.data.transforms import normalize
from pixelcontrast.engine.evaluation import evaluating, predict
from pixelcontrast.engine.pictures import colourise
from pixelcontrast.errors import DataError
from pixelcontrast.nn.segmentor import Segmentor


@dataclass(frozen=True)
class Predicted:
    """What became of the images that were asked for.

    Attributes:
        written: Label files, one an image.
        skipped: Messages about the images that could not be read.
    """

    written: tuple[Path, ...]
    skipped: tuple[str, ...]


def find_images(inputs: Sequence[Path]) -> dict[Path, Path]:
    """Images by where they lie below the inputs: `{relative name: file}`.

    Raises:
        DataError: If an input does not exist, holds no image, or two images would get one name.
    """
    found: dict[Path, Path] = {}
    for given in inputs:
        if not given.exists():
            raise DataError(f"no file or folder at {given}; name images or folders of images.")
        files = (
            [given] if given.is_file() else sorted(p for p in given.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        )
        if not files:
            raise DataError(f"no image in {given}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}.")
        for file in files:
            name = Path(file.name) if given.is_file() else file.relative_to(given)
            if found.setdefault(name.with_suffix(""), file) != file:
                raise DataError(f"{file} and {found[name.with_suffix('')]} would both be written as {name.stem}.")
    return found


def predict_images(
    segmentor: Segmentor,
    images: Mapping[Path, Path],
    output: Path,
    *,
    device: torch.device,
    steps: Iterable[object] = (),
) -> Predicted:
    """Write `labels/NAME.png` (class ids), `colour/NAME.png` and `overlay/NAME.png` for each image.

    Args:
        segmentor: The network, on `device`.
        images: Files by the name to write them under, as `find_images` gives them.
        output: Folder that takes the three folders.
        device: Where to compute.
        steps: Advanced once an image, for a progress bar.

    Returns:
        What was written, and what could not be read.
    """
    written, skipped = [], []
    with evaluating(segmentor):
        for (name, file), _ in zip_longest(images.items(), steps):
            try:
                image = read_image(file)
            except DataError as error:
                skipped.append(str(error))
                continue
            written.append(_predict_one(segmentor, image, output, name, device=device))
    return Predicted(tuple(written), tuple(skipped))


def _predict_one(segmentor: Segmentor, image: Tensor, output: Path, name: Path, *, device: torch.device) -> Path:
    normalised = normalize(image, mean=segmentor.mean, std=segmentor.std)[None].to(device)
    labels = predict(segmentor, normalised, size=image.shape[-2:]).labels.cpu()
    colours = np.asarray(colourise(labels, segmentor.palette))
    blend = (0.5 * np.asarray(image.permute(1, 2, 0)) + 0.5 * colours).astype(np.uint8)
    pictures = {"labels": np.asarray(labels.to(torch.uint8)), "colour": colours, "overlay": blend}
    for folder, values in pictures.items():
        path = (output / folder / name).with_name(name.name + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    return (output / "labels" / name).with_name(name.name + ".png")
