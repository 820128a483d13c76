"""Triton twin of key mining (see `selection`): one program chooses an anchor's positives, another its negatives.

What `selection.mine_anywhere` sorts is counted here. The least similarity of the pool and the least score of the draw
are found digit by digit, each by counting what lies behind the digits found so far, until all that is left is wanted.
So nothing is kept but the similarities, and four to six times as many anchors fit into the same memory at a time.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# A kernel's arguments are pointers and numbers of Triton's own language.

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from pixelcontrast.ops.selection import CHUNK_BYTES, ODD, Mined, Rule, Scores, products
from pixelcontrast.ops.windows import KeySets

_BLOCK = 2048  # keys that a program reads at a time
_DIGIT_BITS = 6


def mine_on_triton(
    anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, seed: Tensor, rule: Rule
) -> Iterator[Mined]:
    """As `selection.mine_anywhere`, in float32 and for fewer than 2^31 keys."""
    labels = sets.labels
    n, m = anchors.shape[0], labels.shape[0]
    scores = Scores.make(seed, n, m)
    own_key = sets.own_key if sets.own_key is not None else torch.full_like(anchor_labels, -1)
    limits = min(rule.positives, m), min(rule.negatives, m)
    step = max(1, CHUNK_BYTES // max(1, 4 * m))
    labels = labels.int()
    for start in range(0, n, step):
        part = slice(start, start + step)
        similarity = products(anchors[part], sets)
        a = similarity.shape[0]
        rows = anchor_labels.new_full((a, sum(limits)), -1)
        chosen = similarity.new_zeros(rows.shape)
        if m:
            share = rule.share()
            with torch.cuda.device_of(anchors):  # Triton launches on the current device
                _choose[(a, 2)](
                    similarity, labels, anchor_labels[part], own_key[part], scores.of_keys, scores.of_anchors[part],
                    rows, chosen, m, *limits, share.numerator, share.denominator,
                    MINING=rule.mining, ODD=ODD, BLOCK=_BLOCK, BITS=_DIGIT_BITS, num_warps=8,
                )  # fmt: skip
        del similarity  # before the next ones are made
        yield Mined(part, *rows.split(limits, dim=1), *chosen.split(limits, dim=1))


def add_rows_on_triton(sums: Tensor, weights: Tensor, rows: Tensor, sets: KeySets) -> None:
    """As `cpu_selection.add_rows_on_cpu`, for a memory on the device of the sums."""
    dim, size = sums.shape[1], rows.shape[1]
    if rows.numel():
        with torch.cuda.device_of(sums):
            _add_rows[(sums.shape[0],)](
                sums, weights, rows, sets.memory.contiguous(), dim, size,
                WIDTH=triton.next_power_of_2(dim), ROWS=32, num_warps=8,
            )  # fmt: skip


@triton.jit
def _keys(similarity, labels, m, start, anchor_label, own, positive, BLOCK: tl.constexpr):  # noqa: N803
    """Columns of a block, which of them are keys of the kind, their similarities, and their hardness as whole numbers.

    NaN is hardest, as for a sort; of zeros there are two, which a sort takes for equal.
    """
    columns = start + tl.arange(0, BLOCK)
    label = tl.load(labels + columns, mask=columns < m, other=-1)
    valid = (label >= 0) & (columns != own) & ((label == anchor_label) == positive)
    values = tl.load(similarity + columns, mask=valid, other=0.0)
    hardness = tl.where(positive, -values, values) + 0.0
    bits = tl.where(hardness == hardness, hardness.to(tl.int32, bitcast=True), 0x7FC00000)  # noqa: PLR0124
    # as whole numbers, negative floats ascend the wrong way
    order = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.int64) + 0x80000000
    return columns, valid, values, order.to(tl.uint64)


@triton.jit
def _pool(valid, order, level, at_level, seen):
    """Which keys are in the pool: above the level, and the first so many at it; and how many were at it till here."""
    equal = valid & (order == level)
    before = seen + tl.cumsum(equal.to(tl.int32), 0) - equal.to(tl.int32)
    inside = valid & ((order > level) | (equal & (before < at_level)))
    return inside, seen + tl.sum(equal.to(tl.int32), 0)


@triton.jit
def _score(of_keys, of_anchor, columns, inside, ODD: tl.constexpr):  # noqa: N803
    signed = (tl.load(of_keys + columns, mask=inside, other=0) ^ of_anchor) * ODD
    return signed.to(tl.uint64, bitcast=True) ^ (1 << 63)


@triton.jit
def _level(
    similarity, labels, of_keys, m, anchor_label, own, of_anchor, positive, level, at_level, take,
    TOTAL: tl.constexpr, ODD: tl.constexpr, BLOCK: tl.constexpr, BITS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The least of the `take` greatest, of the hardness of all keys (32 bits) or the scores of the pool (64 bits).

    Returns it, or less if fewer bits tell them from the rest, and how many are to be taken of those that equal it.
    """
    bins = tl.arange(0, 1 << BITS)
    prefix = tl.zeros((), tl.uint64)
    shift = tl.full((), TOTAL, tl.int32)
    undecided = shift > 0
    while undecided & (shift > 0):
        width = tl.minimum(shift, BITS)
        shift -= width
        counts = tl.zeros((1 << BITS,), tl.int32)
        seen = 0
        for start in range(0, m, BLOCK):
            columns, inside, _, order = _keys(similarity, labels, m, start, anchor_label, own, positive, BLOCK)
            if TOTAL == 64:
                inside, seen = _pool(inside, order, level, at_level, seen)
                order = _score(of_keys, of_anchor, columns, inside, ODD)
            digits = order >> shift.to(tl.uint64)
            inside = inside & ((digits >> width.to(tl.uint64)) == prefix)
            last = digits.to(tl.int32) & ((1 << width) - 1)
            counts += tl.histogram(last, 1 << BITS, mask=inside)
        at_least = tl.cumsum(counts, 0, reverse=True)
        digit = tl.sum((at_least >= take).to(tl.int32), 0) - 1
        here = tl.sum(tl.where(bins == digit, counts, 0), 0)
        take -= tl.sum(tl.where(bins > digit, counts, 0), 0)
        prefix = (prefix << width.to(tl.uint64)) | digit.to(tl.uint64)
        undecided = here > take
    return prefix << shift.to(tl.uint64), take


