from math import isnan

import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelcontrast.ops.confusion import class_accuracy, confusion_counts, intersection_over_union, pixel_accuracy
from reference import confusion as reference

NUM_CLASSES = 4
pixels = st.lists(
    st.tuples(st.sampled_from([*range(NUM_CLASSES), 7, 255, -1]), st.integers(0, NUM_CLASSES - 1)), max_size=40
)


@given(pixels)
def test_counts_and_iou_equal_their_loop_twins(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = [a for a, _ in pairs], [b for _, b in pairs]
    counts = confusion_counts(
        torch.tensor(labels, dtype=torch.int64), torch.tensor(predictions, dtype=torch.int64), NUM_CLASSES
    )
    assert counts.tolist() == reference.confusion_counts(labels, predictions, NUM_CLASSES)
    for got, expected in zip(
        intersection_over_union(counts).tolist(),
        reference.intersection_over_union(labels, predictions, NUM_CLASSES),
        strict=True,
    ):
        assert isnan(got) if expected is None else got == expected


def test_ignored_pixels_have_no_influence() -> None:
    labels, predictions = torch.tensor([[0, 1], [255, 255]]), torch.tensor([[0, 0], [1, 0]])
    assert torch.equal(confusion_counts(labels, predictions, 2), torch.tensor([[1, 0], [1, 0]]))


def test_counts_add_up_over_images() -> None:
    labels, predictions = torch.randint(0, 3, (6, 5, 5)), torch.randint(0, 3, (6, 5, 5))
    parts = [confusion_counts(a, b, 3) for a, b in zip(labels, predictions, strict=True)]
    assert torch.equal(torch.stack(parts).sum(0), confusion_counts(labels, predictions, 3))


def test_accuracies_divide_by_labels() -> None:
    counts = torch.tensor([[3, 1, 0], [0, 0, 0], [2, 0, 2]])
    assert class_accuracy(counts).tolist()[::2] == [0.75, 0.5]
    assert class_accuracy(counts)[1].isnan()
    assert pixel_accuracy(counts) == 5 / 8
