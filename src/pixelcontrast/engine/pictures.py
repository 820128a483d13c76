"""Pictures of predictions: image, label, prediction and errors side by side, with a legend."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.data.legend import INK, LINE, MARGIN, PAPER, font, legend
from pixelcontrast.data.transforms import visible
from pixelcontrast.files import written_whole

VOID = (0, 0, 0)
# Right is a calm grey and wrong a strong orange: told apart by lightness too, so safe for colour-blind readers.
RIGHT, WRONG = (225, 225, 225), (213, 94, 0)


def colourise(labels: Int[Tensor, "H W"], palette: Sequence[tuple[int, int, int]]) -> UInt8[Tensor, "H W 3"]:
    """Colour of each pixel's class; black where the id is not of the palette."""
    table = torch.tensor([*palette, VOID], dtype=torch.uint8)
    known = (labels >= 0) & (labels < len(palette))
    return table[torch.where(known, labels, len(palette)).long()]


def errors_picture(labels: Int[Tensor, "H W"], predictions: Int[Tensor, "H W"], *, num_classes: int) -> Tensor:
    """Grey where right, orange where wrong, black where there is no label; uint8 [H W 3]."""
    colours = torch.tensor([RIGHT, WRONG, VOID], dtype=torch.uint8)
    return colours[error_kinds(labels, predictions, num_classes=num_classes)]


def error_kinds(
    labels: Integer[Tensor, "H W"], predictions: Integer[Tensor, "H W"], *, num_classes: int
) -> Int[Tensor, "H W"]:
    """0 where right, 1 where wrong, 2 where there is no label."""
    labelled = (labels >= 0) & (labels < num_classes)
    return (labels != predictions).long().where(labelled, 2)


def data_uri(picture: Image.Image, form: Literal["JPEG", "PNG"], **options: Any) -> str:
    """A picture as the address of itself; `options` are those of Pillow's writer."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def comparison(
    image: UInt8[Tensor, "3 H W"],
    labels: Int[Tensor, "H W"],
    predictions: Int[Tensor, "H W"],
    label_space: LabelSpace,
) -> Image.Image:
    """Image, label, prediction and errors in a 2 x 2 sheet, titled, with a legend of the classes that occur."""
    names, palette = label_space.names, label_space.palette
    panels = {
        "image": image.permute(1, 2, 0),
        "label": colourise(labels, palette),
        "prediction": colourise(predictions, palette),
        "errors": errors_picture(labels, predictions, num_classes=len(names)),
    }
    seen = set(labels.flatten().tolist()) | set(predictions.flatten().tolist())
    entries = [(name, palette[i]) for i, name in enumerate(names) if i in seen]
    entries += [("not labelled", VOID), ("right", RIGHT), ("wrong", WRONG)]
    return _sheet({title: Image.fromarray(np.asarray(panel)) for title, panel in panels.items()}, entries)


def _sheet(panels: dict[str, Image.Image], entries: Sequence[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    width, height = next(iter(panels.values())).size
    sheet_width, cell = 2 * width + 3 * MARGIN, height + LINE + MARGIN
    below = legend(entries, width=sheet_width)
    sheet = Image.new("RGB", (sheet_width, 2 * cell + MARGIN + below.height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (title, panel) in enumerate(panels.items()):
        left, top = MARGIN + (number % 2) * (width + MARGIN), MARGIN // 2 + (number // 2) * cell
        draw.text((left, top), title, fill=INK, font=font())
        sheet.paste(panel, (left, top + LINE))
    sheet.paste(below, (0, 2 * cell + MARGIN))
    return sheet


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture as PNG, whole, making its folder.

    Raises:
        RunError: If the disk has no room.
    """
    with written_whole(path) as partial:
        picture.save(partial, "PNG")


def as_pixels(
    images: Float[Tensor, "b c H W"], *, mean: tuple[float, ...], std: tuple[float, ...]
) -> UInt8[Tensor, "b 3 H W"]:
    """Undo the normalisation of images that a network was given; other bands than RGB are shown as `visible` does."""
    shift, factor = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (mean, std))
    values = (images * factor + shift).cpu()
    if len(mean) != 3 or max(mean) > 1:
        return torch.stack([visible(each) for each in values])
    return values.clamp(0, 1).mul(255).round().byte()
