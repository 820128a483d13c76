"""What calls stored in a memory can be taken back without a trace."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcontrast import MemoryBank
from pixelcontrast.contrast.undo import mark, take_back
from pixelcontrast.ops.regions import unit_length

CLASSES, IMAGES = 3, 2


def enqueue(bank: MemoryBank, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(IMAGES, 4, 5, 6, generator=generator)
    bank.enqueue(unit_length(embeddings), torch.randint(-1, CLASSES, (IMAGES, 5, 6), generator=generator))


def state(bank: MemoryBank) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in bank.state_dict().items()}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.integers(0, 9), st.integers(1, 6), st.integers(0, 7), st.integers(1, 3))
def test_taken_back_is_as_it_was(pixels: int, regions: int, a_region: int, before: int, calls: int) -> None:
    bank = MemoryBank(CLASSES, 4, pixels_per_class=pixels, regions_per_class=regions, pixels_per_region=a_region)
    for seed in range(before):
        enqueue(bank, seed)
    expected, kept = state(bank), mark(bank, images=IMAGES, calls=calls)
    for seed in range(calls):
        enqueue(bank, 100 + seed)
    take_back(bank, kept)
    assert all(torch.equal(value, expected[name]) for name, value in state(bank).items())


def test_a_mark_is_a_few_rows_and_no_copy_of_the_memory() -> None:
    bank = MemoryBank(CLASSES, 4, pixels_per_class=5000, regions_per_class=1000, pixels_per_region=10)
    assert mark(bank, images=2, calls=1).rows.shape[0] == 1 + CLASSES * 2 * (1 + 10)


@pytest.mark.parametrize("calls", [1, 2])
def test_a_mark_for_fewer_calls_does_not_take_back_more(calls: int) -> None:
    bank = MemoryBank(CLASSES, 4, pixels_per_class=50, regions_per_class=9, pixels_per_region=3)
    before, kept = state(bank), mark(bank, images=IMAGES, calls=1)
    for seed in range(calls):
        enqueue(bank, seed)
    take_back(bank, kept)
    assert torch.equal(state(bank)["rows"], before["rows"]) == (calls == 1)
