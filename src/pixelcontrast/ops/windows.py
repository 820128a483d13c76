"""Eq. 3 over windows of keys, with its gradient: the n x m matrix of similarities never exists.

Each window of keys is multiplied with the anchors once for the log-sum-exp over the negatives (and, as in flash
attention, for the softmax-weighted sum of the negatives, which is that term's gradient), and once more where it holds
positives, whose terms need the finished log-sum-exp. Related: cut cross-entropy (arXiv:2411.09009), Inf-CL
(arXiv:2410.17243).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 1024  # keys at a time: the window of similarities is 4 MiB at 1024 anchors


@dataclass(frozen=True)
class Window:
    """A few keys, and which anchors may have positives among them.

    Attributes:
        rows: Where they lie in their set.
        keys: [c d] on the anchors' device, in the dtype of the computation; finite.
        labels: [c].
        first: Anchors outside first:last have these keys as negatives, all of them.
        last: See `first`.
        own: [last - first], the column that is the anchor itself, any other number for none; None if no anchor is here.
        same_label: Whether the anchors in first:last and the keys are known to be of one label.
    """

    rows: slice | Tensor
    keys: Tensor
    labels: Tensor
    first: int
    last: int
    own: Tensor | None
    same_label: bool

    def positive(self, anchor_labels: Tensor) -> Tensor | None:
        """Which pairs of first:last and the keys are positive; None: all of them."""
        if self.same_label and self.own is None:
            return None
        same = anchor_labels[self.first : self.last, None] == self.labels
        return same if self.own is None else same & ~self._is_own()

    def not_negative(self, anchor_labels: Tensor) -> Tensor | None:
        """Which pairs of first:last and the keys are not negative; None: all of them."""
        if self.same_label:
            return None
        same = (anchor_labels[self.first : self.last, None] == self.labels) | (self.labels < 0)
        return same if self.own is None else same | self._is_own()

    def _is_own(self) -> Tensor:
        assert self.own is not None
        return self.own[:, None] == torch.arange(self.labels.shape[0], device=self.labels.device)


@runtime_checkable
class Windows(Protocol):
    """Passes over one set of keys."""

    def all(self) -> Iterator[Window]:
        """Go through every key once."""

    def positives(self) -> Iterator[Window]:
        """Go once through the keys that an anchor may have as positives, in windows that hold few other pairs."""


@dataclass(frozen=True)
class FixedWindows:
    """Windows in the order of the rows, whose shapes depend on no value, for a device that must not be waited for.

    Attributes:
        keys: [m d], any floating dtype, any device.
        labels: [m] on the anchors' device.
        anchors: [n d], which give device and dtype of the computation.
        own_key: [n] rows of this set, other numbers for none.
    """

    keys: Tensor
    labels: Tensor
    anchors: Tensor
    own_key: Tensor | None

    def all(self) -> Iterator[Window]:
        """Go through the set once."""
        for start in range(0, self.keys.shape[0], WINDOW):
            rows = slice(start, start + WINDOW)
            labels = self.labels[rows]
            keys = self.keys[rows].to(self.anchors, non_blocking=True).where((labels >= 0)[:, None], 0)
            own = None if self.own_key is None else self.own_key - start
            yield Window(rows, keys, labels, 0, self.anchors.shape[0], own, False)

    def positives(self) -> Iterator[Window]:
        """Go through the set once: any key may be a positive."""
        return self.all()


@dataclass
class Stream:
    """One evaluation of Eq. 3. Anchors that are not there must have no positives; everything is in the anchors' dtype.

    Attributes:
        anchors: [n d], already divided by the temperature.
        anchor_labels: [n].
        num_positives: [n], of all sets together.
        gradient: Whether it is wanted.
    """

    anchors: Tensor
    anchor_labels: Tensor
    num_positives: Tensor
    gradient: bool

    def __post_init__(self) -> None:
        n = self.anchors.shape[0]
        used = self.num_positives > 0
        self.share = used / (self.num_positives.clamp(min=1) * used.sum().clamp(min=1)).to(self.anchors.dtype)
        self.buffer = self.anchors.new_empty(n * WINDOW)
        # the lowest number and not -inf: a difference of two infinities is NaN
        self.peak = self.anchors.new_full((n,), torch.finfo(self.anchors.dtype).min)
        self.total = self.anchors.new_zeros(n)
        self.pull = torch.zeros_like(self.anchors)

    def run(self, batch: Windows, memory: Windows, differentiate: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate Eq. 3 against two sets of keys.

        Args:
            batch: Passes over the first set.
            memory: Passes over the second.
            differentiate: The keys of the first set, if their gradient is wanted.

        Returns:
            The loss, its gradient with respect to `anchors`, and to `differentiate` (empty if None).
        """
        for windows in (batch, memory):
            self._add_negatives(windows)
        self._close_negatives()
        for windows in (batch, memory):
            self._add_positives(windows)
        loss = (self.losses * self.share).sum()
        of_anchors = self.share[:, None] * (self.sigmas[:, None] * self.pull - self.push)
        of_keys = self.anchors[:0] if differentiate is None else self._key_gradient(differentiate, batch)
        return loss, of_anchors, of_keys

    def _add_negatives(self, windows: Windows) -> None:
        """Take a set of keys into the log-sum-exp over negatives, and into their softmax-weighted sum."""
        for window in windows.all():
            similarity = self._similarity(window, 0, self.anchors.shape[0])
            _hide(similarity[window.first : window.last], window.not_negative(self.anchor_labels))
            peak = torch.maximum(self.peak, similarity.amax(dim=1))
            shrink = (self.peak - peak).exp_()
            self.peak = peak
            weights = similarity.sub_(peak[:, None]).exp_()
            self.total.mul_(shrink).add_(weights.sum(dim=1))
            if self.gradient:
                self.pull.mul_(shrink[:, None]).addmm_(weights, window.keys)

    def _close_negatives(self) -> None:
        self.negatives = self.peak + self.total.log()
        self.pull /= self.total.where(self.total > 0, 1)[:, None]
        self.losses, self.sigmas = torch.zeros_like(self.total), torch.zeros_like(self.total)
        self.push = torch.zeros_like(self.anchors)

    def _add_positives(self, windows: Windows) -> None:
        """Take a set of keys into the terms of Eq. 3 and their gradient."""
        for window in windows.positives():
            first, last = window.first, window.last
            margin = self.negatives[first:last, None] - self._similarity(window, first, last)
            positive = window.positive(self.anchor_labels)
            if positive is not None:
                # softplus and sigmoid of -inf are 0
                margin.masked_fill_(~positive, -torch.inf)
            self.losses[first:last] += F.softplus(margin, threshold=40).sum(dim=1)
            if self.gradient:
                sigma = margin.sigmoid_()
                self.sigmas[first:last] += sigma.sum(dim=1)
                self.push[first:last].addmm_(sigma, window.keys)

    def _key_gradient(self, keys: Tensor, windows: Windows) -> Tensor:
        """With respect to one set of keys, which takes a third product."""
        gradient = torch.zeros_like(keys)
        # logsumexp of an empty set is -inf; +inf makes the weights 0
        negatives = self.negatives.where(self.total > 0, torch.inf)[:, None]
        scale = (self.sigmas * self.share)[:, None]
        for window in windows.all():
            first, last = window.first, window.last
            similarity = self._similarity(window, 0, self.anchors.shape[0])
            block = similarity[first:last]
            sigma = (self.negatives[first:last, None] - block).sigmoid_() * self.share[first:last, None]
            positive = window.positive(self.anchor_labels)
            if positive is not None:
                sigma.masked_fill_(~positive, 0)
            _hide(block, window.not_negative(self.anchor_labels))
            weights = similarity.sub_(negatives).exp_().mul_(scale)
            weights[first:last] -= sigma
            gradient[window.rows] = weights.T @ self.anchors
        return gradient

    def _similarity(self, window: Window, first: int, last: int) -> Tensor:
        size = window.keys.shape[0]
        out = self.buffer[: (last - first) * size].view(last - first, size)
        return torch.mm(self.anchors[first:last], window.keys.T, out=out)


