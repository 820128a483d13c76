from math import isnan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelcontrast.ops.boundary import band_width, boundary_counts, inner_boundary
from pixelcontrast.ops.confusion import iou_of_margins, margins
from reference import boundary as reference

NUM_CLASSES = 3


@st.composite
def maps(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], int]:
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    ids = st.sampled_from([0, 0, 0, 1, 1, 2, 255, -1])
    row = st.lists(ids, min_size=width, max_size=width)
    labels = draw(st.lists(row, min_size=height, max_size=height))
    predictions = [[max(0, min(value, 2)) if draw(st.booleans()) else 0 for value in line] for line in labels]
    return labels, predictions, draw(st.integers(1, 4))


@given(maps())
def test_boundary_iou_equals_its_loop_twin(drawn: tuple[list[list[int]], list[list[int]], int]) -> None:
    labels, predictions, width = drawn
    counts = boundary_counts(torch.tensor(labels), torch.tensor(predictions), NUM_CLASSES, width=width)
    expected = reference.boundary_iou(labels, predictions, NUM_CLASSES, width)
    for got, wanted in zip(iou_of_margins(counts).tolist(), expected, strict=True):
        assert isnan(got) if wanted is None else got == wanted


def test_a_band_as_wide_as_the_image_gives_iou() -> None:
    labels, predictions = torch.randint(0, 3, (2, 12, 17))
    counts = torch.zeros(3, 3, dtype=torch.int64)
    counts.index_put_((labels.flatten(), predictions.flatten()), torch.tensor(1), accumulate=True)
    assert torch.equal(boundary_counts(labels, predictions, 3, width=17), margins(counts))


def test_pixels_without_a_label_have_no_influence() -> None:
    labels, predictions = torch.randint(0, 3, (2, 20, 30))
    labels[5:9, 3:20] = 255
    other = predictions.clone()
    other[5:9, 3:20] = torch.randint(0, 3, (4, 17))
    assert not torch.equal(other, predictions)
    one, two = (boundary_counts(labels, each, 3, width=2) for each in (predictions, other))
    assert torch.equal(one, two)


def test_a_square_has_the_band_one_would_draw() -> None:
    ids = torch.zeros(9, 9, dtype=torch.int64)
    ids[2:7, 2:7] = 1
    band = inner_boundary(ids, outside=-1, width=1)
    assert band[2:7, 2:7].sum() == 16
    assert not band[3:6, 3:6].any()
    assert band[0].all()


@pytest.mark.parametrize(("size", "expected"), [((360, 480), 12), ((1024, 2048), 46), ((3, 3), 1)])
def test_width_is_a_share_of_the_diagonal(size: tuple[int, int], expected: int) -> None:
    assert band_width(*size, share=0.02) == expected
