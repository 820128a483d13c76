"""The dense losses equal their loop twins, and their gradients are those of the formulas."""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor

from pixelcontrast.ops.dense import (
    cross_entropy,
    dice_loss,
    lovasz_softmax,
    ohem_cross_entropy,
    region_mutual_information_loss,
)
from reference import dense as reference

Problem = tuple[Tensor, Tensor]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    batch, classes, height, width = (draw(st.integers(1, high)) for high in (2, 4, 4, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    labels = torch.randint(0, classes, (batch, height, width), generator=generator)
    ignored = torch.rand(labels.shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    logits = torch.randn(batch, classes, height, width, generator=generator, dtype=torch.float64)
    return logits * draw(st.sampled_from([0.1, 3.0])), labels.masked_fill(ignored, 255)


def in_lists(problem: Problem) -> tuple[list[list[float]], list[int | None]]:
    logits, labels = problem
    return logits.movedim(1, -1).flatten(0, 2).tolist(), [None if x == 255 else x for x in labels.flatten().tolist()]


@settings(max_examples=60, deadline=None)
@given(problem=problems(), smoothing=st.sampled_from([0.0, 0.2]), weight=st.sampled_from([0.0, 0.3, 1.0]))
def test_cross_entropy_equals_its_loop(problem: Problem, smoothing: float, weight: float) -> None:
    weights = [weight, 1.0, 2.0, 1.0][: problem[0].shape[1]]
    tensor = torch.tensor(weights, dtype=torch.float64)
    found = cross_entropy(*problem, class_weights=tensor, label_smoothing=smoothing)
    assert found.item() == pytest.approx(reference.cross_entropy(*in_lists(problem), weights, smoothing), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(problem=problems(), threshold=st.sampled_from([0.0, 0.4, 0.7, 1.0]), min_kept=st.integers(1, 50))
def test_ohem_equals_its_loop(problem: Problem, threshold: float, min_kept: int) -> None:
    found = ohem_cross_entropy(*problem, threshold=threshold, min_kept=min_kept)
    if problem[0].shape[1] == 1:
        assert found.item() == 0.0  # every pixel ties with every other, at a loss of zero
        return
    assert found.item() == pytest.approx(reference.ohem(*in_lists(problem), threshold, min_kept), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_dice_equals_its_loop(problem: Problem) -> None:
    assert dice_loss(*problem).item() == pytest.approx(reference.dice(*in_lists(problem)), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_lovasz_equals_its_loop(problem: Problem) -> None:
    assert lovasz_softmax(*problem).item() == pytest.approx(reference.lovasz(*in_lists(problem)), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    radius=st.integers(1, 3),
    pool=st.integers(1, 2),
    regulariser=st.sampled_from([1e-3, 0.1]),
    ignored=st.sampled_from([0.0, 0.05, 1.0]),
)
def test_rmi_equals_its_loop(seed: int, radius: int, pool: int, regulariser: float, ignored: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 11, 13, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 11, 13), generator=generator)
    hidden = torch.rand(labels.shape, generator=generator) < ignored
    options = {"radius": radius, "pool": pool, "regulariser": regulariser}
    found = region_mutual_information_loss(logits, labels.masked_fill(hidden, 255), **options)
    shown = ~hidden[:, None]
    truth = F.one_hot(labels, 3).movedim(-1, 1) * shown
    probability = logits.softmax(1) * shown
    expected = reference.region_mutual_information(probability.numpy(), truth.numpy(), hidden.numpy(), **options)
    assert found.item() == pytest.approx(expected, abs=1e-9)


LOSSES: list[Callable[..., Tensor]] = [
    lambda x, y: cross_entropy(x, y, label_smoothing=0.1),
    lambda x, y: ohem_cross_entropy(x, y, threshold=0.5, min_kept=3),
    dice_loss,
    lovasz_softmax,
    lambda x, y: region_mutual_information_loss(x, y, radius=2, pool=1, regulariser=0.01),
]


@pytest.mark.parametrize("loss", LOSSES, ids=["cross_entropy", "ohem", "dice", "lovasz", "rmi"])
def test_gradient(loss: Callable[..., Tensor]) -> None:
    logits = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (2, 5, 4))
    labels[0, 0] = 255
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (logits,))


def test_ohem_keeps_at_least_what_it_is_told() -> None:
    logits = torch.zeros(1, 2, 1, 4, dtype=torch.float64)
    logits[0, 0, 0] = torch.tensor([5.0, 6.0, 7.0, 8.0])  # all sure and right
    labels = torch.zeros(1, 1, 4, dtype=torch.int64)
    each = F.cross_entropy(logits, labels, reduction="none").flatten()
    torch.testing.assert_close(ohem_cross_entropy(logits, labels, min_kept=2), each[:2].mean())
    torch.testing.assert_close(ohem_cross_entropy(logits, labels, min_kept=100), each.mean())


def test_lovasz_of_a_hard_prediction_is_one_minus_iou() -> None:
    labels, predictions = torch.randint(0, 3, (2, 6, 6)), torch.randint(0, 3, (2, 6, 6))
    logits = 1e4 * F.one_hot(predictions, 3).movedim(-1, 1).double()
    losses = []
    for c in range(3):
        union = (labels == c) | (predictions == c)
        losses.append(1 - ((labels == c) & (predictions == c)).sum() / union.sum())
    torch.testing.assert_close(lovasz_softmax(logits, labels), torch.stack(losses).mean().double(), rtol=0, atol=1e-6)


def test_rmi_of_the_labels_themselves_is_near_its_floor() -> None:
    labels = torch.randint(0, 3, (2, 24, 24))
    logits = 1e3 * F.one_hot(labels, 3).movedim(-1, 1).double()
    assert 0.0 <= region_mutual_information_loss(logits, labels).item() < 0.35  # log(2) / 2 by its ridge
