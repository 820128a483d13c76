"""Paired differences between two ways to train, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from scipy import stats
from torch import Tensor

from pixelcontrast.engine.bootstrap import draw_images, mean_iou_of_draws, percentiles

_RESAMPLES, _IMAGE_RESAMPLES = 10_000, 2000


@dataclass(frozen=True)
class Difference:
    """Scores of one arm minus those of another, seed by seed, in the scores' unit.

    Attributes:
        mean: Of the differences.
        low: Lower end of the 95 % interval of Student's t; None with fewer than two seeds.
        high: Its upper end.
        p: Of the two-sided paired t-test; None with fewer than two seeds, or where all differences are equal.
        bootstrap_low: Lower end of the 95 % percentile interval of the mean over resampled seeds.
        bootstrap_high: Its upper end. With few seeds this interval is too narrow; it is there as a check of t's.
        seeds: How many pairs.
        images_low: Lower end of the 95 % percentile interval of the mean over resampled seeds and images together, the
            images of the split being drawn alike for all runs; None where the runs did not keep counts by image.
        images_high: Its upper end.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    bootstrap_low: float | None
    bootstrap_high: float | None
    seeds: int
    images_low: float | None = None
    images_high: float | None = None


def paired_difference(scores: Sequence[float], baseline: Sequence[float]) -> Difference:
    """Compare two arms whose n-th scores share a seed.

    Raises:
        ValueError: If there is no pair, or the lengths differ.
    """
    if len(scores) != len(baseline) or not scores:
        raise ValueError(
            f"expected as many scores as baseline scores, at least one; got {len(scores)}, {len(baseline)}"
        )
    differences = (np.asarray(scores, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)).round(9)
    mean = float(differences.mean())
    if len(differences) < 2:
        return Difference(mean, None, None, None, None, None, 1)
    error = float(stats.sem(differences))
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, len(differences) - 1)) if error > 0 else None
    return Difference(mean, mean - half, mean + half, p, *_bootstrap(differences), len(differences))


def mean_and_deviation(scores: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; no deviation of a single score."""
    return float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else None


def interval_over_images(
    pairs: Sequence[tuple[Int[Tensor, "n 3 k"], Int[Tensor, "n 3 k"]]],
) -> tuple[float, float] | None:
    """Interval of the mean difference of mIoU in percent points, over resampled seeds and images (by percentiles).

    Each draw takes as many images from the split and as many seeds, with replacement; one draw of images serves all
    runs, since all are scored on the same ones. So it tells how far the difference would move with other images and
    other seeds; with few seeds it is too narrow, as all bootstraps are.

    Args:
        pairs: For each seed, the counts by image of an arm and of the baseline: pixels right, labelled and predicted.

    Returns:
        Its ends; None if no draw holds a label.
    """
    generator = np.random.default_rng(0)
    draws = draw_images(generator, pairs[0][0].shape[0], _IMAGE_RESAMPLES)
    by_seed = torch.stack(
        [mean_iou_of_draws(ours, draws) - mean_iou_of_draws(theirs, draws) for ours, theirs in pairs], dim=1
    )
    seeds = torch.from_numpy(generator.integers(len(pairs), size=(_IMAGE_RESAMPLES, len(pairs))))
    return percentiles(100 * by_seed.gather(1, seeds).mean(dim=1))


def _bootstrap(differences: np.ndarray) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(len(differences), size=(_RESAMPLES, len(differences)))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
