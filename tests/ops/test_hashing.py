"""Laws of the integer hashes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcontrast.ops.hashing import hash_rows, mix, step_key, stream_keys

INTEGERS = st.integers(min_value=-(2**40), max_value=2**64)


@given(seed=INTEGERS, value=INTEGERS)
def test_mix_stays_in_63_bits(seed: int, value: int) -> None:
    assert 0 <= mix(seed, value) < 2**63


def test_mix_depends_on_seed_value_order_and_number() -> None:
    results = [
        mix(0),
        mix(1),
        mix(0, 0),
        mix(0, 1),
        mix(1, 0),
        mix(1, 1),
        mix(0, 1, 0),
        mix(0, 0, 1),
        mix(-1),
        mix(2, 1),
    ]
    assert len(set(results)) == len(results)


def test_mix_has_no_collisions_on_a_grid() -> None:
    assert len({mix(a, b) for a in range(200) for b in range(200)}) == 200 * 200


@settings(max_examples=20, deadline=None)
@given(key=st.integers(min_value=0, max_value=2**63 - 1))
def test_hashes_are_uniform(key: int) -> None:
    hashes = hash_rows(torch.tensor(key), torch.arange(20_000))
    assert hashes.min() >= 0
    assert hashes.max() < 2**31
    counts = torch.bincount(hashes >> 26, minlength=32).double()
    chi_square = ((counts - 625) ** 2 / 625).sum()
    assert chi_square < 80  # 31 degrees of freedom: beyond 80 once in 300,000


def test_at_most_two_rows_share_a_hash() -> None:
    hashes = hash_rows(torch.tensor(mix(3)), torch.arange(300_000))
    assert hashes.unique(return_counts=True)[1].max() <= 2


def test_each_bit_of_key_and_row_matters() -> None:
    rows = torch.arange(1000)
    base = hash_rows(torch.tensor(0), rows)
    for bit in range(63):
        same = (hash_rows(torch.tensor(1 << bit), rows) == base).sum()
        assert same < 5, bit
    for bit in range(32):
        assert (hash_rows(torch.tensor(5), rows ^ (1 << bit)) == hash_rows(torch.tensor(5), rows)).sum() < 5, bit


def test_keys_one_bit_apart_do_not_swap_neighbours() -> None:
    hashes, rows = hash_rows(8, torch.arange(1000)), torch.arange(1000)
    for bit in range(10):
        assert (hash_rows(8 ^ (1 << bit), rows ^ (1 << bit)) == hashes).sum() < 5


def test_neighbouring_steps_streams_and_seeds_share_nothing() -> None:
    rows = torch.arange(4000)
    keys = [step_key(seed, torch.tensor(step), stream) for seed in (0, 1) for step in (0, 1, 2) for stream in (0, 1)]
    orders = torch.stack([hash_rows(key, rows).argsort().argsort() for key in keys]).double()
    correlation = torch.corrcoef(orders) - torch.eye(len(keys), dtype=torch.float64)
    assert correlation.abs().max() < 0.08  # five standard deviations


def test_numbers_and_tensors_are_the_same_key() -> None:
    rows = torch.arange(100)
    assert torch.equal(hash_rows(mix(5), rows), hash_rows(torch.tensor(mix(5)), rows))


def test_streams_of_a_seed_differ_whether_it_is_a_number_or_a_tensor() -> None:
    cpu = torch.device("cpu")
    numbers, tensors = stream_keys(7, 3, cpu), stream_keys(torch.tensor(7), 3, cpu)
    assert len(set(numbers)) == len({int(key) for key in tensors}) == 3
    assert all(0 <= int(key) < 2**63 for key in (*numbers, *tensors))
