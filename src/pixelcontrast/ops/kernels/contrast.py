"""Triton twin of the streaming loss (see `windows.Stream`): similarities stay on the chip.

Keys in bfloat16 or float16 are multiplied in their dtype, anchors rounded to it, with sums in float32; keys in float32
are multiplied exactly. Blocks of keys without a positive of a block of anchors are skipped in the second pass.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# A kernel's arguments are pointers and numbers of Triton's own language.

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from pixelcontrast.ops.windows import FixedWindows, KeySets, Stream, Windows

_BLOCK_ANCHORS, _BLOCK_KEYS = 64, 64
_PROGRAMS = 264  # at most, that they end in two rounds on the 132 multiprocessors of a large GPU


def stream_on_triton(
    anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, gradient: bool, batch_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `stream_on_cpu`; anchors in the order of their labels, so that blocks without positives can be skipped."""
    order = anchor_labels.argsort(stable=True)
    ordered, labels = anchors[order], anchor_labels[order]
    sets = replace(sets, own_key=None if sets.own_key is None else sets.own_key[order])
    own = sets.own_rows()
    loss, of_ordered, of_batch = _TritonStream(ordered, labels, sets.count_positives(labels), gradient).run(
        FixedWindows(sets.batch, sets.batch_labels, ordered, own[0]),
        FixedWindows(sets.memory, sets.memory_labels, ordered, own[1]),
        sets.batch if batch_gradient else None,
    )
    return loss, torch.empty_like(of_ordered).index_copy_(0, order, of_ordered), of_batch


