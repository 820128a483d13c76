"""Cut-outs of training images: a pixel in its surroundings, a region within its box, the rest grey."""

from __future__ import annotations

import functools

import numpy as np
import torch
from PIL import Image, ImageDraw

from pixelcontrast.engine.crops import crop_around
from pixelcontrast.explore.choices import Choice, Picture, Splits
from pixelcontrast.explore.layers import as_jpeg
from pixelcontrast.explore.runs import TrainingIndex

SIDE = 112  # pixels of a side on the page
_ROOM = 0.15  # of a box's longer side, around it
_DIMMED = 0.5
_KEPT = 2000  # crops, some 5 kB each


class TrainingCrops:
    """Crops of the images that an index is of, read when they are asked for; the last 2,000 are kept.

    Args:
        index: Says which image, where.
        splits: Of the data set the index was made from.
    """

    def __init__(self, index: TrainingIndex, splits: Splits) -> None:
        self._index, self._splits = index, splits
        # A wrapper a thing, so that two runs do not share one.
        self.pixel = functools.lru_cache(maxsize=_KEPT)(self._pixel)
        self.region = functools.lru_cache(maxsize=_KEPT)(self._region)
        self._picture = functools.lru_cache(maxsize=32)(self._read)

    def _pixel(self, row: int) -> str:
        """A pixel's surroundings, with a ring around it, as a data URI.

        Raises:
            DataError: If its image cannot be read.
        """
        stored = self._index.stored
        picture = self._picture(int(stored.pixel_image[row]))
        height, width = (int(side) for side in stored.sizes[stored.pixel_image[row]])
        place_row, place_column = (
            int(stored.pixel_row[row]) * picture.size[0] // height,
            int(stored.pixel_column[row]) * picture.size[1] // width,
        )
        crop = crop_around(picture.pixels, row=place_row, column=place_column, side=SIDE)
        draw = ImageDraw.Draw(crop)
        centre = SIDE // 2
        for radius, colour in ((6, (0, 0, 0)), (5, (255, 255, 255))):
            draw.ellipse((centre - radius, centre - radius, centre + radius, centre + radius), outline=colour)
        return as_jpeg(crop)

    def _region(self, row: int) -> str:
        """A region and what is around it, grey and dim, as a data URI.

        Raises:
            DataError: If its image cannot be read.
        """
        stored = self._index.stored
        picture = self._picture(int(stored.region_image[row]))
        assert picture.labels is not None  # the index was made from labels
        member = picture.labels == int(stored.region_label[row])
        grey = (_DIMMED * picture.pixels.float().mean(dim=0)).byte()
        pixels = torch.where(member, picture.pixels, grey)
        top, left, bottom, right = (int(side) for side in stored.region_box[row])
        room = int(_ROOM * max(bottom - top, right - left)) + 4
        top, left = max(top - room, 0), max(left - room, 0)
        cut = pixels[:, top : bottom + room, left : right + room]
        crop = Image.fromarray(np.asarray(cut.permute(1, 2, 0)))
        crop.thumbnail((2 * SIDE, 2 * SIDE))
        return as_jpeg(crop)

    def _read(self, image: int) -> Picture:
        return self._splits.read(Choice(self._index.split, self._index.names[image]))
