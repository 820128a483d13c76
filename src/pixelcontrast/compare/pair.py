"""Two runs beside each other: one table and one picture an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.markup import escape
from rich.table import Table

from pixelcontrast.data.legend import INK, PAPER
from pixelcontrast.engine.pictures import save_picture
from pixelcontrast.engine.scores import Scores

_LINE, _MARGIN = 26, 8


def table_of_two(scores: Mapping[str, Scores]) -> Table:
    """IoU of each class under the first and the second way to train, and the second minus the first."""
    (first, one), (second, two) = scores.items()
    table = Table(
        title="IoU in percent, one run each", caption=escape(f"{one.protocol}; {one.images} images; one seed")
    )
    table.add_column("class")
    for column in (first, second, "difference"):
        table.add_column(column, justify="right")
    for name in one.IoU:
        table.add_row(escape(name), *_cells(one.IoU[name], two.IoU[name]))
    table.add_section()
    for label in ("mIoU", "mAcc", "aAcc"):
        table.add_row(label, *_cells(getattr(one, label), getattr(two, label)), style="bold" if label == "mIoU" else "")
    return table


def tall_pictures(folders: Mapping[str, Path], output: Path) -> tuple[Path, ...]:
    """For each picture that all folders hold, one with all of them above each other, titled."""
    output.mkdir(parents=True, exist_ok=True)
    held = [{p.relative_to(folder) for p in folder.rglob("*.png")} for folder in folders.values()]
    written = []
    for name in sorted(set.intersection(*held)):
        path = output / name
        save_picture(path, _above_each_other({title: _read(folder / name) for title, folder in folders.items()}))
        written.append(path)
    return tuple(written)


def _read(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _above_each_other(pictures: Mapping[str, Image.Image]) -> Image.Image:
    width = max(picture.width for picture in pictures.values())
    height = sum(picture.height + _LINE for picture in pictures.values())
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    top = 0
    for title, picture in pictures.items():
        draw.text((_MARGIN, top + 4), title, fill=INK, font=font)
        sheet.paste(picture, (0, top + _LINE))
        top += picture.height + _LINE
    return sheet


def _cells(one: float | None, two: float | None) -> tuple[str, str, str]:
    shown = ["absent" if value is None else f"{value:.2f}" for value in (one, two)]
    return (*shown, f"{two - one:+z.2f}" if one is not None and two is not None else "")  # type: ignore[return-value]
