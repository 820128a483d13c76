"""Laws of the cross-entropy term beyond the contract."""

import pytest
import torch
import torch.nn.functional as F

from pixelcontrast.losses import CrossEntropy
from pixelcontrast.ops.dense import cross_entropy


def test_equals_the_plain_mean_of_torch() -> None:
    logits, labels = torch.randn(2, 4, 3, 5), torch.randint(0, 4, (2, 3, 5))
    labels[0, :2] = 255
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_pixels_of_weightless_classes_alone_cost_nothing(smoothing: float) -> None:
    logits, labels = torch.randn(1, 2, 3, 3, requires_grad=True), torch.zeros(1, 3, 3, dtype=torch.int64)
    loss = cross_entropy(logits, labels, class_weights=torch.tensor([0.0, 1.0]), label_smoothing=smoothing)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("bad", [{"weight": -1.0}, {"label_smoothing": 1.0}, {"class_weights": (1.0, -1.0)}])
def test_options_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        CrossEntropy(**bad)


def test_one_weight_a_class_or_an_error() -> None:
    with pytest.raises(ValueError, match="each of 4 classes, got 3"):
        CrossEntropy(class_weights=(1.0, 1.0, 1.0))(torch.randn(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
