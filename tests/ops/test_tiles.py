import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pixelcontrast.ops.tiles import merge_tiles, tiles_of
from reference import tiles as reference

sides = st.integers(1, 14)
overlaps = st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 0.9])


def merged(image: Tensor, size: tuple[int, int], overlap: float, scale: float = 3.0) -> Tensor:
    """What the merge gives of a function that differs from window to window."""
    tiles = tiles_of(*image.shape[-2:], size=size, overlap=overlap)
    parts = ((tile, doubled(tile.cut(image), scale)) for tile in tiles)
    rows = [(top, strip.clone()) for top, strip in merge_tiles(parts, width=image.shape[-1])]
    assert [top for top, _ in rows] == [sum(s.shape[1] for _, s in rows[:i]) for i in range(len(rows))]
    assert all(strip.shape[1] <= size[0] for _, strip in rows)
    return torch.cat([strip for _, strip in rows], dim=1)


def doubled(window: Tensor, scale: float = 3.0) -> Tensor:
    return torch.cat([window * scale, window - window.mean()])


@given(sides, sides, sides, sides, overlaps)
def test_merging_equals_the_loop_over_pixels_bit_for_bit(
    height: int, width: int, rows: int, columns: int, overlap: float
) -> None:
    image = torch.randn(2, height, width)
    steps = tuple(max(1, round((1 - overlap) * side)) for side in (rows, columns))
    expected = reference.sliding_mean(image, (rows, columns), (steps[0], steps[1]), doubled)
    assert torch.equal(merged(image, (rows, columns), overlap), expected)


@given(sides, sides, sides, sides, overlaps)
def test_cutting_and_merging_gives_the_image_back(
    height: int, width: int, rows: int, columns: int, overlap: float
) -> None:
    image = torch.randint(-8, 8, (1, height, width)).float()  # whole numbers, whose sums are exact
    assert torch.equal(merged(image, (rows, columns), overlap, scale=1.0)[:1], image)


def test_no_more_is_held_than_a_row_of_tiles() -> None:
    tiles = tiles_of(1000, 40, size=(10, 40), overlap=0.5)
    parts = ((tile, torch.zeros(3, tile.height, tile.width)) for tile in tiles)
    held = {strip.untyped_storage().nbytes() for _, strip in merge_tiles(parts, width=40)}
    assert held == {4 * 3 * 10 * 40}


def test_there_is_nothing_to_merge_without_tiles() -> None:
    assert list(merge_tiles([], width=3)) == []


@pytest.mark.parametrize(("size", "overlap"), [((4, 4), 1.0), ((4, 4), -0.1), ((0, 4), 0.0)])
def test_what_cannot_cover_an_image_is_refused(size: tuple[int, int], overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap must be|a tile must have"):
        tiles_of(8, 8, size=size, overlap=overlap)
