"""A contact sheet: some images of each split beside their labels, chosen to show as many classes as they can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from pixelcontrast.data.check.facts import SplitFacts
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace
from pixelcontrast.data.legend import INK, LINE, MARGIN, PAPER, font, legend
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.data.transforms import visible
from pixelcontrast.types import Sample

IMAGES_PER_SPLIT = 9
COLUMNS = 3
THUMBNAIL = 236  # pixels, the longer side


def contact_sheet(splits: Sequence[SplitFacts], datasets: Mapping[str, SegmentationDataset]) -> Image.Image:
    """Draw up to nine images of each split, each with its labels at its right, and a legend of what is seen.

    Args:
        splits: What is known of each split.
        datasets: The splits by name, to read the chosen images from.
    """
    bands = [_band(facts, datasets[facts.split]) for facts in splits]
    space = splits[0].label_space
    seen = {label for facts in splits for image in facts.images for label in image.pixels or {}}
    entries = [(name, space.palette[i]) for i, name in enumerate(space.names) if i in seen]
    width = COLUMNS * _column_width() + MARGIN
    bands.append(legend([*entries, ("ignored", (0, 0, 0))], width=width))
    sheet = Image.new("RGB", (width, sum(band.height + MARGIN for band in bands) + MARGIN), PAPER)
    top = MARGIN
    for band in bands:
        sheet.paste(band, (0, top))
        top += band.height + MARGIN
    return sheet


def choose(facts: SplitFacts, count: int) -> list[int]:
    """Indices of at most `count` images that together show as many classes as a greedy choice can, in their order."""
    left = {image.index: {*(image.pixels or {})} - {IGNORE_INDEX} for image in facts.images}
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda index: len(left[index]))
        if not (shown := left.pop(best)):
            break  # all classes are shown: the rest is spread over the split
        chosen.append(best)
        left = {index: classes - shown for index, classes in left.items()}
    others = [image.index for image in facts.images if image.index not in chosen]
    missing = min(count - len(chosen), len(others))
    chosen += [others[i * len(others) // missing] for i in range(missing)]
    return sorted(chosen)


def _band(facts: SplitFacts, dataset: SegmentationDataset) -> Image.Image:
    """A split's title over its images."""
    samples = [dataset[index] for index in choose(facts, IMAGES_PER_SPLIT)]
    tiles = [_tile(sample, facts.label_space) for sample in samples]
    heights = [max(tile.height for tile in tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    band = Image.new("RGB", (COLUMNS * _column_width() + MARGIN, LINE + sum(h + MARGIN for h in heights)), PAPER)
    ImageDraw.Draw(band).text((MARGIN, 0), f"{facts.split}: {facts.num_images} images", fill=INK, font=font())
    top = LINE
    for row, height in enumerate(heights):
        for column, tile in enumerate(tiles[row * COLUMNS : (row + 1) * COLUMNS]):
            band.paste(tile, (MARGIN + column * _column_width(), top))
        top += height + MARGIN
    return band


def _tile(sample: Sample, space: LabelSpace) -> Image.Image:
    """An image, its labels, and its name."""
    panels = [Image.fromarray(np.asarray(visible(sample.image).permute(1, 2, 0)))]
    if sample.labels is not None:
        panels.append(Image.fromarray(np.asarray(space.colorize(sample.labels).permute(1, 2, 0))))
    for panel, kind in zip(panels, (Image.Resampling.LANCZOS, Image.Resampling.NEAREST), strict=False):
        panel.thumbnail((THUMBNAIL, THUMBNAIL), kind)
    tile = Image.new("RGB", (2 * THUMBNAIL + 2, panels[0].height + LINE), PAPER)
    for number, panel in enumerate(panels):
        tile.paste(panel, (number * (THUMBNAIL + 2), 0))
    ImageDraw.Draw(tile).text((0, panels[0].height + 2), sample.name[-70:], fill=INK, font=font())
    return tile


def _column_width() -> int:
    return 2 * THUMBNAIL + 2 + MARGIN