@triton.jit
def _choose(
    similarity, labels, anchor_labels, own_keys, of_keys, of_anchors, rows, chosen,
    m, num_positives, num_negatives, numerator, denominator,
    MINING: tl.constexpr, ODD: tl.constexpr, BLOCK: tl.constexpr, BITS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Choose one anchor's keys of one kind and write them, ascending."""
    anchor = tl.program_id(0)
    positive = tl.program_id(1) == 0
    anchor_label = tl.load(anchor_labels + anchor).to(tl.int32)
    own = tl.load(own_keys + anchor)
    of_anchor = tl.load(of_anchors + anchor)
    similarity += anchor.to(tl.int64) * m
    at = anchor.to(tl.int64) * (num_positives + num_negatives) + tl.where(positive, 0, num_positives)
    limit = tl.where(positive, num_positives, num_negatives)
    count = tl.zeros((), tl.int32)
    for start in range(0, m, BLOCK):
        _, valid, _, _ = _keys(similarity, labels, m, start, anchor_label, own, positive, BLOCK)
        count += tl.sum(valid.to(tl.int32), 0)
    if (anchor_label >= 0) & (limit > 0) & (count > 0):
        # every key is above this level, and has a score above that one
        level, at_level = tl.zeros((), tl.uint64), tl.zeros((), tl.int32)
        least_score = tl.zeros((), tl.uint64)
        pool = count
        if MINING == "semi_hard":
            pool = ((count.to(tl.int64) * numerator + denominator - 1) // denominator).to(tl.int32)
        if MINING == "hardest":
            pool = min(count, limit)
        if pool < count:
            level, at_level = _level(
                similarity, labels, of_keys, m, anchor_label, own, of_anchor, positive, level, at_level, pool,
                32, ODD, BLOCK, BITS,
            )  # fmt: skip
        if pool > limit:
            least_score, _ = _level(
                similarity, labels, of_keys, m, anchor_label, own, of_anchor, positive, level, at_level, limit,
                64, ODD, BLOCK, BITS,
            )  # fmt: skip
        seen, written = 0, 0
        for start in range(0, m, BLOCK):
            columns, valid, values, order = _keys(similarity, labels, m, start, anchor_label, own, positive, BLOCK)
            inside, seen = _pool(valid, order, level, at_level, seen)
            inside = inside & (_score(of_keys, of_anchor, columns, inside, ODD) >= least_score)
            place = at + written + tl.cumsum(inside.to(tl.int32), 0) - 1
            tl.store(rows + place, columns.to(tl.int64), mask=inside)
            tl.store(chosen + place, values, mask=inside)
            written += tl.sum(inside.to(tl.int32), 0)


@triton.jit
def _add_rows(
    sums, weights, rows, memory, dim, size, WIDTH: tl.constexpr, ROWS: tl.constexpr  # noqa: N803
):  # fmt: skip
    """Add an anchor's weighted rows of the memory to its sum."""
    anchor = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    total = tl.zeros((WIDTH,), tl.float32)
    for start in range(0, size, ROWS):
        entries = start + tl.arange(0, ROWS)
        row = tl.load(rows + anchor * size + entries, mask=entries < size, other=-1)
        weight = tl.load(weights + anchor * size + entries, mask=entries < size, other=0.0)
        mask = (row >= 0)[:, None] & (columns < dim)[None, :]
        values = tl.load(memory + row[:, None] * dim + columns[None, :], mask=mask, other=0.0)
        total += tl.sum(tl.where(row >= 0, weight, 0.0)[:, None] * values.to(tl.float32), 0)
    at = sums + anchor * dim + columns
    tl.store(at, tl.load(at, mask=columns < dim, other=0.0) + total, mask=columns < dim)
