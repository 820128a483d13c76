"""Orders are functions of (seed, k), come to every image, and keep to blocks and shares."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcontrast.data.order import BLOCKS_AT_ONCE, EveryImageOnce, Interleaved


@given(blocks=st.lists(st.integers(1, 9), min_size=1, max_size=12), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_every_image_comes_once_an_epoch(blocks: list[int], seed: int, epoch: int) -> None:
    size = sum(blocks)
    for order in (EveryImageOnce(size, seed), EveryImageOnce(size, seed, tuple(blocks))):
        assert sorted(order(epoch * size + i) for i in range(size)) == list(range(size))


def test_an_order_may_begin_anywhere() -> None:
    order = EveryImageOnce(20, 3, (5, 5, 4, 6))
    whole = [order(k) for k in range(60)]
    assert [EveryImageOnce(20, 3, (5, 5, 4, 6))(k) for k in reversed(range(60))] == whole[::-1]


def test_seeds_and_epochs_differ() -> None:
    blocks = (6,) * 5
    orders = {
        tuple(EveryImageOnce(30, seed, blocks)(epoch * 30 + i) for i in range(30))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_few_blocks_are_read_at_a_time() -> None:
    blocks = (10,) * 12
    order = EveryImageOnce(120, 1, blocks)
    for start in range(0, 120, 10 * BLOCKS_AT_ONCE):
        stretch = {order(start + i) // 10 for i in range(10 * BLOCKS_AT_ONCE)}
        assert len(stretch) == BLOCKS_AT_ONCE
    assert [order(i) // 10 for i in range(40)] != sorted(order(i) // 10 for i in range(40)), (
        "rows of a stretch are mixed"
    )


@given(
    shares=st.lists(st.floats(0.05, 10), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 7), min_size=4, max_size=4),
    count=st.integers(1, 300),
)
@settings(max_examples=60, deadline=None)
def test_shares_hold_over_every_stretch(shares: list[float], sizes: list[int], count: int) -> None:
    sizes = sizes[: len(shares)]
    orders = tuple(EveryImageOnce(size, number) for number, size in enumerate(sizes))
    interleaved = Interleaved(orders, tuple(sizes), tuple(shares))
    drawn = [interleaved(k) for k in range(count)]
    first = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = Counter(max(i for i, start in enumerate(first) if start <= index) for index in drawn)
    for number, share in enumerate(shares):
        # Rounding adds up along the chain of parts.
        assert parts[number] == pytest.approx(count * share / sum(shares), abs=len(shares))
        own = [index - first[number] for index in drawn if index in range(first[number], first[number] + sizes[number])]
        assert own == [orders[number](k) for k in range(len(own))], "each part keeps its own order"
