"""Files of TensorBoard's embedding projector, which are overwritten: it shows the newest embeddings of a run.

Format: a table of numbers a set of embeddings, one of labels, and a sheet of thumbnails, named in
`projector_config.pbtxt` (https://www.tensorflow.org/tensorboard/tensorboard_projector_plugin).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from pixelcontrast.files import write_text, written_whole

CONFIG, FOLDER = "projector_config.pbtxt", "projector"
_DIGITS = "%.4g"  # of a number from -1 to 1


def write_projector(
    folder: Path,
    embeddings: Mapping[str, Float[np.ndarray, "n _"]],
    columns: Mapping[str, Sequence[str]],
    thumbnails: Sequence[Image.Image],
) -> None:
    """Write sets of embeddings of the same pixels.

    Args:
        folder: Where TensorBoard finds the run's events.
        embeddings: A table a set, by the name it is shown under; their rows are the same pixels.
        columns: What is known of each pixel, by what it is called; at least two.
        thumbnails: Of each pixel, square and equal in size.

    Raises:
        RunError: If the disk has no room.
    """
    entries = [columns.keys(), *zip(*columns.values(), strict=True)]
    write_text(folder / FOLDER / "pixels.tsv", "".join("\t".join(map(_cell, entry)) + "\n" for entry in entries))
    with written_whole(folder / FOLDER / "thumbnails.png") as partial:
        _square_sheet(thumbnails).save(partial, "PNG")
    for name, rows in embeddings.items():
        with written_whole(folder / FOLDER / f"{name}.tsv") as partial:
            np.savetxt(partial, rows, fmt=_DIGITS, delimiter="\t")
    write_text(folder / CONFIG, "".join(_entry(name, thumbnails[0].width) for name in embeddings))


def _entry(name: str, side: int) -> str:
    return (
        f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "{FOLDER}/{name}.tsv"\n'
        f'  metadata_path: "{FOLDER}/pixels.tsv"\n'
        f'  sprite {{ image_path: "{FOLDER}/thumbnails.png" single_image_dim: {side} single_image_dim: {side} }}\n}}\n'
    )


def _cell(text: str) -> str:
    """On one line and without a tab, which would begin another column."""
    return " ".join(text.split()) or "-"


def _square_sheet(thumbnails: Sequence[Image.Image]) -> Image.Image:
    """As many a row as there are rows, which the projector takes for granted."""
    side, count = thumbnails[0].width, math.ceil(math.sqrt(len(thumbnails)))
    sheet = Image.new("RGB", (count * side, count * side))
    for number, thumbnail in enumerate(thumbnails):
        sheet.paste(thumbnail, (number % count * side, number // count * side))
    return sheet
