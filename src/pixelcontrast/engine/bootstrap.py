"""How far a score would move on other images: percentile bootstrap over the images of a split (Efron, 1979)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
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
    return percentiles(mean_iou_of_draws(images, draw_images(np.random.default_rng(_SEED), size, RESAMPLES)), level)


def draw_images(generator: np.random.Generator, size: int, count: int) -> Float[Tensor, "r n"]:
    """How often each of `size` images is in each of `count` draws of as many, with replacement."""
    return torch.from_numpy(generator.multinomial(size, np.full(size, 1 / size), size=count)).double()


def mean_iou_of_draws(images: Int[Tensor, "n 3 k"], draws: Float[Tensor, "r n"]) -> Float[Tensor, " r"]:
    """MIoU, 0 to 1, of each draw; NaN where it holds no labels. Float64 holds integers up to 2^53 exactly."""
    sums = (draws @ images.double().flatten(1)).round().long()
    return iou_of_margins(sums.view(draws.shape[0], *images.shape[1:])).nanmean(1)


def percentiles(values: Float[Tensor, " r"], level: float = 0.95) -> tuple[float, float] | None:
    """Between which a share `level` of the values that are numbers lies, as much outside on either side."""
    values = values[~values.isnan()]
    if not len(values):
        return None
    low, high = values.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)).tolist()
    return low, high
