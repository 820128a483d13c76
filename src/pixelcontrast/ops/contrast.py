"""Eq. 3 of pixel contrast (Wang et al., ICCV 2021, arXiv:2101.11939): the loss, in the form that reads like the formula."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pixelcontrast.ops.mining import Mining, mine_keys
from pixelcontrast.types import PixelSet

Implementation = Literal["auto", "dense", "streaming", "triton"]


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
    r"""Supervised InfoNCE between sampled pixels and labelled keys (Eq. 3).

    .. math:: L_i = \frac{1}{|P_i|} \sum_{p \in P_i}
        -\log \frac{\exp(i \cdot p / t)}{\exp(i \cdot p / t) + \sum_{n \in N_i} \exp(i \cdot n / t)}

    A positive competes with the negatives only, never with the other positives; SupCon (arXiv:2004.11362, Eq. 2)
    puts them all below the line, so do not swap in its formula.
    """
    _check(temperature, anchors, keys, exclude, own_key)
    masks = _pair_masks(anchor_labels, key_labels, exclude, own_key)
    return _dense(anchors, anchor_labels, keys, key_labels, temperature, *masks)


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
    implementation: Implementation = "auto",
) -> Float[Tensor, ""]:
    """Eq. 3 against in-batch keys and memory at once, with or without mining."""
    sets = [s for s in (batch, memory) if s is not None]
    keys = torch.cat([s.embeddings.to(anchors) for s in sets]) if sets else anchors[:0]
    labels = torch.cat([s.labels for s in sets]) if sets else anchor_labels[:0]
    if mining == "all":
        return pixel_contrast_loss(anchors, anchor_labels, keys, labels, temperature=temperature, own_key=own_key)
    mined = mine_keys(
        anchors, anchor_labels, keys, labels, mining=mining, positives_per_anchor=positives_per_anchor,
        negatives_per_anchor=negatives_per_anchor, pool_share=pool_share, own_key=own_key, seed=seed,
    )  # fmt: skip
    positive, negative = (
        torch.zeros(anchors.shape[0], keys.shape[0] + 1, dtype=torch.bool, device=keys.device).scatter(
            1, index.where(index >= 0, keys.shape[0]), True
        )[:, :-1]
        for index in mined
    )
    return _dense(anchors, anchor_labels, keys, labels, temperature, positive, negative)


def _check(
    temperature: float | Tensor, anchors: Tensor, keys: Tensor, exclude: Tensor | None, own_key: Tensor | None
) -> None:
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    n, m = anchors.shape[0], keys.shape[0]
    if exclude is not None and exclude.shape != (n, m):
        raise ValueError(f"exclude must be [anchors, keys] = [{n}, {m}], got {list(exclude.shape)}")
    if own_key is not None and own_key.shape != (n,):
        raise ValueError(f"own_key must have one row index per anchor, [{n}], got {list(own_key.shape)}")


def _pair_masks(
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
    dtype = torch.promote_types(torch.promote_types(anchors.dtype, keys.dtype), torch.float32)
    with torch.autocast(anchors.device.type, enabled=False):
        # rows that are not there may hold anything, even NaN, which no later mask could undo
        anchors = anchors.to(dtype).where((anchor_labels >= 0)[:, None], 0)
        keys = keys.to(dtype).where((key_labels >= 0)[:, None], 0)
        similarity = anchors @ keys.T / temperature
        # logsumexp of an empty set is -inf, so softplus gives 0
        negatives = similarity.masked_fill(~negative, -torch.inf).logsumexp(dim=1, keepdim=True)
        terms = F.softplus(negatives - similarity, threshold=40).where(positive, 0)
        num_positives = positive.sum(dim=1)
        losses = terms.sum(dim=1) / num_positives.clamp(min=1)
        return losses.sum() / (num_positives > 0).sum().clamp(min=1)
