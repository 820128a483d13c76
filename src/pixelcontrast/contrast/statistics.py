"""Figures that tell how pixel contrast is doing: where its loss starts and can end, and how the embeddings lie."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])


def at_full_precision(function: Function) -> Function:
    """Leave the products of embeddings in their own dtype, whatever autocast says: in float16 their sums overflow."""

    @functools.wraps(function)
    def computed(embeddings: Tensor, *arguments: Any, **named: Any) -> Any:
        with torch.autocast(embeddings.device.type, enabled=False):
            return function(embeddings, *arguments, **named)

    return cast(Function, computed)


class StepRecord(NamedTuple):
    """What one call leaves behind for its figures; detached, and cheap to keep.

    Attributes:
        loss: Of the call.
        anchors: Embeddings.
        labels: Of the anchors, -1 where there is none.
        hard: Which anchors were predicted wrongly.
        key_counts: Keys of each class that the anchors could be compared with.
        temperature: Of the call.
    """

    loss: Float[Tensor, ""]
    anchors: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"]
    hard: Bool[Tensor, " n"]
    key_counts: Int[Tensor, " k"]
    temperature: Float[Tensor, ""]


def step_statistics(
    record: StepRecord,
    *,
    mining: Literal["semi_hard", "hardest", "random", "all"],
    negatives_per_anchor: int,
    in_batch_keys: bool,
) -> dict[str, Tensor]:
    """Figures of one call, in nats (`loss`, `chance_level`, `floor`), counts and shares of anchors, and cosines.

    Similarities, alignment (mean squared distance of positive pairs) and uniformity are taken between the anchors of
    the call, not over the mined keys.
    """
    num_classes = record.key_counts.shape[0]
    valid = record.labels >= 0
    num_anchors = valid.sum()
    own = record.key_counts[record.labels.clamp(min=0)]
    negatives = used_negatives(record.key_counts.sum() - own, mining=mining, limit=negatives_per_anchor)
    lonely = valid & (own - int(in_batch_keys) <= 0)
    counted = valid & ~lonely
    positive, negative = mean_similarities(record.anchors, record.labels, num_classes)
    return {
        "loss": record.loss,
        "chance_level": _mean_where(chance_level(negatives), counted),
        "floor": _mean_where(loss_floor(negatives, num_classes=num_classes, temperature=record.temperature), counted),
        "anchors": num_anchors,
        "hard_anchor_share": _mean_where(record.hard, valid),
        "anchors_without_positives": lonely.sum(),
        "positive_similarity": positive,
        "negative_similarity": negative,
        "alignment": 2 - 2 * positive,
        "uniformity": uniformity(record.anchors, record.labels),
    }


def chance_level(num_negatives: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Loss where all similarities are equal: log(1 + |N|), in nats."""
    return num_negatives.to(torch.float32).log1p()


def loss_floor(
    num_negatives: Int[Tensor, "*n"], *, num_classes: int, temperature: float | Float[Tensor, ""]
) -> Float[Tensor, "*n"]:
    """Least loss that embeddings can reach: log(1 + |N| exp(-(1 + 1/(C-1))/t)), at the regular simplex of C classes.

    The mean similarity of a class to the others cannot fall below -1/(C-1), so a plateau near this value is success.
    That holds where all C are among the keys: fewer of them can lie further apart.
    """
    gap = 1 + 1 / (num_classes - 1) if num_classes > 1 else 2.0
    temperature = torch.as_tensor(temperature, device=num_negatives.device)
    return (num_negatives * torch.exp(-gap / temperature)).log1p()


def used_negatives(
    available: Int[Tensor, "*n"], *, mining: Literal["semi_hard", "hardest", "random", "all"], limit: int
) -> Int[Tensor, "*n"]:
    """How many negatives mining leaves an anchor that could have `available`."""
    if mining == "all":
        return available
    pool = (available + 9) // 10 if mining == "semi_hard" else available  # a tenth, rounded up
    return pool.clamp(max=limit)


