"""Similarities are cosines, found where they are said to be, whatever the order and the chunks."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelcontrast.explore import similarity
from pixelcontrast.explore.similarity import cell_of, distance_map, nearest_rows, similarity_map, thin_map
from pixelcontrast.ops.regions import unit_length


def units(*shape: int, seed: int = 0) -> Tensor:
    """Unit vectors in dimension 0 of a map, or rows if there are two dimensions."""
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return unit_length(values if len(shape) == 2 else values[None]).view(shape)


def everything(count: int) -> Tensor:
    return torch.ones(count, dtype=torch.bool)


def test_a_pixel_is_most_like_itself() -> None:
    features = units(8, 5, 7)
    heat = similarity_map(features, features[:, 3, 4])
    assert heat.shape == (5, 7)
    assert heat.argmax() == 3 * 7 + 4
    torch.testing.assert_close(heat[3, 4], torch.tensor(1.0))
    for row, column in ((0, 0), (4, 6), (2, 5)):
        cosine = F.cosine_similarity(features[:, row, column], features[:, 3, 4], dim=0)
        torch.testing.assert_close(heat[row, column], cosine)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.data())
@settings(deadline=None)
def test_a_pixel_lies_in_the_cell_that_holds_its_centre(
    height: int, width: int, rows: int, columns: int, data: st.DataObject
) -> None:
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    found = cell_of(row, column, size=(height, width), grid=(rows, columns))
    assert found == (int((row + 0.5) * rows / height), int((column + 0.5) * columns / width))


def test_the_nearest_rows_are_those_a_full_sort_gives() -> None:
    rows, vector = units(6, 50).T.contiguous(), units(6, 1, seed=1)[:, 0]
    rows = unit_length(rows)
    found = nearest_rows(rows, vector, count=7, allowed=everything(50))
    cosines = (rows * vector).sum(dim=1)
    assert found.index.tolist() == cosines.argsort(descending=True)[:7].tolist()
    torch.testing.assert_close(found.similarity, cosines[found.index])


def test_rows_that_are_not_allowed_are_not_found() -> None:
    rows = units(4, 10).T.contiguous()
    allowed = torch.arange(10) % 4 == 0
    found = nearest_rows(rows, rows[1], count=8, allowed=allowed)
    assert sorted(found.index.tolist()) == [0, 4, 8]
    assert len(nearest_rows(rows, rows[0], count=3, allowed=~everything(10)).index) == 0


def test_of_equal_rows_the_first_is_found() -> None:
    rows = torch.eye(3).repeat(3, 1)
    assert nearest_rows(rows, torch.eye(3)[1], count=3, allowed=everything(9)).index.tolist() == [1, 4, 7]


def test_distance_is_that_of_the_nearest_row_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rows = units(6, 4, 5), unit_length(units(6, 30, seed=2).T)
    cosines = torch.stack([similarity_map(features, row) for row in rows])
    expected = 1 - cosines.amax(dim=0)
    torch.testing.assert_close(distance_map(features, rows), expected)
    monkeypatch.setattr(similarity, "_CHUNK", 1)
    torch.testing.assert_close(distance_map(features, rows), expected)


def test_what_is_among_the_rows_is_at_no_distance() -> None:
    features = units(6, 4, 5)
    rows = features.flatten(1).T
    torch.testing.assert_close(distance_map(features, rows), torch.zeros(4, 5), atol=1e-6, rtol=0)
    assert distance_map(features, -rows[:1])[0, 0] == pytest.approx(2)


def test_a_thinned_map_has_few_cells_and_each_is_one_of_the_map() -> None:
    features = units(3, 20, 31)
    thin = thin_map(features, most=50)
    assert thin[0].numel() <= 50
    cells = {tuple(cell) for cell in features.flatten(1).T.tolist()}
    assert all(tuple(cell) in cells for cell in thin.flatten(1).T.tolist())
    assert torch.equal(thin_map(features, most=620), features)
