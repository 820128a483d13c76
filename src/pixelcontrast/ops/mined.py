"""Eq. 3 over mined keys as one operator that computes the gradient in the forward pass (see `streaming`).

The similarities come out of the mining, the weights of all keys follow from them in closed form, and only the keys that
were chosen are read again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelcontrast.ops.cpu_selection import add_rows_on_cpu, mine_on_cpu
from pixelcontrast.ops.selection import Mined, Rule, mine_anywhere
from pixelcontrast.ops.streaming import keep_gradients, scale_gradients, shapes_of_gradients
from pixelcontrast.ops.windows import KeySets


def contrast_mined(
    anchors: Tensor,
    anchor_labels: Tensor,
    sets: KeySets,
    *,
    temperature: Tensor,
    seed: Tensor,
    rule: Rule,
    triton: bool = False,
) -> Tensor:
    """Eq. 3 against the keys that `rule` chooses; scalar. Arguments and gradients as in `streaming.stream_contrast`."""
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in (anchors, sets.batch, temperature))
    loss: Tensor = _contrast(
        anchors, anchor_labels, sets.batch, sets.batch_labels, sets.memory.detach(), sets.memory_labels, temperature,
        sets.own_key, seed, **rule.arguments(), triton=triton, gradient=wanted,
        batch_gradient=wanted and sets.batch.requires_grad,
    )[0]  # fmt: skip
    return loss


@torch.library.custom_op("pixelcontrast::contrast_mined", mutates_args=())
def _contrast(
    anchors: Tensor,
    anchor_labels: Tensor,
    batch: Tensor,
    batch_labels: Tensor,
    memory: Tensor,
    memory_labels: Tensor,
    temperature: Tensor,
    own_key: Tensor | None,
    seed: Tensor,
    *,
    mining: str,
    positives: int,
    negatives: int,
    pool_share: float,
    triton: bool,
    gradient: bool,
    batch_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss and its gradient with respect to anchors, batch keys and temperature."""
    on_cpu = anchors.device.type == "cpu"
    mine = mine_on_cpu if on_cpu else mine_anywhere
    # reading rows here and there costs as much as multiplying some 16 times as many
    add_rows = add_rows_on_cpu if on_cpu and memory.shape[0] > 16 * (positives + negatives) else _add_rows
    if triton and memory.device == anchors.device:
        from pixelcontrast.ops.kernels.mining import add_rows_on_triton as add_rows
        from pixelcontrast.ops.kernels.mining import mine_on_triton as mine
    # rows that are not there may hold anything, even NaN, which a weight of 0 would not undo
    anchors, batch = anchors.where((anchor_labels >= 0)[:, None], 0), batch.where((batch_labels >= 0)[:, None], 0)
    sets = KeySets(batch, batch_labels, memory, memory_labels, own_key)
    rule = Rule(mining, positives, negatives, pool_share)
    with torch.autocast(anchors.device.type, enabled=False):
        num_used = (sets.count_positives(anchor_labels) > 0).sum().clamp(min=1)
        loss = _MinedLoss(anchors, sets, temperature, num_used, add_rows)
        for part in mine(anchors, anchor_labels, sets, seed=seed, rule=rule):
            loss.add(part, gradient=gradient, batch_gradient=batch_gradient)
        of_temperature = -(anchors * loss.of_anchors).sum() / temperature
        return loss.loss, loss.of_anchors, loss.of_batch if batch_gradient else batch[:0].clone(), of_temperature


_contrast.register_fake(shapes_of_gradients)
_contrast.register_autograd(scale_gradients, setup_context=keep_gradients)


@dataclass
class _MinedLoss:
    """One evaluation of Eq. 3 over mined keys, a few anchors at a time.

    Attributes:
        anchors: [n d]; those that are not there are finite.
        sets: The keys.
        temperature: Scalar.
        num_used: How many anchors have a positive.
        add_rows: Adds weighted rows of the memory to rows of a matrix, see `add_rows_on_cpu`.
    """

    anchors: Tensor
    sets: KeySets
    temperature: Tensor
    num_used: Tensor
    add_rows: Callable[[Tensor, Tensor, Tensor, KeySets], None]

    def __post_init__(self) -> None:
        self.loss = self.anchors.new_zeros(())
        self.of_anchors = torch.zeros_like(self.anchors)
        self.of_batch = torch.zeros_like(self.sets.batch)

    def add(self, mined: Mined, *, gradient: bool, batch_gradient: bool) -> None:
        """Take some anchors into the mean and into the gradient."""
        losses, weights = _weigh(mined, self.temperature)
        self.loss += losses.sum() / self.num_used
        if not gradient:
            return
        weights /= self.temperature * self.num_used
        rows = torch.cat([mined.positives, mined.negatives], dim=1)
        size = self.sets.batch.shape[0]
        in_batch = _spread(weights, rows, size)
        sums = in_batch @ self.sets.batch
        self.add_rows(sums, weights, (rows - size).clamp(min=-1), self.sets)
        self.of_anchors[mined.anchors] = sums
        if batch_gradient:
            self.of_batch.addmm_(in_batch.T, self.anchors[mined.anchors])


def _weigh(mined: Mined, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Each anchor's loss [a], and its derivative by the scaled similarities of positives and negatives [a p+q]."""
    is_positive, is_negative = mined.positives >= 0, mined.negatives >= 0
    scaled = (mined.negative_similarity / temperature).masked_fill_(~is_negative, -torch.inf)
    negatives = scaled.logsumexp(dim=1, keepdim=True)
    # softplus and sigmoid of -inf are 0
    margin = (negatives - mined.positive_similarity / temperature).masked_fill_(~is_positive, -torch.inf)
    count = is_positive.sum(dim=1).clamp(min=1)
    losses = F.softplus(margin, threshold=40).sum(dim=1) / count
    sigma = margin.sigmoid_() / count[:, None]
    # logsumexp of an empty set is -inf; +inf makes the weights 0
    softmax = (scaled - negatives.where(negatives > -torch.inf, torch.inf)).exp_()
    return losses, torch.cat([-sigma, softmax * sigma.sum(dim=1, keepdim=True)], dim=1)


def _spread(weights: Tensor, rows: Tensor, size: int) -> Tensor:
    """Weights as a matrix [a size]; rows outside 0..size-1 are left out."""
    inside = rows.where((rows >= 0) & (rows < size), size)
    return weights.new_zeros(weights.shape[0], size + 1).scatter_(1, inside, weights)[:, :size]


def _add_rows(sums: Tensor, weights: Tensor, rows: Tensor, sets: KeySets) -> None:
    """As `add_rows_on_cpu`, in shapes that depend on no value: a product with a sparse matrix, window by window."""
    spread = _spread(weights, rows, sets.memory.shape[0])
    for start in range(0, sets.memory.shape[0], 16384):
        window = slice(start, start + 16384)
        keys = sets.memory[window].to(sums, non_blocking=True)
        sums.addmm_(spread[:, window], keys.where((sets.memory_labels[window] >= 0)[:, None], 0))