def _hide(similarity: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        similarity.fill_(-torch.inf)
    else:
        similarity.masked_fill_(mask, -torch.inf)


@dataclass(frozen=True)
class KeySets:
    """What the anchors are compared with: two sets of keys, which are never concatenated.

    Attributes:
        batch: [b d] in the dtype of the computation.
        batch_labels: [b] int64, negative for a row that is not there.
        memory: [m d] in any floating dtype, on any device.
        memory_labels: [m] on the anchors' device.
        own_key: [n], the key that is the anchor itself, counted through batch and then memory; negative for none.
    """

    batch: Tensor
    batch_labels: Tensor
    memory: Tensor
    memory_labels: Tensor
    own_key: Tensor | None

    @property
    def labels(self) -> Tensor:
        """Of all keys."""
        return torch.cat([self.batch_labels, self.memory_labels])

    def own_rows(self) -> tuple[Tensor | None, Tensor | None]:
        """Rows of own keys in each set; numbers outside it for none."""
        if self.own_key is None:
            return None, None
        size = self.batch.shape[0]
        return self.own_key.where(self.own_key < size, -1), self.own_key - size

    def count_positives(self, anchor_labels: Tensor) -> Tensor:
        """How many keys share each anchor's label, its own one aside; [n], 0 for an anchor that is not there."""
        labels = self.labels
        ordered = labels.sort().values
        total = torch.searchsorted(ordered, anchor_labels, right=True) - torch.searchsorted(ordered, anchor_labels)
        if self.own_key is not None:
            size = labels.shape[0]
            row = self.own_key.where((self.own_key >= 0) & (self.own_key < size), size)
            total = total - (F.pad(labels, (0, 1), value=-1)[row] == anchor_labels).long()
        return total.where(anchor_labels >= 0, 0)


def computing_dtype(anchors: Tensor, keys: Tensor) -> torch.dtype:
    """float32, or float64 where either is."""
    return torch.promote_types(torch.promote_types(anchors.dtype, keys.dtype), torch.float32)
