import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pixelcontrast.ops.resize import crop, num_cells, pad_to_multiple, resize_labels, resize_logits

sides = st.integers(1, 23)


@given(sides, sides, sides, sides)
def test_labels_take_the_class_under_the_new_centre(h: int, w: int, new_h: int, new_w: int) -> None:
    labels = torch.arange(h * w).view(1, h, w)
    resized = resize_labels(labels, (new_h, new_w))
    for i in range(new_h):
        for j in range(new_w):
            assert resized[0, i, j] == labels[0, int((i + 0.5) * h / new_h), int((j + 0.5) * w / new_w)]


def test_labels_by_whole_factors_equal_torch_nearest_exact() -> None:
    labels = torch.randint(0, 99, (2, 16, 24))
    expected = F.interpolate(labels[:, None].double(), size=(4, 8), mode="nearest-exact")[:, 0].long()
    assert torch.equal(resize_labels(labels, (4, 8)), expected)


@pytest.mark.parametrize("grid", [(8,), (8, 6), (4, 6, 8)])
def test_labels_of_any_number_of_dimensions(grid: tuple[int, ...]) -> None:
    labels = torch.randint(0, 5, (2, *grid), dtype=torch.uint8)
    resized = resize_labels(labels, [side // 2 for side in grid])
    assert resized.shape == (2, *(side // 2 for side in grid))
    assert resized.dtype == torch.uint8


def test_labels_with_another_number_of_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="2 spatial dimensions, but the size asked for has 3"):
        resize_labels(torch.zeros(1, 4, 4, dtype=torch.int64), (2, 2, 2))


def test_equal_size_is_the_same_tensor() -> None:
    image = torch.rand(1, 3, 5, 7)
    assert resize_logits(image, (5, 7)) is image
    assert pad_to_multiple(torch.rand(1, 3, 8, 16), 8).shape == (1, 3, 8, 16)


def test_constant_stays_constant_and_padding_is_zero() -> None:
    image = torch.full((1, 3, 5, 7), 0.25)
    assert resize_logits(image, (9, 3)).allclose(torch.tensor(0.25))
    padded = pad_to_multiple(image, 4)
    assert padded.shape == (1, 3, 8, 8)
    assert padded.sum().isclose(image.sum())


@given(sides, st.integers(1, 9))
def test_cells_cover_a_side_and_no_more(side: int, stride: int) -> None:
    assert (num_cells(side, stride) - 1) * stride < side <= num_cells(side, stride) * stride


def test_what_was_padded_is_cropped_away() -> None:
    image = torch.rand(2, 3, 5, 7)
    assert torch.equal(crop(pad_to_multiple(image, 4), (5, 7)), image)
    assert crop(image, (5, 7)) is image
