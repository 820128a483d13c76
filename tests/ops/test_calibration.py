from math import isnan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelcontrast.ops.calibration import UNIT, calibration_counts, expected_calibration_error
from reference import calibration as reference

NUM_CLASSES, BINS = 3, 5
ids = st.integers(0, NUM_CLASSES - 1)
# Multiples of 1/64 are the same in float32, and none but 0 and 1 lies on the edge of one of five bins.
pixels = st.lists(st.tuples(ids | st.sampled_from([255, -1]), ids, st.integers(0, 64)), max_size=40)


def count(labels: list[int], predictions: list[int], confidence: list[float]) -> torch.Tensor:
    return calibration_counts(
        torch.tensor(labels, dtype=torch.int64), torch.tensor(predictions, dtype=torch.int64),
        torch.tensor(confidence), num_classes=NUM_CLASSES, bins=BINS,
    )  # fmt: skip


@given(pixels)
def test_the_error_equals_its_loop_twin(drawn: list[tuple[int, int, int]]) -> None:
    labels, predictions = [a for a, _, _ in drawn], [b for _, b, _ in drawn]
    confidence = [c / 64 for _, _, c in drawn]
    got = float(expected_calibration_error(count(labels, predictions, confidence)))
    expected = reference.expected_calibration_error(labels, predictions, confidence, NUM_CLASSES, BINS)
    assert isnan(got) if expected is None else got == pytest.approx(expected, abs=1e-6)


def test_counts_add_up_over_images_in_any_order() -> None:
    labels, predictions = torch.randint(0, 3, (2, 6, 50)).unbind()
    confidence = torch.rand(6, 50)
    parts = [
        calibration_counts(*rows, num_classes=3, bins=15) for rows in zip(labels, predictions, confidence, strict=True)
    ]
    whole = calibration_counts(labels, predictions, confidence, num_classes=3, bins=15)
    assert torch.equal(torch.stack(parts[::-1]).sum(0), whole)


def test_a_network_that_is_right_as_often_as_it_says_has_no_error() -> None:
    confidence = [0.25] * 4 + [1.0] * 3
    assert float(expected_calibration_error(count([0] * 7, [0, 1, 1, 1, 0, 0, 0], confidence))) == 0


def test_the_surest_and_the_least_sure_have_a_bin() -> None:
    counts = count([0, 0], [0, 0], [0.0, 1.0])
    assert counts[:, 0].tolist() == [1, 0, 0, 0, 1]
    assert counts[4, 2] == UNIT


def test_a_network_that_says_nothing_is_sure_of_nothing() -> None:
    assert count([0, 0], [0, 1], [float("nan")] * 2)[0].tolist() == [2, 1, 0]
