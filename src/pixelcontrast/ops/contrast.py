"""The loss of pixel contrast, Eq. 3 of Wang et al. (ICCV 2021, arXiv:2101.11939), in the form that reads like it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pixelcontrast.ops.mined import contrast_mined
from pixelcontrast.ops.mining import Mining, seed_tensor
from pixelcontrast.ops.selection import Rule
from pixelcontrast.ops.streaming import stream_contrast
from pixelcontrast.ops.windows import KeySets, computing_dtype
from pixelcontrast.types import PixelSet

Implementation = Literal["auto", "dense", "streaming", "triton"]
Streamed = Literal["auto", "streaming", "triton"]

_SMALL = 1 << 18  # pairs; the dense form holds a few matrices of them


def pixel_contrast_loss(
    anchors: Float[Tensor, "n d"],
    anchor_labels: Int[Tensor, " n"],
    keys: Float[Tensor, "m d"],
    key_labels: Int[Tensor, " m"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    exclude: Bool[Tensor, "n m"] | None = None,
    own_key: Int[Tensor, " n"] | None = None,
    implementation: Implementation = "auto",
) -> Float[Tensor, ""]:
    r"""Supervised InfoNCE between sampled pixels and labelled keys (Wang et al., ICCV 2021, Eq. 3).

    .. math:: L_i = \frac{1}{|P_i|} \sum_{p \in P_i}
        -\log \frac{\exp(i \cdot p / t)}{\exp(i \cdot p / t) + \sum_{n \in N_i} \exp(i \cdot n / t)}

    A positive competes with the negatives only, never with the other positives; SupCon (arXiv:2004.11362, Eq. 2)
    puts them all below the line, so do not swap in its formula.

    Args:
        anchors: Embeddings that receive gradient, unit L2 norm (not checked).
        anchor_labels: Class ids; negative for an anchor that is not there, so that shapes stay static.
        keys: Embeddings to compare with, unit L2 norm; they receive gradient too if they require it.
        key_labels: Class ids; negative for a row that is not there, which has no influence whatever it holds.
        temperature: t, above 0; as a tensor (not checked) where a compiled graph must not be bound to its value.
        exclude: True where a pair counts neither as positive nor as negative; for small problems (dense only).
        own_key: The key row that is the anchor itself, a pair that counts neither way; negative for none.
        implementation: "dense" reads like the formula and can be differentiated twice; "streaming" never holds the
            n x m matrix and computes the gradient in the forward pass; "triton" is streaming by kernels for a GPU, in
            the keys' dtype; "auto" is dense where the problem is small, else streaming, for no benchmark has shown yet
            where the kernels win.

    Returns:
        Mean in nats over the anchors that have a positive; a zero attached to the graph if none has. An anchor with
        positives but no negatives counts with loss 0. Where all similarities are equal (chance) it is log(1 + |N|), and
        more where positives are less similar than negatives; at the regular simplex of C classes, the least that
        equally frequent ones can reach, log(1 + |N| exp(-(1 + 1 / (C - 1)) / t)).

    Raises:
        ValueError: If `temperature`, a number, is not positive, or anything has the wrong shape, or the implementation
            cannot do what is asked: `exclude` is for dense, triton neither for float64 nor without a GPU.

    float16 and bfloat16 are computed in float32, autocast or not. Memory: dense holds several n x m matrices; streaming
    one of 1024 columns. Cost: on a CPU about two products of n x m x d, four if keys receive gradient.
    """
    _check(temperature, anchors, anchor_labels, exclude, own_key, implementation, get_args(Implementation))
    _check_keys(anchors, keys, key_labels, implementation)
    pairs = (anchors.shape[0], keys.shape[0])
    if exclude is not None and (exclude.shape != pairs or exclude.dtype != torch.bool):
        raise ValueError(
            f"exclude must be bool [anchors, keys] = {list(pairs)}, got {list(exclude.shape)} of {exclude.dtype}"
        )
    if implementation == "auto":
        small = anchors.shape[0] * keys.shape[0] <= _SMALL
        implementation = "dense" if small or exclude is not None else "streaming"
    if implementation == "dense":
        kinds = _pairs(anchor_labels, key_labels, exclude, own_key)
        return _dense(anchors, anchor_labels, keys, key_labels, temperature, *kinds)
    keys_set = PixelSet(keys, key_labels)
    batch, memory = (keys_set, None) if keys.requires_grad else (None, keys_set)
    return contrast_key_sets(
        anchors, anchor_labels, batch, memory,
        temperature=temperature, own_key=own_key, mining="all", implementation=implementation,
    )  # fmt: skip


def contrast_key_sets(
    anchors: Float[Tensor, "n d"],
    anchor_labels: Int[Tensor, " n"],
    batch: PixelSet | None,
    memory: PixelSet | None,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    own_key: Int[Tensor, " n"] | None = None,
    mining: Mining = "semi_hard",
    positives_per_anchor: int = 1024,
    negatives_per_anchor: int = 2048,
    pool_share: float = 0.1,
    seed: int | Int[Tensor, ""] = 0,
    implementation: Streamed = "auto",
) -> Float[Tensor, ""]:
    """Eq. 3 against in-batch keys and a memory at once, mined or not: one operator, and no key is copied.

    The gradient is computed in the forward pass, so the memory may be written before backward. It flows into the
    anchors and, where they require it, into the in-batch keys; never into the memory.

    Args:
        anchors: As for `pixel_contrast_loss`.
        anchor_labels: Likewise.
        batch: Keys of this batch; None for none.
        memory: Keys of earlier batches, in any floating dtype, also in pinned memory of the host; its labels are on
            the anchors' device. None for none.
        temperature: As for `pixel_contrast_loss`.
        own_key: Likewise; rows are counted through the batch and then the memory.
        mining: "all" keys, or which of them, see `mine_keys`.
        positives_per_anchor: See `mine_keys`, as for the arguments below.
        negatives_per_anchor: K-.
        pool_share: Of `semi_hard`.
        seed: Of the draw.
        implementation: As for `pixel_contrast_loss`. A mined loss is never dense; by "triton" it is mined by kernels
            too, where the memory is on the device.

    Returns:
        As `pixel_contrast_loss`.

    Raises:
        ValueError: As `pixel_contrast_loss` and `mine_keys`.
    """
    _check(temperature, anchors, anchor_labels, None, own_key, implementation, get_args(Streamed))
    for keys in filter(None, (batch, memory)):
        _check_keys(anchors, keys.embeddings, keys.labels, implementation)
    dtype = computing_dtype(anchors, anchors if batch is None else batch.embeddings)
    if memory is not None and memory.embeddings.dtype == torch.float64:
        dtype = torch.float64
    nothing = PixelSet(anchors.detach()[:0], anchor_labels[:0])
    batch, memory = batch or nothing, memory or nothing
    sets = KeySets(
        batch.embeddings.to(dtype), batch.labels.long(), memory.embeddings, memory.labels.long(),
        None if own_key is None else own_key.long(),
    )  # fmt: skip
    if not isinstance(temperature, Tensor):
        temperature = torch.full((), temperature, dtype=dtype, device=anchors.device)
    temperature = temperature.to(anchors.device, dtype)
    anchors, anchor_labels = anchors.to(dtype), anchor_labels.long()
    triton = implementation == "triton"
    if mining == "all":
        return stream_contrast(anchors, anchor_labels, sets, temperature=temperature, triton=triton)
    rule = Rule(mining, positives_per_anchor, negatives_per_anchor, pool_share)
    seed = seed_tensor(seed, anchors.device)
    return contrast_mined(anchors, anchor_labels, sets, temperature=temperature, seed=seed, rule=rule, triton=triton)


def _check(
    temperature: float | Tensor,
    anchors: Tensor,
    anchor_labels: Tensor,
    exclude: Tensor | None,
    own_key: Tensor | None,
    implementation: str,
    known: Sequence[str],
) -> None:
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if implementation not in known:
        raise ValueError(f'implementation must be one of {", ".join(known)}, got "{implementation}"')
    _check_rows("anchors", anchors)
    n = anchors.shape[0]
    if anchor_labels.shape != (n,):
        raise ValueError(f"anchor_labels must have one entry an anchor, [{n}], got {list(anchor_labels.shape)}")
    if exclude is not None and implementation not in {"auto", "dense"}:
        raise ValueError(f'exclude needs implementation="dense", got "{implementation}"; pass own_key instead')
    if own_key is not None and own_key.shape != (n,):
        raise ValueError(f"own_key must have one row an anchor, [{n}], got {list(own_key.shape)}")


def _check_rows(name: str, rows: Tensor) -> None:
    if rows.ndim != 2:
        raise ValueError(
            f"{name} must be rows [n, d], one a pixel, got {list(rows.shape)}; of a map [b d *grid] take"
            " x.movedim(1, -1).flatten(0, -2), or a sample of them"
        )


def _check_keys(anchors: Tensor, keys: Tensor, labels: Tensor, implementation: str) -> None:
    _check_rows("keys", keys)
    if labels.shape != keys.shape[:1]:
        raise ValueError(f"the labels of keys must have one entry a key, [{keys.shape[0]}], got {list(labels.shape)}")
    if keys.shape[1] != anchors.shape[1]:
        raise ValueError(f"keys must have the length of the anchors, {anchors.shape[1]}, got {keys.shape[1]}")
    if implementation == "triton" and torch.float64 in {anchors.dtype, keys.dtype}:
        raise ValueError('implementation="triton" computes in float32 at most, got float64; pass "streaming" or "auto"')
    if implementation == "triton" and anchors.device.type == "cpu" and "TRITON_INTERPRET" not in os.environ:
        raise ValueError('implementation="triton" needs a GPU, got anchors on the CPU; pass "streaming" or "auto"')


def _pairs(
    anchor_labels: Tensor, key_labels: Tensor, exclude: Tensor | None, own_key: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Which pairs are positive and which negative, [n m] each."""
    counts = (anchor_labels >= 0)[:, None] & (key_labels >= 0)
    if exclude is not None:
        counts = counts & ~exclude
    if own_key is not None:
        counts = counts & (own_key[:, None] != torch.arange(key_labels.shape[0], device=key_labels.device))
    same = anchor_labels[:, None] == key_labels
    return counts & same, counts & ~same


def _dense(
    anchors: Tensor,
    anchor_labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    temperature: float | Tensor,
    positive: Tensor,
    negative: Tensor,
) -> Tensor:
    dtype = computing_dtype(anchors, keys)
    with torch.autocast(anchors.device.type, enabled=False):
        # rows that are not there may hold anything, even NaN, which no later mask could undo
        anchors = anchors.to(dtype).where((anchor_labels >= 0)[:, None], 0)
        keys = keys.to(dtype).where((key_labels >= 0)[:, None], 0)
        similarity = anchors @ keys.T / temperature
        # logsumexp of an empty set is -inf, so softplus gives 0; its own second derivative there would be NaN
        some = negative.any(dim=1, keepdim=True)
        negatives = similarity.masked_fill(some & ~negative, -torch.inf).logsumexp(dim=1, keepdim=True)
        negatives = negatives.where(some, -torch.inf)
        terms = F.softplus(negatives - similarity, threshold=40).where(positive, 0)
        num_positives = positive.sum(dim=1)
        losses = terms.sum(dim=1) / num_positives.clamp(min=1)
        return losses.sum() / (num_positives > 0).sum().clamp(min=1)
