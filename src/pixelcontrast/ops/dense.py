"""Losses that compare the logits of every pixel with its label. All are float32 or better, whatever autocast says."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "b k H W"],
    labels: Int[Tensor, "b H W"],
    *,
    class_weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = 255,
) -> Float[Tensor, ""]:
    """Cross entropy, averaged over the pixels that have a label.

    Args:
        logits: At the labels' resolution.
        labels: Class ids from 0 to k - 1, or `ignore_index`.
        class_weights: Factor of each class. The mean divides by the sum of the pixels' weights, as torch's does.
        label_smoothing: Share of the target spread evenly over all classes, from 0 to 1.
        ignore_index: Pixels of this id have no influence.

    Returns:
        Nats per pixel; a zero attached to the graph if no pixel has a label or weight (torch's is NaN there).
    """
    logits = _precise(logits)
    weights = None if class_weights is None else class_weights.to(logits)
    total = F.cross_entropy(
        logits, labels, weight=weights, ignore_index=ignore_index, reduction="sum", label_smoothing=label_smoothing
    )
    valid = labels != ignore_index
    mass = valid.sum() if weights is None else (weights[labels.where(valid, 0)] * valid).sum()
    # Label smoothing leaves a total even where every labelled pixel's class weighs nothing; it has no mean.
    return total * (mass > 0) / mass.where(mass > 0, 1)


def ohem_cross_entropy(
    logits: Float[Tensor, "b k H W"],
    labels: Int[Tensor, "b H W"],
    *,
    threshold: float = 0.7,
    min_kept: int = 100_000,
    ignore_index: int = 255,
) -> Float[Tensor, ""]:
    """Cross entropy, averaged over the hard pixels (online hard example mining, Shrivastava et al., arXiv:1604.03540).

    A pixel is hard if the probability of its label is below `threshold`, or among the `min_kept` lowest of the batch
    (all that tie with the last of these). The paper ranks regions; per pixel and with a threshold is the habit of
    segmentation.

    Args:
        logits: At the labels' resolution.
        labels: Class ids from 0 to k - 1, or `ignore_index`.
        threshold: Probability of the label below which a pixel is hard, from 0 to 1.
        min_kept: Pixels of the batch to keep at least, at least 1.
        ignore_index: Pixels of this id have no influence.

    Returns:
        Nats per hard pixel; a zero attached to the graph if no pixel has a label.
    """
    losses = F.cross_entropy(_precise(logits), labels, ignore_index=ignore_index, reduction="none")
    valid = labels != ignore_index
    probability = losses.detach().neg().exp().masked_fill(~valid, torch.inf)
    last = probability.flatten().kthvalue(min(min_kept, probability.numel())).values
    hard = valid & ((probability < threshold) | (probability <= last))
    return (losses * hard).sum() / hard.sum().clamp(min=1)


def dice_loss(
    logits: Float[Tensor, "b k H W"], labels: Int[Tensor, "b H W"], *, ignore_index: int = 255
) -> Float[Tensor, ""]:
    """Soft Dice loss, averaged over the classes that the labels hold: 1 - 2 |P and Y| / (|P| + |Y|).

    P is the softmax, Y the labels, both summed over all pixels of the batch. Milletari et al. (arXiv:1606.04797) square
    both below the line; this is the plain form, whose zero is the same. Absent classes count in no mean, so that no
    epsilon is needed.

    Args:
        logits: At the labels' resolution.
        labels: Class ids from 0 to k - 1, or `ignore_index`.
        ignore_index: Pixels of this id have no influence.

    Returns:
        From 0 to 1; a zero attached to the graph if no pixel has a label.
    """
    probability, truth = _probability_and_truth(logits, labels, ignore_index)
    overlap, sizes = (probability * truth).sum((0, 2, 3)), truth.sum((0, 2, 3))
    mass = probability.sum((0, 2, 3)) + sizes
    return _mean_over_present(1 - 2 * overlap / mass.where(sizes > 0, 1), sizes > 0)


def lovasz_softmax(
    logits: Float[Tensor, "b k H W"], labels: Int[Tensor, "b H W"], *, ignore_index: int = 255
) -> Float[Tensor, ""]:
    """Lovasz-softmax: the convex extension of 1 - IoU, averaged over the classes that the labels hold.

    For one class with errors e = |Y - P| in falling order, the loss is sum_i e_i (J_i - J_(i-1)), where J_i is the
    Jaccard loss if the first i pixels were wrong (Berman et al., CVPR 2018, arXiv:1705.08790, equations 8 and 9), over
    all pixels of the batch. The differences depend on the order alone and take no gradient.

    Args:
        logits: At the labels' resolution.
        labels: Class ids from 0 to k - 1, or `ignore_index`.
        ignore_index: Pixels of this id have no influence.

    Returns:
        From 0 to 1; a zero attached to the graph if no pixel has a label. Sorts k x b H W numbers, about 40 bytes each.
    """
    probability, truth = (
        each.transpose(0, 1).flatten(1) for each in _probability_and_truth(logits, labels, ignore_index)
    )
    valid = (labels != ignore_index).flatten()
    errors = (probability - truth).abs()
    with torch.no_grad():
        order = errors.masked_fill(~valid, -1).argsort(
            dim=1, descending=True
        )  # ignored pixels come last, and add nothing
        inside, outside = truth.gather(1, order), (valid.to(truth.dtype) - truth).gather(1, order)
        sizes = truth.sum(1, keepdim=True)
        union = sizes + outside.cumsum(1)
        jaccard = 1 - (sizes - inside.cumsum(1)) / union.where(union > 0, 1)
        steps = jaccard.diff(dim=1, prepend=torch.zeros_like(sizes))
        slopes = torch.empty_like(steps).scatter_(1, order, steps)
    return _mean_over_present((errors * slopes).sum(1), sizes[:, 0] > 0)


def region_mutual_information_loss(
    logits: Float[Tensor, "b k H W"],
    labels: Int[Tensor, "b H W"],
    *,
    radius: int = 3,
    pool: int = 4,
    regulariser: float = 1e-3,
    ignore_index: int = 255,
) -> Float[Tensor, ""]:
    r"""How much of a label's neighbourhood the predicted one leaves unexplained (Zhao et al., arXiv:1910.12037).

    With d = radius^2 neighbouring values of labels Y and probabilities P as vectors, and a the regulariser,

        M = Cov(Y) - Cov(Y, P) (Cov(P) + a I)^-1 Cov(P, Y) + a I,     loss = (log det M - d log a) / (2 d)

    averaged over the (image, class) pairs that the labels hold: the paper's bound on the mutual information of Y and P,
    negated. Deviations: covariances are means over windows, not sums; log a is subtracted, so that 0 means fully
    explained; softmax instead of sigmoid probabilities; a window that holds an ignored pixel is left out rather than
    filled with zeros.

    Args:
        logits: At the labels' resolution.
        labels: Class ids from 0 to k - 1, or `ignore_index`.
        radius: Side of a window, at least 1.
        pool: Side of the cells over which probabilities and labels are averaged first, at least 1.
        regulariser: The a above, positive.
        ignore_index: Pixels of this id have no influence.

    Returns:
        At least 0; a zero attached to the graph if no window is free of ignored pixels. The d x d matrices are float64;
        windows take 8 d bytes a class and pooled pixel.
    """
    probability, truth = _probability_and_truth(logits, labels, ignore_index)
    ignored = (labels == ignore_index)[:, None].to(probability.dtype)
    windows = [_windows(each, radius, pool) for each in (probability, truth, ignored)]
    free = (windows[2].amax(dim=2, keepdim=True) == 0).to(probability.dtype)  # b 1 1 l
    count = free.sum(-1, keepdim=True).clamp(min=1)
    predicted, true = (_centred(each, free, count) for each in windows[:2])
    present = (windows[1] * free).flatten(2).sum(-1) > 0

    with torch.autocast(logits.device.type, enabled=False):
        covariances = (true @ true.mT, true @ predicted.mT, predicted @ predicted.mT)
        of_true, crossed, of_predicted = ((each / count).double() for each in covariances)
        ridge = regulariser * torch.eye(radius * radius, dtype=torch.float64, device=logits.device)
        # The _ex forms do not check on the host; both matrices are positive definite by their ridge.
        factor = torch.linalg.cholesky_ex(of_predicted + ridge).L
        explained = crossed @ torch.cholesky_solve(crossed.mT, factor)
        rest = torch.linalg.cholesky_ex(of_true - explained + ridge).L
    per_dimension = rest.diagonal(dim1=-2, dim2=-1).log().mean(-1) - 0.5 * math.log(regulariser)
    return _mean_over_present(per_dimension.to(probability.dtype), present)


def _windows(maps: Float[Tensor, "b k H W"], radius: int, pool: int) -> Float[Tensor, "b k d l"]:
    """Every window of radius x radius cells, each the mean of pool x pool pixels; what does not fill a cell is cut."""
    cells = F.unfold(F.avg_pool2d(maps, pool).flatten(0, 1)[:, None], radius)
    return cells.reshape(*maps.shape[:2], *cells.shape[1:])


def _centred(
    windows: Float[Tensor, "b k d l"], free: Float[Tensor, "b 1 1 l"], count: Float[Tensor, "b 1 1 1"]
) -> Float[Tensor, "b k d l"]:
    """Windows less their mean, and zeros for those that do not count."""
    return (windows - (windows * free).sum(-1, keepdim=True) / count) * free


def _precise(logits: Float[Tensor, "b k H W"]) -> Float[Tensor, "b k H W"]:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _probability_and_truth(
    logits: Float[Tensor, "b k H W"], labels: Int[Tensor, "b H W"], ignore_index: int
) -> tuple[Float[Tensor, "b k H W"], Float[Tensor, "b k H W"]]:
    """Softmax and one-hot labels, both zero where a pixel is ignored."""
    logits = _precise(logits)
    valid = (labels != ignore_index)[:, None]
    classes = torch.arange(logits.shape[1], device=labels.device)[:, None, None]
    truth = (labels[:, None] == classes) & valid
    return logits.softmax(dim=1).masked_fill(~valid, 0), truth.to(logits.dtype)


def _mean_over_present(losses: Float[Tensor, "*n"], present: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    return (losses * present).sum() / present.sum().clamp(min=1)
