"""What is read of one pixel is what the whole map holds there; doubt is 0 for the sure and 1 for the clueless."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcontrast.explore.readings import class_shares, prediction_and_entropy, probabilities_at
from pixelcontrast.ops.resize import resize_logits


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_a_pixel_reads_as_the_resized_map_does(rows: int, columns: int, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, rows, columns, generator=generator)
    whole = resize_logits(logits[None], (height, width))[0].softmax(dim=0)
    for row, column in {(0, 0), (height - 1, width - 1), (height // 2, width // 3)}:
        found = probabilities_at(logits, row, column, size=(height, width))
        torch.testing.assert_close(found, whole[:, row, column], atol=1e-5, rtol=1e-4)


def test_entropy_goes_from_0_to_1() -> None:
    logits = torch.zeros(4, 1, 3)
    logits[2, 0, 1] = 60.0
    logits[:2, 0, 2] = 60.0
    prediction, entropy = prediction_and_entropy(logits, size=(1, 3))
    torch.testing.assert_close(entropy[0], torch.tensor([1.0, 0.0, math.log(2) / math.log(4)]))
    assert prediction[0, 1] == 2


def test_entropy_is_that_of_the_probabilities_and_needs_no_second_class() -> None:
    logits = torch.randn(5, 3, 4)
    prediction, entropy = prediction_and_entropy(logits, size=(9, 8))
    whole = resize_logits(logits[None], (9, 8))[0].softmax(dim=0)
    torch.testing.assert_close(entropy, -(whole * whole.log()).sum(dim=0) / math.log(5))
    assert torch.equal(prediction, whole.argmax(dim=0))
    assert prediction_and_entropy(torch.randn(1, 2, 2), size=(4, 4))[1].tolist() == [[0.0] * 4] * 4


def test_shares_sum_to_one() -> None:
    shares = class_shares(torch.tensor([[0, 0, 2, 2], [2, 2, 2, 0]]), 4)
    assert shares.tolist() == [3 / 8, 0, 5 / 8, 0]
