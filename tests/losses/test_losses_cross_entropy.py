"""Laws of the cross-entropy term."""

import pytest
import torch
import torch.nn.functional as F

from pixelcontrast.losses import CrossEntropy
from pixelcontrast.ops.dense import cross_entropy


def loop(logits: torch.Tensor, labels: torch.Tensor, weights: list[float], smoothing: float) -> torch.Tensor:
    total, mass = torch.zeros((), dtype=logits.dtype), 0.0
    num_classes = logits.shape[1]
    for image, row, column in torch.cartesian_prod(*(torch.arange(size) for size in labels.shape)).tolist():
        label = int(labels[image, row, column])
        if label == 255:
            continue
        log_probability = logits[image, :, row, column].log_softmax(0)
        total = total - (1 - smoothing) * weights[label] * log_probability[label]
        for other in range(num_classes):
            total = total - smoothing / num_classes * weights[other] * log_probability[other]
        mass += weights[label]
    return total / mass


def problem(num_classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(2, num_classes, 3, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, num_classes, (2, 3, 5))
    labels[0, :2] = 255
    return logits, labels


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [0.2, 3.0, 0.0, 1.0]])
def test_equals_the_loop_over_pixels(weights: list[float], smoothing: float) -> None:
    logits, labels = problem()
    found = cross_entropy(logits, labels, class_weights=torch.tensor(weights), label_smoothing=smoothing)
    # The product keeps the weights in float64, as the loop has them.
    torch.testing.assert_close(found, loop(logits, labels, weights, smoothing), rtol=1e-6, atol=1e-8)


def test_equals_the_plain_mean_of_torch() -> None:
    logits, labels = problem()
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))


def test_gradient() -> None:
    logits, labels = problem()
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, labels, label_smoothing=0.1), (logits,))


@pytest.mark.parametrize("weighted", [False, True])
def test_all_ignored_is_a_zero_with_a_gradient_of_zero(weighted: bool) -> None:
    logits = torch.randn(2, 4, 3, 5, requires_grad=True)
    weights = torch.ones(4) if weighted else None
    loss = cross_entropy(logits, torch.full((2, 3, 5), 255), class_weights=weights, label_smoothing=0.1)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0.0


def test_ignored_pixels_have_no_influence() -> None:
    logits, labels = problem()
    other = torch.where((labels == 255)[:, None], torch.full_like(logits, 1e4), logits)
    assert cross_entropy(logits, labels).item() == cross_entropy(other, labels).item()


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits, labels = problem()
    for dtype in (torch.float16, torch.bfloat16):
        found = cross_entropy(logits.to(dtype), labels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, cross_entropy(logits.to(dtype).float(), labels))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cross_entropy(logits.to(torch.float32), labels).dtype == torch.float32


def test_extreme_logits_stay_finite() -> None:
    logits, labels = problem()
    assert cross_entropy(logits * 1e30, labels).isfinite()


def test_the_term_resizes_logits_to_the_labels() -> None:
    labels = torch.randint(0, 4, (2, 12, 20))
    coarse = torch.randn(2, 4, 3, 5)
    fine = F.interpolate(coarse, size=(12, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(CrossEntropy()(coarse, labels), CrossEntropy()(fine, labels))


@pytest.mark.parametrize("bad", [{"weight": -1.0}, {"label_smoothing": 1.0}, {"class_weights": (1.0, -1.0)}])
def test_options_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        CrossEntropy(**bad)


def test_one_weight_a_class_or_an_error() -> None:
    with pytest.raises(ValueError, match="each of 4 classes, got 3"):
        CrossEntropy(class_weights=(1.0, 1.0, 1.0))(torch.randn(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
