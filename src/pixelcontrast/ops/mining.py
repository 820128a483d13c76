"""Key mining: which keys an anchor is compared with (Wang et al., ICCV 2021, section 3.3)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Mining = Literal["semi_hard", "hardest", "random", "all"]


def mine_keys(
    anchors: Float[Tensor, "n d"],
    anchor_labels: Int[Tensor, " n"],
    keys: Float[Tensor, "m d"],
    key_labels: Int[Tensor, " m"],
    *,
    mining: Literal["semi_hard", "hardest", "random"] = "semi_hard",
    positives_per_anchor: int = 1024,
    negatives_per_anchor: int = 2048,
    pool_share: float = 0.1,
    own_key: Int[Tensor, " n"] | None = None,
    seed: int | Int[Tensor, ""] = 0,
) -> tuple[Int[Tensor, "n p"], Int[Tensor, "n q"]]:
    """Row indices of each anchor's positives and negatives; -1 = none."""
    n, m = anchors.shape[0], keys.shape[0]
    counts = (anchor_labels >= 0)[:, None] & (key_labels >= 0)
    if own_key is not None:
        counts = counts & (own_key[:, None] != torch.arange(m, device=keys.device))
    same = anchor_labels[:, None] == key_labels
    similarity = anchors.detach() @ keys.detach().to(anchors).T
    score = (torch.arange(n, device=keys.device)[:, None] * 7919 + torch.arange(m, device=keys.device)) * 2654435761
    score = ((score + seed) * 40503) % 1000003

    def pick(member: Tensor, hardness: Tensor, limit: int) -> Tensor:
        order = hardness.masked_fill(~member, -torch.inf).sort(dim=1, descending=True, stable=True).indices
        rank = order.argsort(dim=1)
        num = member.sum(dim=1, keepdim=True)
        if mining == "semi_hard":
            member = member & (rank < (num * pool_share).ceil())
        wish = (score if mining != "hardest" else -rank).masked_fill(~member, -(2**40))
        best = wish.topk(min(limit, m), dim=1)
        return best.indices.where(best.values > -(2**40), -1)

    assert not math.isnan(pool_share)
    return pick(counts & same, -similarity, positives_per_anchor), pick(counts & ~same, similarity, negatives_per_anchor)
