"""The legend of a picture: a coloured square and a name for each class, in as many rows as its width needs."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from pixelcontrast.data.labels import Color

MARGIN, LINE = 8, 18
PAPER, INK = (255, 255, 255), (30, 30, 30)
_SQUARE = 17  # a square and the gap behind it


def font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font of all pictures."""
    return ImageFont.load_default(size=12)


def legend(entries: Sequence[tuple[str, Color]], *, width: int) -> Image.Image:
    """Draw entries left to right, top to bottom, on paper of `width` pixels; at least one row."""
    face = font()
    rows: list[list[tuple[int, str, Color]]] = [[]]
    left = MARGIN
    for name, color in entries:
        needed = _SQUARE + int(face.getlength(name)) + 2 * MARGIN
        if left + needed > width and rows[-1]:
            rows.append([])
            left = MARGIN
        rows[-1].append((left, name, color))
        left += needed
    picture = Image.new("RGB", (width, len(rows) * LINE), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        top = number * LINE
        for left, name, color in row:
            draw.rectangle((left, top + 2, left + 12, top + 14), fill=color, outline=INK)
            draw.text((left + _SQUARE, top), name, fill=INK, font=face)
    return picture
