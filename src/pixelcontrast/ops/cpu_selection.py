"""Key mining on a CPU: anchor by anchor, with thresholds from a sample, so that most keys are looked at once.

Shapes depend on values here, which costs nothing on a CPU. Chooses exactly what `selection.mine_anywhere` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pixelcontrast.ops.selection import CHUNK_BYTES, Mined, Rule, Scores, score
from pixelcontrast.ops.windows import KeySets

_BLOCK = 2048  # keys multiplied at a time
_SAMPLE = 4096  # values that estimate a threshold


def mine_on_cpu(anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, seed: Tensor, rule: Rule) -> Iterator[Mined]:
    """Mine a few anchors at a time. See `mining.mine_keys`."""
    present = _Present(sets)
    scores = Scores.make(seed, anchors.shape[0], present.total)
    step = max(16, CHUNK_BYTES // (anchors.element_size() * max(present.size, 1)))
    buffer = anchors.new_empty(min(step, anchors.shape[0]), present.size)
    for rows in torch.split((anchor_labels >= 0).nonzero().squeeze(1), step):
        labels = anchor_labels[rows].tolist()
        own = [-1] * len(labels) if sets.own_key is None else sets.own_key[rows].tolist()
        similarity = present.products(anchors[rows], buffer[: len(labels)])
        nothing = rule.nothing(anchor_labels[rows], present.column[1:])
        mined = Mined(rows, *nothing, *(similarity.new_zeros(part.shape) for part in nothing))
        for i, (label, of_anchor) in enumerate(zip(labels, scores.of_anchors[rows].tolist(), strict=True)):
            _Picker(present, scores, of_anchor, rule).run(mined, i, similarity[i], label, own[i])
        yield mined


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
        self.labels, self.by_label = labels[self.rows].sort(stable=True)
        self.keys: list[tuple[Tensor, Tensor]] = []
        begin = 0
        for part in (sets.batch, sets.memory):
            inside = (self.rows >= begin) & (self.rows < begin + part.shape[0])
            self.keys.append((part, self.rows[inside] - begin))
            begin += part.shape[0]

    def of_label(self, label: int) -> Tensor:
        """Columns, ascending."""
        first, last = torch.searchsorted(self.labels, torch.tensor([label, label + 1])).tolist()
        return self.by_label[first:last]

    def products(self, anchors: Tensor, out: Tensor) -> Tensor:
        """Similarity of each anchor with each key that is there; whole blocks of a set are multiplied in place."""
        column = 0
        for keys, rows in self.keys:
            for start in range(0, rows.shape[0], _BLOCK):
                block = rows[start : start + _BLOCK]
                size = block.shape[0]
                first, last = int(block[0]), int(block[-1])
                chunk = keys[first : last + 1] if last - first + 1 == size else keys.index_select(0, block)
                torch.mm(anchors, chunk.to(anchors.dtype).T, out=out[:, column : column + size])
                column += size
        return out


class _Picker:
    """Chooses for one anchor."""

    def __init__(self, present: _Present, scores: Scores, of_anchor: int, rule: Rule) -> None:
        self.present, self.of_keys, self.of_anchor, self.rule = present, scores.of_keys, of_anchor, rule

    def run(self, mined: Mined, i: int, similarity: Tensor, label: int, own: int) -> None:
        """Write the choice for anchor `i` of the chunk; changes `similarity`."""
        same = self.present.of_label(label)
        own = int(self.present.column[own if 0 <= own < self.present.total else -1])
        positives = same[same != own] if own >= 0 else same
        chosen = self._pick(
            similarity.index_select(0, positives).neg_(), positives, positives.shape[0], self.rule.positives
        )
        at = positives.index_select(0, chosen)
        mined.positives[i, : at.shape[0]] = self.present.rows.index_select(0, at)
        mined.positive_similarity[i, : at.shape[0]] = similarity.index_select(0, at)
        similarity.index_fill_(0, same, -torch.inf)
        if own >= 0:
            similarity[own] = -torch.inf
        count = similarity.shape[0] - same.shape[0] - int(own >= 0 and positives.shape[0] == same.shape[0])
        at = self._pick(similarity, None, count, self.rule.negatives)
        mined.negatives[i, : at.shape[0]] = self.present.rows.index_select(0, at)
        mined.negative_similarity[i, : at.shape[0]] = similarity.index_select(0, at)

    def _pick(self, hardness: Tensor, columns: Tensor | None, count: int, limit: int) -> Tensor:
        """Entries to choose among `count` valid ones, ascending; those that are not valid have hardness -inf.

        Args:
            hardness: Of each entry.
            columns: Of each entry; None if entry and column are the same.
            count: How many are valid.
            limit: At most so many.
        """
        if self.rule.mining == "random":
            pool = (hardness > -torch.inf).nonzero().squeeze(1)
        else:
            size = self.rule.pool(count)
            pool = top(hardness, min(size, limit) if self.rule.mining == "hardest" else size)
        if pool.shape[0] <= limit:
            return pool
        rows = self.present.rows.index_select(0, pool if columns is None else columns.index_select(0, pool))
        return pool.index_select(0, top(score(self.of_keys.index_select(0, rows), self.of_anchor), limit))


def top(values: Tensor, count: int) -> Tensor:
    """Where the `count` highest values are, the first of equal ones; ascending. Fewer if there are not so many."""
    if count >= values.shape[0]:
        return torch.arange(values.shape[0])
    if count == 0:
        return torch.arange(0)
    candidates = _candidates(values, count)
    among = values if candidates is None else values.index_select(0, candidates)
    threshold = among.kthvalue(among.shape[0] - count + 1).values
    chosen = among >= threshold
    if int(chosen.sum()) > count:
        equal = among == threshold
        surplus = int(chosen.sum()) - count
        # of the values equal to the threshold, the last ones are too many
        chosen &= ~(equal & (equal.flip(0).cumsum(0).flip(0) <= surplus))
    at = chosen.nonzero().squeeze(1)
    return at if candidates is None else candidates.index_select(0, at)


def _candidates(values: Tensor, count: int) -> Tensor | None:
    """A superset of the `count` highest values that is not much larger, from the quantile of a sample; None: all."""
    size = values.shape[0]
    if size < 4 * _SAMPLE or 2 * count > size:
        return None
    stride = size // _SAMPLE
    sample = values[::stride].contiguous()
    share = count / size
    # four standard deviations of the sample's quantile: one anchor in 30,000 has to look at all keys
    wanted = share + 4 * (share * (1 - share) / sample.shape[0]) ** 0.5 + 1 / sample.shape[0]
    threshold = sample.kthvalue(max(1, int(sample.shape[0] * (1 - wanted)))).values
    candidates = (values >= threshold).nonzero().squeeze(1)
    return candidates if candidates.shape[0] >= count else None


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
