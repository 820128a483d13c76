"""Key mining as a function of its own: which keys an anchor is compared with (Wang et al., ICCV 2021, section 3.3)."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.ops.cpu_selection import mine_on_cpu
from pixelcontrast.ops.hashing import mix
from pixelcontrast.ops.selection import Rule, mine_anywhere
from pixelcontrast.ops.windows import KeySets, computing_dtype

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
    """Choose each anchor's positives and negatives.

    `semi_hard` draws from the hardest keys, `hardest` takes them, `random` draws from all valid keys; `selection` has
    the precise rule. Equally similar keys are ranked by row.

    Args:
        anchors: Embeddings; no gradient flows through the choice.
        anchor_labels: Class ids; negative for an anchor that is not there, which gets no keys.
        keys: Embeddings to choose from.
        key_labels: Class ids; negative for a row that is not there, which is never chosen.
        mining: The rule.
        positives_per_anchor: K+, at least 1.
        negatives_per_anchor: K-, at least 0.
        pool_share: Share of the valid keys that `semi_hard` draws from, in (0, 1].
        own_key: The key row that is the anchor itself, which it never gets; negative for none.
        seed: Any integer; as a tensor where a compiled graph must not be bound to its value (see `hashing.step_key`).

    Returns:
        Rows of positives, p = min(K+, m), and of negatives, q = min(K-, m): ascending, then -1 where there are no more.

    Raises:
        ValueError: If a number is outside its range, or `own_key` has another shape.

    Memory: some 90 MiB at 190,000 keys, for the similarities are computed a few anchors at a time.
    """
    rule = Rule(mining, positives_per_anchor, negatives_per_anchor, pool_share)
    if own_key is not None and own_key.shape != anchor_labels.shape:
        raise ValueError(f"own_key must have one row an anchor, {list(anchor_labels.shape)}, got {list(own_key.shape)}")
    dtype = computing_dtype(anchors, keys)
    own_key = None if own_key is None else own_key.long()
    chosen: tuple[Tensor, Tensor] = _mine(
        anchors.detach().to(dtype), anchor_labels.long(), keys.detach(), key_labels.long(), own_key,
        seed_tensor(seed, anchors.device), **rule.arguments(),
    )  # fmt: skip
    return chosen


def seed_tensor(seed: int | Tensor, device: torch.device) -> Tensor:
    """A key for `hashing.hash_rows`."""
    if isinstance(seed, Tensor):
        return seed.to(device, torch.int64) & ((1 << 63) - 1)
    return torch.full((), mix(seed), dtype=torch.int64, device=device)


@torch.library.custom_op("pixelcontrast::mine", mutates_args=())
def _mine(
    anchors: Tensor,
    anchor_labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    own_key: Tensor | None,
    seed: Tensor,
    *,
    mining: str,
    positives: int,
    negatives: int,
    pool_share: float,
) -> tuple[Tensor, Tensor]:
    run = mine_on_cpu if anchors.device.type == "cpu" else mine_anywhere
    sets = KeySets(anchors[:0], key_labels[:0], keys, key_labels, own_key)
    rule = Rule(mining, positives, negatives, pool_share)
    chosen = rule.nothing(anchor_labels, key_labels)
    with torch.autocast(anchors.device.type, enabled=False):
        for part in run(anchors, anchor_labels, sets, seed=seed, rule=rule):
            chosen[0][part.anchors], chosen[1][part.anchors] = part.positives, part.negatives
    return chosen


@_mine.register_fake
def _(
    anchors: Tensor, anchor_labels: Tensor, keys: Tensor, key_labels: Tensor, *_: Any, **rule: Any
) -> tuple[Tensor, Tensor]:
    return Rule(**rule).nothing(anchor_labels, key_labels)