@at_full_precision
def mean_similarities(
    embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"], num_classes: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean cosine of the pairs of one class (a row with itself left out), and of two classes; 0 without such pairs.

    Taken from the sums over classes, so that no matrix of pairs is made.
    """
    member = (labels[:, None] == torch.arange(num_classes, device=labels.device)).to(embeddings.dtype)
    rows = embeddings.where((labels >= 0)[:, None], 0)
    sums, counts = member.T @ rows, member.sum(dim=0)
    squares = (rows * rows).sum()
    same = (sums * sums).sum()
    total = sums.sum(dim=0)
    same_pairs = (counts * counts).sum() - counts.sum()
    other_pairs = counts.sum() ** 2 - (counts * counts).sum()
    return (same - squares) / same_pairs.clamp(min=1), (total @ total - same) / other_pairs.clamp(min=1)


@at_full_precision
def uniformity(embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Log of the mean of exp(-2 ||x - y||^2) over pairs of different rows (Wang and Isola, arXiv:2005.10242).

    0 where all rows are equal, about -4 where they spread over the sphere; 0 without pairs.
    """
    valid = labels >= 0
    rows = embeddings.where(valid[:, None], 0)
    potentials = torch.exp(4 * (rows @ rows.T) - 4).where(valid[:, None] & valid, 0)
    num = valid.sum()
    pairs = num * (num - 1)
    mean = (potentials.sum() - potentials.diagonal().sum()) / pairs.clamp(min=1)
    return torch.log(mean.where(pairs > 0, 1))


@at_full_precision
def effective_rank(embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Exponential of the entropy of the singular values' shares (Roy and Vetterli, EUSIPCO 2007), of rows with a label.

    Between 1 (one direction) and min(n, d); C - 1 at the regular simplex of C equally frequent classes. 0 without rows.
    NaN where a row is not finite. Cost: the eigenvalues of a d x d matrix, which waits for the device; not for every
    step. It counts directions however weak: a tenth of noise in 256 dimensions makes it a hundred.
    """
    rows = embeddings.where((labels >= 0)[:, None], 0)
    gram = rows.T @ rows
    finite = gram.isfinite().all()  # eigvalsh raises where it is not
    values = torch.linalg.eigvalsh(gram.where(finite, 0)).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    rank: Tensor = torch.special.entr(shares).sum().exp()
    return rank.where((labels >= 0).any(), 0).where(finite, torch.nan)


@at_full_precision
def energy_rank(embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"], *, num_classes: int) -> Float[Tensor, ""]:
    """How many directions hold the rows' energy, (tr G)^2 / tr G^2 with G = X^T X, every class weighing alike.

    Between 1 (one direction) and min(n, d); C - 1 at the regular simplex. Unlike `effective_rank` it counts a direction
    by its square, so that noise adds next to nothing: where all rows have a cosine of c, it is about 1 / c^2. 0 without
    rows.
    """
    counts = (labels[:, None] == torch.arange(num_classes, device=labels.device)).sum(dim=0)
    share = counts[labels.clamp(min=0)].clamp(min=1).to(torch.float32).rsqrt().where(labels >= 0, 0)
    rows = embeddings.where((labels >= 0)[:, None], 0).to(torch.float32) * share[:, None]
    gram = rows.T @ rows
    energy = (gram * gram).sum()
    rank: Tensor = gram.trace().square() / energy.where(energy > 0, 1)
    return rank


def is_collapsed(embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"], *, num_classes: int) -> Bool[Tensor, ""]:
    """Whether three classes or more share, in effect, one direction: an energy rank below 1.2, a cosine above 0.91.

    Two classes are not judged, since they rightly end as one axis.
    """
    present = (labels[:, None] == torch.arange(num_classes, device=labels.device)).any(dim=0).sum()
    return (present >= 3) & (energy_rank(embeddings, labels, num_classes=num_classes) < 1.2)


def gradient_norm_ratio(
    contrast: Float[Tensor, ""], cross_entropy: Float[Tensor, ""], features: Float[Tensor, "b c *grid"]
) -> Float[Tensor, ""]:
    """Norm of the contrast loss's gradient at the tapped features over that of the cross entropy's, weighted as given.

    Call it before `backward`; both graphs are kept. It costs two backward passes through the heads: call it every N
    steps. 0 where the cross entropy has no gradient.
    """
    precise = torch.promote_types(features.dtype, torch.float32)
    above, below = (
        torch.linalg.vector_norm(torch.autograd.grad(loss, features, retain_graph=True)[0], dtype=precise)
        for loss in (contrast, cross_entropy)
    )
    ratio: Tensor = (above / below).where(below > 0, 0)
    return ratio


def _mean_where(values: Tensor, chosen: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
    return values.to(torch.float32).where(chosen, 0).sum() / chosen.sum().clamp(min=1)
