"""Windows for a CPU: keys in the order of their labels, so that each pair of anchor and key is computed once.

Shapes depend on the labels here, which costs nothing on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from pixelcontrast.ops.windows import WINDOW, KeySets, Stream, Window

_LEAST_POSITIVES = 32  # fewer rows of a label share a window: to start one takes longer than to mask their pairs


@dataclass(frozen=True)
class _Plan:
    """One window: positions start:stop in the order of labels, and whether their rows are consecutive."""

    start: int
    stop: int
    row: int
    consecutive: bool
    first: int
    last: int
    owned: bool
    same_label: bool


class _SortedKeys:
    """One set of keys, whose passes go through the keys that are there, label after label.

    A memory is laid out class by class, so its windows are views; other keys are copied window by window.

    Args:
        keys: [m d], any floating dtype.
        labels: [m] int64.
        anchor_labels: [n] int64, ascending.
        own_key: [n] rows of this set, or a number outside it.
        dtype: Of the computation.
    """

    def __init__(
        self, keys: Tensor, labels: Tensor, anchor_labels: Tensor, own_key: Tensor | None, dtype: torch.dtype
    ) -> None:
        self.keys, self.dtype = keys, dtype
        self.labels, self.order = labels.sort(stable=True)
        self.own = None if own_key is None else self._own_positions(own_key)
        self.anchor_labels = anchor_labels

    def all(self) -> Iterator[Window]:
        """Go through the keys that are there once."""
        yield from self._windows(self._plans)

    def positives(self) -> Iterator[Window]:
        """Go once through the keys of labels that an anchor has."""
        yield from self._windows(plan for plan in self._plans_of_positives if plan.first < plan.last)

    @cached_property
    def _plans(self) -> list[_Plan]:
        return self._plan(least=WINDOW // 4)

    @cached_property
    def _plans_of_positives(self) -> list[_Plan]:
        return self._plan(least=_LEAST_POSITIVES)

    def _windows(self, plans: Iterable[_Plan]) -> Iterator[Window]:
        for plan in plans:
            if plan.consecutive:
                rows: slice | Tensor = slice(plan.row, plan.row + plan.stop - plan.start)
            else:
                rows = self.order[plan.start : plan.stop]
            own = self.own[plan.first : plan.last] - plan.start if self.own is not None and plan.owned else None
            labels = self.labels[plan.start : plan.stop]
            keys = self.keys[rows].to(self.dtype)
            yield Window(rows, keys, labels, plan.first, plan.last, own, plan.same_label)

    def _own_positions(self, own_key: Tensor) -> Tensor:
        """Where in the order of labels each anchor's own key is; -1: not in this set."""
        size = self.order.shape[0]
        position = torch.empty(size + 1, dtype=torch.int64).fill_(-1).scatter_(0, self.order, torch.arange(size))
        return position[own_key.where((own_key >= 0) & (own_key < size), size)]

    def _plan(self, *, least: int) -> list[_Plan]:
        anchor_labels = self.anchor_labels
        begin = int((self.labels < 0).sum())
        start, stop = _cut(self.labels[begin:], least)
        start, stop = start + begin, stop + begin
        low, high = self.labels[start], self.labels[stop - 1]
        label_first = first = torch.searchsorted(anchor_labels, low)
        label_last = last = torch.searchsorted(anchor_labels, high, right=True)
        jumps = torch.nn.functional.pad((self.order.diff() != 1).cumsum(0), (1, 0))
        owned = torch.zeros_like(start, dtype=torch.bool)
        if self.own is not None:
            anchor = (self.own >= begin).nonzero().squeeze(1)
            window = torch.searchsorted(stop, self.own[anchor], right=True)
            owned[window] = True
            # an anchor whose own key has another label must be in the range whose pairs are masked
            first = first.scatter_reduce(0, window, anchor, "amin")
            last = last.scatter_reduce(0, window, anchor + 1, "amax")
        consecutive = jumps[start] == jumps[stop - 1]
        same_label = (low == high) & (first == label_first) & (last == label_last)
        table = (start, stop, self.order[start], consecutive, first, last, owned, same_label)
        return [_Plan(*values) for values in zip(*(column.tolist() for column in table), strict=True)]


def _cut(labels: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Where windows of ascending labels start and stop: a label with at least so many rows has its own.

    All pairs of a window of one label are positive for that label's anchors: nothing is computed to be masked.
    """
    sizes = torch.unique_consecutive(labels, return_counts=True)[1]
    ends = sizes.cumsum(0)
    large = sizes >= least
    cuts = torch.cat([(ends - sizes)[large], ends[large], ends[-1:], torch.zeros(1, dtype=ends.dtype)])
    bounds = torch.unique(cuts).tolist()
    start = [row for first, last in pairwise(bounds) for row in range(first, last, WINDOW)]
    stop = [*start[1:], labels.shape[0]][: len(start)]
    return torch.tensor(start, dtype=torch.int64), torch.tensor(stop, dtype=torch.int64)


def stream_on_cpu(
    anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, gradient: bool, batch_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 3 and its gradient with respect to the anchors, already divided by the temperature, and the batch keys."""
    labels, order = anchor_labels.sort(stable=True)
    absent = int((labels < 0).sum())
    labels, order = labels[absent:], order[absent:]
    present = anchors[order]
    sets = replace(sets, own_key=None if sets.own_key is None else sets.own_key[order])
    own = sets.own_rows()
    loss, of_present, of_batch = Stream(present, labels, sets.count_positives(labels), gradient).run(
        _SortedKeys(sets.batch, sets.batch_labels, labels, own[0], anchors.dtype),
        _SortedKeys(sets.memory, sets.memory_labels, labels, own[1], anchors.dtype),
        sets.batch if batch_gradient else None,
    )
    return loss, torch.zeros_like(anchors).index_copy_(0, order, of_present), of_batch
