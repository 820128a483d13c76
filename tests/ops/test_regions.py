"""Laws of region means and of unit length."""

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from pixelcontrast.ops import region_means
from pixelcontrast.ops.regions import region_means_of_rows, unit_length
from reference.memory import unit_mean


def random_map(*shape: int) -> Tensor:
    return unit_length(torch.randn(*shape, dtype=torch.float64))


@pytest.mark.parametrize("grid", [(30,), (5, 6), (2, 3, 5)])
def test_means_equal_the_loop(grid: tuple[int, ...]) -> None:
    embeddings = random_map(3, 4, *grid)
    labels = torch.randint(-1, 4, (3, *grid))
    labels[2, 0] = 255
    means = region_means(embeddings, labels, 5)
    assert means.embeddings.shape == (15, 4)
    for image in range(3):
        for c in range(5):
            pixels = embeddings[image].flatten(1).T[labels[image].flatten() == c]
            row = 5 * image + c
            if len(pixels):
                expected = torch.tensor(unit_mean([tuple(p) for p in pixels.tolist()]), dtype=torch.float64)
                torch.testing.assert_close(means.embeddings[row], expected)
                assert means.labels[row] == c
            else:
                assert means.labels[row] == -1
                assert not means.embeddings[row].any()


def test_normalize_divides_each_pixel_first() -> None:
    embeddings, labels = torch.randn(2, 6, 5, 5, dtype=torch.float64), torch.randint(0, 3, (2, 5, 5))
    lazily = region_means(embeddings, labels, 3, normalize=True)
    torch.testing.assert_close(lazily.embeddings, region_means(unit_length(embeddings), labels, 3).embeddings)


def test_rows_give_the_means_of_the_map() -> None:
    embeddings, labels = random_map(2, 6, 5, 5), torch.randint(0, 4, (2, 5, 5))
    labels[labels == 3] = 255
    whole = region_means(embeddings, labels, 3)
    rows = embeddings.flatten(2).transpose(1, 2).flatten(0, 1)
    regions = (labels + 3 * torch.arange(2)[:, None, None]).where(labels < 3, -1).flatten()
    shuffle = torch.randperm(50)
    loose = region_means_of_rows(rows[shuffle], regions[shuffle], num_images=2, num_classes=3)
    torch.testing.assert_close(loose.embeddings, whole.embeddings)
    assert torch.equal(loose.labels, whole.labels)


def test_ignored_pixels_have_no_influence_whatever_they_hold() -> None:
    embeddings, labels = random_map(2, 4, 6, 6), torch.randint(0, 2, (2, 6, 6))
    labels[:, :2] = 255
    before = region_means(embeddings, labels, 2)
    embeddings[:, :, :2] = 1e30
    assert torch.equal(region_means(embeddings, labels, 2).embeddings, before.embeddings)


def test_an_ignored_id_outside_of_a_small_type_is_no_class() -> None:
    labels = torch.tensor([[156, 1]], dtype=torch.uint8)
    found = region_means(torch.ones(1, 2, 2), labels, 171, ignore_index=-100)
    assert found.labels[[1, 156]].tolist() == [1, 156]


def test_low_precision_is_summed_in_float32() -> None:
    embeddings = torch.ones(1, 1, 64, 64, dtype=torch.bfloat16)
    embeddings[0, 0, 0, 0] = -1
    means = region_means(torch.cat([embeddings, torch.ones_like(embeddings)], dim=1), torch.zeros(1, 64, 64).long(), 1)
    assert means.embeddings.dtype == torch.float32
    ratio = means.embeddings[0, 0] / means.embeddings[0, 1]
    torch.testing.assert_close(ratio, torch.tensor(4094 / 4096))


def test_pixels_that_cancel_make_no_region() -> None:
    embeddings = torch.tensor([[[1.0, -1.0]]])
    means = region_means(embeddings, torch.zeros(1, 2, dtype=torch.int64), 1)
    assert means.labels.tolist() == [-1]
    assert not means.embeddings.any()


def test_labels_of_another_grid_are_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError), match="resize_labels|labels"):
        region_means(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2).long(), 3)


def test_unit_length_has_norm_one_and_gradcheck_holds() -> None:
    rows = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(unit_length(rows).norm(dim=1), torch.ones(3, 2, dtype=torch.float64))
    assert torch.autograd.gradcheck(unit_length, rows)


def test_a_zero_vector_stays_zero_with_a_zero_gradient() -> None:
    rows = torch.zeros(2, 3, requires_grad=True)
    out = unit_length(rows)
    out.sum().backward()
    assert not out.detach().any()
    assert rows.grad is not None
    assert not rows.grad.any()


@pytest.mark.parametrize("scale", [1e-10, 1e-6, 1e6, 1e15])
def test_unit_length_does_not_depend_on_scale(scale: float) -> None:
    rows = torch.randn(5, 8)
    torch.testing.assert_close(unit_length(rows * scale), unit_length(rows))
