"""Laws of the paired comparison, and agreement with scipy's own tests."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pixelcontrast.engine.statistics import interval_over_images, mean_and_deviation, paired_difference

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
    noisy = paired_difference([47.02, 48.03, 49.10], [46.01, 47.02, 48.09])  # equal but for binary fractions
    assert (noisy.mean, noisy.p) == (1.01, None)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="as many scores"):
        paired_difference([1.0], [])


def counts_by_image(seed: int, *, right: float, images: int = 40) -> torch.Tensor:
    """Counts of images of two classes, of whose pixels a share is right."""
    generator = np.random.default_rng(seed)
    labelled = generator.integers(50, 100, (images, 2))
    hit = generator.binomial(labelled, right)
    predicted = hit + (labelled - hit)[:, ::-1]  # what is wrong of one class is said to be the other
    return torch.from_numpy(np.stack([hit, labelled, predicted], axis=1))


def test_the_interval_over_images_is_that_of_a_loop() -> None:
    pairs = [(counts_by_image(seed, right=0.8), counts_by_image(seed + 10, right=0.7)) for seed in range(3)]
    low, high = interval_over_images(pairs) or (0.0, 0.0)
    generator, found = np.random.default_rng(5), []
    for _ in range(1500):
        images, seeds = generator.integers(40, size=40), generator.integers(3, size=3)
        differences = []
        for ours, theirs in (pairs[seed] for seed in seeds):
            means = []
            for counts in (ours, theirs):
                right, labelled, predicted = counts[images].sum(0).double()
                means.append(float((right / (labelled + predicted - right)).mean()))
            differences.append(100 * (means[0] - means[1]))
        found.append(np.mean(differences))
    assert (low, high) == pytest.approx(np.percentile(found, [2.5, 97.5]), abs=0.35)
    assert low > 0


def test_equal_runs_differ_by_nothing_on_any_images() -> None:
    counts = counts_by_image(0, right=0.5)
    assert interval_over_images([(counts, counts)]) == (0.0, 0.0)


def test_draws_without_labels_are_left_out_of_the_interval() -> None:
    ours, theirs = counts_by_image(0, right=0.8), counts_by_image(1, right=0.7)
    ours[3:], theirs[3:] = 0, 0
    low, high = interval_over_images([(ours, theirs)]) or (0.0, 0.0)
    assert 0 < low < high
    assert interval_over_images([(torch.zeros_like(ours), torch.zeros_like(theirs))]) is None
