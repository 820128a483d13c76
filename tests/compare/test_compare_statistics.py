"""Laws of the paired comparison, and agreement with scipy's own tests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pixelcontrast.compare.statistics import mean_and_deviation, paired_difference

PAIRS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=2, max_size=8)


@settings(deadline=None)
@given(PAIRS)
def test_interval_and_p_are_those_of_scipys_paired_t_test(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = (np.array(column) / 100 for column in zip(*pairs, strict=True))
    found = paired_difference(list(ours), list(theirs))
    if found.p is None:
        assert np.ptp(ours - theirs) < 1e-9
        return
    if np.ptp(ours - theirs) < 1e-9:  # rounding alone; scipy's figures are noise there
        return
    expected = stats.ttest_rel(ours, theirs)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert found.mean == pytest.approx(float(np.mean(ours - theirs)))


@settings(deadline=None)
@given(PAIRS)
def test_swapping_the_arms_flips_the_sign(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = ([float(value) for value in column] for column in zip(*pairs, strict=True))
    one, two = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert (one.mean, one.low, one.p) == pytest.approx((-two.mean, -two.high, two.p))


@settings(deadline=None)
@given(PAIRS)
def test_what_is_common_to_a_seed_does_not_matter(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = ([float(value) for value in column] for column in zip(*pairs, strict=True))
    shift = np.arange(len(pairs)) * 1000.0
    moved = paired_difference(list(ours + shift), list(theirs + shift))
    assert moved == paired_difference(ours, theirs)


def test_bootstrap_interval_is_near_scipys() -> None:
    differences = np.random.default_rng(1).normal(1, 2, size=20)
    found = paired_difference(list(differences), [0.0] * 20)
    expected = stats.bootstrap((differences,), np.mean, method="percentile", rng=2).confidence_interval
    assert (found.bootstrap_low, found.bootstrap_high) == pytest.approx((expected.low, expected.high), abs=0.1)


def test_one_seed_has_a_difference_but_no_interval() -> None:
    found = paired_difference([2.0], [1.5])
    assert found.mean == 0.5
    assert (found.low, found.high, found.p, found.bootstrap_low) == (None, None, None, None)
    assert mean_and_deviation([3.0]) == (3.0, None)


def test_equal_differences_have_no_p() -> None:
    found = paired_difference([2.0, 3.0], [1.0, 2.0])
    assert (found.low, found.high, found.p) == (1.0, 1.0, None)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="as many scores"):
        paired_difference([1.0], [])
