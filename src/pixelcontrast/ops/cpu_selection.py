"""Key mining on a CPU: exact thresholds, narrowed down by a sample, so that most keys are looked at once.

Shapes depend on values here, which costs nothing on a CPU. Chooses exactly what `selection.mine_anywhere` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pixelcontrast.ops.selection import Mined, Rule, Scores, mine_anywhere, score
from pixelcontrast.ops.windows import KeySets

_BLOCK = 2048  # keys multiplied at a time
_ALIGN = 16  # columns: a product that does not start at a multiple of a cache line is a quarter slower
_SAMPLE = 4096  # values that estimate a threshold
_GROUP = 1 << 20  # similarities ranked at a time


def mine_on_cpu(anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, seed: Tensor, rule: Rule) -> Iterator[Mined]:
    """Mine a few anchors at a time. See `mining.mine_keys`."""
    if not _all_finite(anchors, anchor_labels, sets):
        yield from mine_anywhere(anchors, anchor_labels, sets, seed=seed, rule=rule)  # NaN has no threshold
        return
    present = _Present(sets)
    scores = Scores.make(seed, anchors.shape[0], present.total)
    own = present.columns_of(sets.own_key, anchor_labels)
    kind = present.kind_of(own, anchor_labels)
    order = (3 * anchor_labels.clamp(min=-1) + kind).argsort(stable=True)
    order = order[int((anchor_labels < 0).sum()) :]
    step = rule.anchors_at_once(present.size, anchors.element_size())
    buffer = anchors.new_empty(min(step, anchors.shape[0]), -(-present.size // _ALIGN) * _ALIGN)[:, : present.size]
    for rows in torch.split(order, step):
        similarity = present.products(anchors.index_select(0, rows), buffer[: rows.shape[0]])
        nothing = rule.nothing(anchor_labels[rows], present.column[1:])
        mined = Mined(rows, *nothing, *(similarity.new_zeros(part.shape) for part in nothing))
        for group, label, kind_here in _groups(anchor_labels[rows], kind[rows], present.size):
            here = rows[group]
            picker = _Picker(present, rule, scores.of_keys, scores.of_anchors[here, None])
            picker.run(mined, group, similarity[group], label, own[here, None], kind_here)
        yield mined


def _all_finite(anchors: Tensor, anchor_labels: Tensor, sets: KeySets) -> bool:
    rows = ((anchors, anchor_labels), (sets.batch, sets.batch_labels), (sets.memory, sets.memory_labels))
    sums = (part.sum(dim=1, dtype=anchors.dtype).where(labels >= 0, 0) for part, labels in rows)
    return all(bool(each.isfinite().all()) for each in sums)


def _groups(labels: Tensor, kinds: Tensor, size: int) -> Iterator[tuple[slice, int, int]]:
    """Runs of anchors of one label and kind, cut where there are too many similarities."""
    values, counts = torch.unique_consecutive(3 * labels + kinds, return_counts=True)
    most = max(1, _GROUP // max(size, 1))
    start = 0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        for first in range(start, start + count, most):
            yield slice(first, min(first + most, start + count)), value // 3, value % 3
        start += count


class _Present:
    """The keys that are there, of all sets, in the order of their rows: columns 0..size-1.

    Attributes:
        rows: Of each column, counted through all sets.
        column: Of each row; -1 if it is not there, and in one more entry at the end.
    """

    def __init__(self, sets: KeySets) -> None:
        labels = sets.labels
        self.total = labels.shape[0]
        self.rows = (labels >= 0).nonzero().squeeze(1)
        self.size = self.rows.shape[0]
        self.column = torch.full((self.total + 1,), -1).index_copy_(0, self.rows, torch.arange(self.size))
        self.labels = labels.index_select(0, self.rows)
        self.sorted_labels, self.by_label = self.labels.sort(stable=True)
        self.keys: list[tuple[Tensor, Tensor]] = []
        begin = 0
        for part in (sets.batch, sets.memory):
            inside = (self.rows >= begin) & (self.rows < begin + part.shape[0])
            self.keys.append((part, self.rows[inside] - begin))
            begin += part.shape[0]

    def of_label(self, label: int) -> Tensor:
        """Columns, ascending."""
        first, last = torch.searchsorted(self.sorted_labels, torch.tensor([label, label + 1])).tolist()
        return self.by_label[first:last]

    def columns_of(self, rows: Tensor | None, anchor_labels: Tensor) -> Tensor:
        """Of one row for each anchor; -1 if it is not there."""
        if rows is None:
            return torch.full_like(anchor_labels, -1)
        return self.column[rows.where((rows >= 0) & (rows < self.total), self.total)]

    def kind_of(self, own: Tensor, anchor_labels: Tensor) -> Tensor:
        """Whether an anchor itself, in column `own`, is among the keys of its label (1), of others (2), or none (0)."""
        labels = torch.cat([self.labels, torch.full((1,), -1)])
        same = labels[own.where(own >= 0, self.size)] == anchor_labels
        return torch.where(own < 0, 0, torch.where(same, 1, 2))

    def products(self, anchors: Tensor, out: Tensor) -> Tensor:
        """Similarity of each anchor with each key that is there; whole blocks of a set are multiplied in place."""
        column = 0
        for keys, rows in self.keys:
            start = 0
            while start < rows.shape[0]:
                block = rows[start : start + _BLOCK - column % _ALIGN]
                size = block.shape[0]
                start += size
                first, last = int(block[0]), int(block[-1])
                chunk = keys[first : last + 1] if last - first + 1 == size else keys.index_select(0, block)
                torch.mm(anchors, chunk.to(anchors.dtype).T, out=out[:, column : column + size])
                column += size
        return out


class _Picker:
    """Chooses for a few anchors of one label.

    Args:
        present: The keys.
        rule: What to choose.
        of_keys: Scores, see `Scores`.
        of_anchors: [a 1].
    """

    def __init__(self, present: _Present, rule: Rule, of_keys: Tensor, of_anchors: Tensor) -> None:
        self.present, self.rule, self.of_keys, self.of_anchors = present, rule, of_keys, of_anchors

    def run(self, mined: Mined, group: slice, similarity: Tensor, label: int, own: Tensor, kind: int) -> None:
        """Write the choice for a `group` of the anchors of `mined`; changes their `similarity` [a m].

        Args:
            mined: Where to write.
            group: Which of its rows.
            similarity: Of the anchors with all keys.
            label: Of the anchors.
            own: [a 1] columns of the anchors themselves.
            kind: What those are, see `_Present.kind_of`.
        """
        same = self.present.of_label(label)
        if kind == 1:
            similarity.scatter_(1, own, torch.inf)  # the easiest positive
        positives = self._pick(similarity.index_select(1, same).neg_(), same, same.shape[0] - (kind == 1), "positives")
        at = _take(same, positives)
        _write(mined.positives, group, _take(self.present.rows, at))
        _write(mined.positive_similarity, group, similarity.gather(1, at))
        similarity.index_fill_(1, same, -torch.inf)
        if kind == 2:
            similarity.scatter_(1, own, -torch.inf)
        valid = similarity.shape[1] - same.shape[0] - (kind == 2)
        at = self._pick(similarity, None, valid, "negatives")
        _write(mined.negatives, group, _take(self.present.rows, at))
        _write(mined.negative_similarity, group, similarity.gather(1, at))

    def _pick(self, hardness: Tensor, columns: Tensor | None, valid: int, what: str) -> Tensor:
        """Entries to choose for each anchor, ascending.

        Args:
            hardness: [a k], -inf for entries that are not valid.
            columns: Of each entry; None if entry and column are the same.
            valid: How many entries are.
            what: "positives" or "negatives".
        """
        limit: int = getattr(self.rule, what)
        rows = self.present.rows if columns is None else self.present.rows[columns]
        if self.rule.mining == "random" and valid > limit:
            scores = score(self.of_keys[rows], self.of_anchors)
            return top(scores.masked_fill_(hardness == -torch.inf, -(1 << 63)), limit)
        size = min(limit, valid) if self.rule.mining == "hardest" else self.rule.pool(valid)
        pool = top(hardness, size)
        if size <= limit:
            return pool
        scores = score(_take(self.of_keys, _take(rows, pool)), self.of_anchors)
        return pool.gather(1, top(scores, limit))


def _take(values: Tensor, at: Tensor) -> Tensor:
    """As `values[at]`, which is several times slower."""
    return values.index_select(0, at.reshape(-1)).view(at.shape)


def _write(out: Tensor, group: slice, values: Tensor) -> None:
    out[group, : values.shape[1]] = values


def top(values: Tensor, count: int) -> Tensor:
    """Where the `count` highest values of each row are, the first of equal ones; [a count], ascending.

    There must be so many.
    """
    size = values.shape[1]
    if count == 0 or count == size:
        return torch.arange(count).expand(values.shape[0], count)
    if size < 4 * _SAMPLE or 2 * count > size:
        return _top_of_all(values, count)
    rows = []
    for row in values:
        candidates = _candidates(row, count)
        among = _top_of_all(row.index_select(0, candidates)[None], count)[0]
        rows.append(candidates.index_select(0, among))
    return torch.stack(rows)


def _top_of_all(values: Tensor, count: int) -> Tensor:
    threshold = values.kthvalue(values.shape[1] - count + 1, dim=1, keepdim=True).values
    chosen = values >= threshold
    surplus = chosen.sum(dim=1, keepdim=True) - count
    if bool(surplus.any()):
        # of the values equal to the threshold, the last ones are too many
        equal = values == threshold
        chosen &= ~(equal & (equal.flip(1).cumsum(1).flip(1) <= surplus))
    return chosen.nonzero()[:, 1].view(-1, count)


def _candidates(values: Tensor, count: int) -> Tensor:
    """Where a superset of the `count` highest values is that is not much larger, from the quantile of a sample."""
    size = values.shape[0]
    sample = values[:: size // _SAMPLE].contiguous()
    share = count / size
    # four standard deviations of the sample's quantile: one anchor in 30,000 has to look at all keys
    wanted = share + 4 * (share * (1 - share) / sample.shape[0]) ** 0.5 + 1 / sample.shape[0]
    threshold = sample.kthvalue(max(1, int(sample.shape[0] * (1 - wanted)))).values
    candidates = (values >= threshold).nonzero().squeeze(1)
    return candidates if candidates.shape[0] >= count else torch.arange(size)


def add_rows_on_cpu(sums: Tensor, weights: Tensor, rows: Tensor, sets: KeySets) -> None:
    """Add to each row of `sums` its weighted rows of the memory; only those are read.

    Args:
        sums: [a d], changed.
        weights: [a k].
        rows: [a k] of the memory; negative for none.
        sets: The keys.
    """
    for total, weight, row in zip(sums, weights, rows, strict=True):
        inside = row >= 0
        total.addmv_(sets.memory.index_select(0, row[inside]).to(sums.dtype).T, weight[inside])
