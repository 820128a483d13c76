"""What every dense term of the union must do, so that a new one cannot be left out."""

import dataclasses
import inspect
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from fake_gpu import Crossings, fake_gpu
from pixelcontrast.losses import DenseTerm

TERMS = get_args(DenseTerm)
SMALL = {"rmi": {"pool": 2}, "ohem": {"min_kept": 20}}
NUM_CLASSES = 4


@pytest.fixture(params=TERMS, ids=lambda term: term().name)
def term(request: pytest.FixtureRequest) -> DenseTerm:
    return request.param(**SMALL.get(request.param().name, {}))


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    labels = F.interpolate(torch.randint(0, NUM_CLASSES, (2, 1, 4, 5)).float(), scale_factor=4).long()[:, 0]
    labels[0, :3, :7] = 255
    return torch.randn(2, NUM_CLASSES, 16, 20, requires_grad=True), labels


def test_every_term_has_a_name_of_its_own() -> None:
    assert len({term().name for term in TERMS}) == len(TERMS)


def test_every_term_is_a_frozen_option_with_a_weight(term: DenseTerm) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        term.weight = 2.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="weight must be a finite number of at least 0"):
        dataclasses.replace(term, weight=float("nan"))


def test_every_option_is_documented(term: DenseTerm) -> None:
    for field in dataclasses.fields(term):
        assert f"\n    {field.name}: " in inspect.cleandoc(type(term).__doc__ or "")


def test_logits_of_any_size_are_resized_to_the_labels(term: DenseTerm) -> None:
    _, labels = problem()
    coarse = torch.randn(2, NUM_CLASSES, 5, 7)
    fine = F.interpolate(coarse, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(term(coarse, labels), term(fine, labels))


def test_a_right_answer_costs_less_than_a_wrong_one(term: DenseTerm) -> None:
    _, labels = problem()
    right = 8.0 * F.one_hot(labels.where(labels != 255, 0), NUM_CLASSES).permute(0, 3, 1, 2).float()
    assert term(right, labels) < term(torch.randn_like(right), labels)


def test_following_the_gradient_lowers_it(term: DenseTerm) -> None:
    logits, labels = problem()
    first = term(logits, labels)
    (gradient,) = torch.autograd.grad(first, logits)
    assert gradient.isfinite().all()
    assert term(logits - 0.05 * gradient / gradient.norm(), labels) < first


def test_ignored_pixels_have_no_influence_and_no_gradient(term: DenseTerm) -> None:
    logits, labels = problem()
    ignored = (labels == 255)[:, None]
    (gradient,) = torch.autograd.grad(term(logits, labels), logits)
    assert (gradient * ignored).abs().max() == 0
    assert term(logits, labels).item() == term(torch.where(ignored, logits.neg() * 50, logits), labels).item()


def test_all_ignored_is_a_zero_with_a_gradient_of_zero(term: DenseTerm) -> None:
    logits, labels = problem()
    loss = term(logits, torch.full_like(labels, 255))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0.0


def test_the_order_of_images_does_not_matter(term: DenseTerm) -> None:
    logits, labels = problem()
    torch.testing.assert_close(term(logits.flip(0), labels.flip(0)), term(logits, labels))


def test_the_numbering_of_classes_does_not_matter(term: DenseTerm) -> None:
    logits, labels = problem()
    turned = torch.where(labels == 255, 255, (labels + 1) % NUM_CLASSES)
    torch.testing.assert_close(term(logits.roll(1, dims=1), turned), term(logits, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(term: DenseTerm, dtype: torch.dtype) -> None:
    logits, labels = problem()
    with torch.autocast("cpu", dtype=dtype):
        found = term(logits.detach().to(dtype), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, term(logits.detach().to(dtype).float(), labels))


@pytest.mark.parametrize("scale", [0.0, 1e4, 1e30])
def test_extreme_logits_stay_finite(term: DenseTerm, scale: float) -> None:
    logits, labels = problem()
    loss = term(logits * scale, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_one_class_and_one_image_are_enough(term: DenseTerm) -> None:
    logits, labels = problem()
    assert term(logits[:1], torch.zeros_like(labels[:1])).isfinite()


@pytest.mark.compiled
def test_it_compiles_into_one_graph(term: DenseTerm) -> None:
    logits, labels = problem()
    torch.compiler.reset()
    compiled = torch.compile(term.__call__, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, labels), term(logits, labels))


def test_nothing_waits_for_a_gpu(term: DenseTerm) -> None:
    with fake_gpu(), Crossings() as crossings:
        term(torch.zeros(2, NUM_CLASSES, 16, 20), torch.zeros(2, 16, 20, dtype=torch.int64))
    assert crossings.seen == []
