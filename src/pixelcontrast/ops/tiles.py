"""Large images in pieces: cut into overlapping tiles, and merged back row by row.

Every pixel gets the mean of what the tiles that hold it say. Tiles come and merged rows go in the order of the image,
so no more is held than one row of tiles: k x tile height x image width values, whatever the height of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Float[Tensor, "*b H W"]) -> Float[Tensor, "*b h w"]:
        """The part of an image that it covers, not copied."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def tiles_of(height: int, width: int, *, size: tuple[int, int], overlap: float) -> list[Tile]:
    """Cover an image with tiles of one size, row by row.

    Tiles start at 0, s, 2 s, ... along each side, with s = round((1 - overlap) size), at least 1; the last one of a
    side is moved back until it ends with the image, as usual for sliding windows. A side shorter than a tile has one
    tile of its own length.

    Args:
        height: Of the image.
        width: Of the image.
        size: Height and width of a tile.
        overlap: Share of a tile that the next one covers again; at least 0, below 1.

    Raises:
        ValueError: If the overlap is outside of that, or a size is not positive.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be at least 0 and below 1, got {overlap}")
    rows, columns = (_starts(*sides, overlap=overlap) for sides in ((height, size[0]), (width, size[1])))
    return [Tile(top, left, min(size[0], height), min(size[1], width)) for top in rows for left in columns]


def merge_tiles(
    parts: Iterable[tuple[Tile, Float[Tensor, "k h w"]]], *, width: int
) -> Iterator[tuple[int, Float[Tensor, "k rows W"]]]:
    """Average overlapping parts, and give the rows of the image that are complete, from the top.

    Sums are taken in the order of the tiles, so the result is that of the plain loop over pixels, bit for bit.

    Args:
        parts: Tiles as `tiles_of` orders them, and what they hold; all on one device, where the mean is taken.
        width: Of the image.

    Yields:
        Number of the first row, and the mean there; the rows are to be used, or copied, before the next are asked for.
    """
    top, sums, counts = 0, None, None
    for tile, values in parts:
        if sums is None or counts is None:
            sums, counts = values.new_zeros(values.shape[0], tile.height, width), values.new_zeros(tile.height, width)
        if tile.top > top:
            done = tile.top - top
            yield top, sums[:, :done].div_(counts[:done])
            for plane in (*sums, counts):  # one by one, for the copy to be small
                plane[: tile.height - done] = plane[done:].clone()
                plane[tile.height - done :] = 0
            top = tile.top
        columns = slice(tile.left, tile.left + tile.width)
        sums[:, :, columns] += values
        counts[:, columns] += 1
    if sums is not None and counts is not None:
        yield top, sums.div_(counts)


def _starts(length: int, size: int, *, overlap: float) -> list[int]:
    if size < 1:
        raise ValueError(f"a tile must have at least 1 pixel a side, got {size}")
    last = max(length - size, 0)
    return [*range(0, last, max(1, round((1 - overlap) * size))), last]