class _TritonStream(Stream):
    """Takes a whole set of keys at a time; keys in host memory go window by window as in any stream."""

    def _add_negatives(self, windows: Windows) -> None:
        if not self._can_take(windows):
            super()._add_negatives(windows)
            return
        peaks, totals, pulls = self._launch(_negatives, windows, ())
        peak = torch.maximum(self.peak, peaks.amax(dim=0))
        shrink, shrinks = (self.peak - peak).exp(), (peaks - peak).exp()
        self.peak = peak
        self.total = self.total * shrink + (totals * shrinks).sum(dim=0)
        self.pull = self.pull * shrink[:, None] + (pulls * shrinks[:, :, None]).sum(dim=0)

    def _add_positives(self, windows: Windows) -> None:
        if not self._can_take(windows):
            super()._add_positives(windows)
            return
        losses, sigmas, pushes = self._launch(_positives, windows, (self.negatives,))
        self.losses += losses.sum(dim=0)
        self.sigmas += sigmas.sum(dim=0)
        self.push += pushes.sum(dim=0)

    def _can_take(self, windows: Windows) -> bool:
        if not isinstance(windows, FixedWindows) or windows.keys.device != self.anchors.device:
            return False
        return windows.keys.shape[0] > 0  # for none, no kernel need be compiled

    def _launch(self, kernel: Any, windows: Windows, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Run a kernel over shares of the keys; each share's figures are [shares n], [shares n] and [shares n d]."""
        assert isinstance(windows, FixedWindows)
        (n, dim), m = self.anchors.shape, windows.keys.shape[0]
        blocks = triton.cdiv(n, _BLOCK_ANCHORS)
        shares = max(1, min(_PROGRAMS // max(blocks, 1), triton.cdiv(m, _BLOCK_KEYS)))
        per_share = triton.cdiv(triton.cdiv(m, shares), _BLOCK_KEYS) * _BLOCK_KEYS
        own = windows.own_key if windows.own_key is not None else torch.full_like(self.anchor_labels, -1)
        first, second = self.anchors.new_empty(2, shares, n).unbind()
        rows = self.anchors.new_zeros(shares, n, dim)
        if n:
            with torch.cuda.device_of(self.anchors):  # Triton launches on the current device
                kernel[(blocks, shares)](
                    self.anchors.contiguous(), self.anchor_labels, own, *inputs,
                    windows.keys.contiguous(), windows.labels, first, second, rows, n, m, dim, per_share,
                    WIDTH=triton.next_power_of_2(max(dim, 16)), ANCHORS=_BLOCK_ANCHORS, KEYS=_BLOCK_KEYS,
                    GRADIENT=self.gradient, num_warps=8,
                )  # fmt: skip
        return first, second, rows


@triton.jit
def _load_anchors(anchors, anchor_labels, own, keys, n, dim, WIDTH: tl.constexpr, ANCHORS: tl.constexpr):  # noqa: N803
    rows = tl.program_id(0) * ANCHORS + tl.arange(0, ANCHORS)
    columns = tl.arange(0, WIDTH)
    inside = rows < n
    values = tl.load(
        anchors + rows[:, None] * dim + columns, mask=inside[:, None] & (columns < dim)[None, :], other=0.0
    )
    labels = tl.load(anchor_labels + rows, mask=inside, other=-1)
    own_rows = tl.load(own + rows, mask=inside, other=-1)
    return rows, columns, values.to(keys.dtype.element_ty), labels, own_rows


@triton.jit
def _load_keys(keys, here, labels, columns, dim):
    # rows that are not there may hold anything, even NaN
    mask = (labels >= 0)[:, None] & (columns < dim)[None, :]
    return tl.load(keys + here.to(tl.int64)[:, None] * dim + columns, mask=mask, other=0.0)


@triton.jit
def _store(first, second, matrix, values, others, rows, columns, share, n, dim, result):
    tl.store(first + share * n + rows, values, mask=rows < n)
    tl.store(second + share * n + rows, others, mask=rows < n)
    at = (share * n + rows).to(tl.int64)[:, None] * dim + columns
    tl.store(matrix + at, result, mask=(rows < n)[:, None] & (columns < dim)[None, :])


@triton.jit
def _negatives(
    anchors, anchor_labels, own, keys, key_labels, peaks, totals, pulls, n, m, dim, per_share,
    WIDTH: tl.constexpr, ANCHORS: tl.constexpr, KEYS: tl.constexpr, GRADIENT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Log-sum-exp over the negatives in one share of the keys, and their softmax-weighted sum."""
    rows, columns, query, labels, own_rows = _load_anchors(
        anchors, anchor_labels, own, keys, n, dim, WIDTH, ANCHORS
    )  # fmt: skip
    share = tl.program_id(1)
    # the lowest number and not -inf: a difference of two infinities is NaN
    peak = tl.full((ANCHORS,), -3.4028234663852886e38, tl.float32)
    total = tl.zeros((ANCHORS,), tl.float32)
    pull = tl.zeros((ANCHORS, WIDTH), tl.float32)
    for start in range(share * per_share, min((share + 1) * per_share, m), KEYS):
        here = start + tl.arange(0, KEYS)
        key_label = tl.load(key_labels + here, mask=here < m, other=-1)
        key = _load_keys(keys, here, key_label, columns, dim)
        negative = (key_label >= 0)[None, :] & (labels[:, None] != key_label[None, :])
        negative = negative & (own_rows[:, None] != here[None, :])
        similarity = tl.dot(query, tl.trans(key), input_precision="ieee")
        similarity = tl.where(negative, similarity, float("-inf"))
        higher = tl.maximum(peak, tl.max(similarity, axis=1))
        weights = tl.exp(similarity - higher[:, None])
        shrink = tl.exp(peak - higher)
        total = total * shrink + tl.sum(weights, axis=1)
        if GRADIENT:
            pull = pull * shrink[:, None] + tl.dot(weights.to(key.dtype), key, input_precision="ieee")
        peak = higher
    _store(peaks, totals, pulls, peak, total, rows, columns, share, n, dim, pull)


@triton.jit
def _positives(
    anchors, anchor_labels, own, negatives, keys, key_labels, losses, sigmas, pushes, n, m, dim, per_share,
    WIDTH: tl.constexpr, ANCHORS: tl.constexpr, KEYS: tl.constexpr, GRADIENT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Terms of Eq. 3 of the positives in one share of the keys, their sigmoids, and the sigmoid-weighted sum."""
    rows, columns, query, labels, own_rows = _load_anchors(
        anchors, anchor_labels, own, keys, n, dim, WIDTH, ANCHORS
    )  # fmt: skip
    share = tl.program_id(1)
    level = tl.load(negatives + rows, mask=rows < n, other=float("-inf"))
    loss = tl.zeros((ANCHORS,), tl.float32)
    sigma_sum = tl.zeros((ANCHORS,), tl.float32)
    push = tl.zeros((ANCHORS, WIDTH), tl.float32)
    for start in range(share * per_share, min((share + 1) * per_share, m), KEYS):
        here = start + tl.arange(0, KEYS)
        key_label = tl.load(key_labels + here, mask=here < m, other=-1)
        positive = (key_label >= 0)[None, :] & (labels[:, None] == key_label[None, :])
        positive = positive & (own_rows[:, None] != here[None, :])
        if tl.max(tl.max(positive.to(tl.int32), axis=1), axis=0) > 0:
            key = _load_keys(keys, here, key_label, columns, dim)
            margin = level[:, None] - tl.dot(query, tl.trans(key), input_precision="ieee")
            # softplus and sigmoid of -inf are 0
            margin = tl.where(positive, margin, float("-inf"))
            small = tl.exp(-tl.abs(margin))
            log1p = tl.where(small < 1e-4, small - small * small / 2, tl.log(1 + small))
            loss += tl.sum(tl.maximum(margin, 0) + log1p, axis=1)
            if GRADIENT:
                sigma = 1 / (1 + tl.exp(-margin))
                sigma_sum += tl.sum(sigma, axis=1)
                push += tl.dot(sigma.to(key.dtype), key, input_precision="ieee")
    _store(losses, sigmas, pushes, loss, sigma_sum, rows, columns, share, n, dim, push)
