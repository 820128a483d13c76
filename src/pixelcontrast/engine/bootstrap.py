"""How far a score would move on other images: percentile bootstrap over the images of a split (Efron, 1979)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from pixelcontrast.ops.confusion import iou_of_margins

RESAMPLES = 1000
_SEED = 0


def mean_iou_interval(images: Int[Tensor, "n 3 k"], *, level: float = 0.95) -> tuple[float, float] | None:
    """Interval of mIoU, 0 to 1, under drawing as many images from the split, with replacement, again and again.

    Counts are summed over the images of a draw before they are divided, and a class absent from a draw is left out of
    its mean, as in the score itself. It tells of the choice of images only, not of seeds: a run trained again differs
    by its own spread.

    Args:
        images: Pixels right, labelled and predicted of each image, by class, on the CPU.
        level: Share of the draws that lie inside.

    Returns:
        Lower and upper end, a pure function of the counts; None for fewer than two images.
    """
    size = images.shape[0]
    if size < 2:
        return None
    draws = np.random.default_rng(_SEED).multinomial(size, np.full(size, 1 / size), size=RESAMPLES)
    # float64 holds integers up to 2^53 exactly, and is what matrix products are fast in.
    sums = torch.from_numpy(draws).double() @ images.double().flatten(1)
    means = iou_of_margins(sums.round().long().view(RESAMPLES, *images.shape[1:])).nanmean(1)
    means = means[~means.isnan()]
    if not len(means):
        return None
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=means.dtype)).tolist()
    return low, high
