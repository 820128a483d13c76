"""The rule of key mining, and its selection in shapes that depend on no value.

Hard positives are those least similar to the anchor, hard negatives those most similar (Wang et al., ICCV 2021, section
3.3). Where the paper says "top 10 %" and "random", our rule is: the pool is the hardest ceil(share n) of the n valid
keys of a kind, the lower row first among equals; a pool that holds no more than K is taken whole; else K are drawn from
it without replacement, as a pure function of seed, anchor and key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelcontrast.ops.hashing import hash_rows
from pixelcontrast.ops.windows import KeySets

Count = TypeVar("Count", int, Tensor)

ODD = 0x1E3779B97F4A7C15
_LEAST = -(1 << 63)
CHUNK_BYTES = 64 << 20  # what belongs to the anchors mined at a time


@dataclass(frozen=True)
class Rule:
    """What to choose, checked.

    Attributes:
        mining: "semi_hard", "hardest" or "random".
        positives: At most so many for an anchor.
        negatives: Likewise.
        pool_share: See `mine_keys`.
    """

    mining: str
    positives: int
    negatives: int
    pool_share: float

    def arguments(self) -> dict[str, str | int | float]:
        """What an operator takes by keyword; `asdict` copies deeply, which torch.compile of torch 2.11 cannot trace."""
        return {
            "mining": self.mining,
            "positives": self.positives,
            "negatives": self.negatives,
            "pool_share": self.pool_share,
        }

    def __post_init__(self) -> None:
        if self.mining not in {"semi_hard", "hardest", "random"}:
            raise ValueError(f'mining must be "semi_hard", "hardest" or "random", got "{self.mining}"')
        if self.positives < 1 or self.negatives < 0:
            raise ValueError(
                "an anchor needs at least 1 positive and 0 negatives, "
                f"got positives_per_anchor={self.positives}, negatives_per_anchor={self.negatives}"
            )
        if not 0 < self.pool_share <= 1:
            raise ValueError(f"pool_share must be above 0 and at most 1, got {self.pool_share}")

    def pool(self, valid: Count) -> Count:
        """Size of the pool among so many `valid` keys."""
        if self.mining != "semi_hard":
            return valid
        share = self.share()
        return -(-valid * share.numerator // share.denominator)

    def share(self) -> Fraction:
        """`pool_share`: 0.1 as a float times 30 is above 3; as a fraction it is 3."""
        return max(Fraction(self.pool_share).limit_denominator(1_000_000), Fraction(1, 1_000_000))

    def anchors_at_once(self, num_keys: int, item_size: int) -> int:
        """How many anchors to mine at a time: their similarities, and some ten numbers for each chosen key."""
        chosen = min(self.positives, num_keys) + min(self.negatives, num_keys)
        return max(16, CHUNK_BYTES // max(1, num_keys * item_size + 96 * chosen))

    def nothing(self, anchor_labels: Tensor, key_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of positives and negatives, none chosen."""
        n, m = anchor_labels.shape[0], key_labels.shape[0]
        shapes = ((n, min(limit, m)) for limit in (self.positives, self.negatives))
        positives, negatives = (anchor_labels.new_full(shape, -1) for shape in shapes)
        return positives, negatives


@dataclass(frozen=True)
class Mined:
    """Keys of a few anchors, [a p] positives and [a q] negatives.

    Attributes:
        anchors: Which anchors; [a] rows or a slice.
        positives: Rows of keys, counted through all sets, ascending; then -1.
        negatives: Likewise.
        positive_similarity: With `positives`; undefined where those are -1.
        negative_similarity: With `negatives`.
    """

    anchors: Tensor | slice
    positives: Tensor
    negatives: Tensor
    positive_similarity: Tensor
    negative_similarity: Tensor


@dataclass(frozen=True)
class Scores:
    """Pseudo-random ranks of pairs: the draw for an anchor is the keys of highest score.

    Each key's 62 bits end in its row, so that no two scores of an anchor are equal.

    Attributes:
        of_keys: [m].
        of_anchors: [n].
    """

    of_keys: Tensor
    of_anchors: Tensor

    @classmethod
    def make(cls, seed: Tensor, num_anchors: int, num_keys: int) -> Scores:
        """Of a seed as `hashing.hash_rows` wants it."""
        rows = torch.arange(max(num_anchors, num_keys), device=seed.device)
        hashed = hash_rows(seed, rows)
        other = hash_rows(seed ^ 1, rows[:num_anchors])
        return cls((hashed[:num_keys] << 31) | rows[:num_keys], (other << 31) | hashed[:num_anchors])


def score(of_keys: Tensor, of_anchors: Tensor | int) -> Tensor:
    """Of pairs, from the entries of `Scores`: int64 with wrap-around, different for different keys."""
    return (of_keys ^ of_anchors) * ODD


def mine_anywhere(
    anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, seed: Tensor, rule: Rule
) -> Iterator[Mined]:
    """Mine a few anchors at a time. See `mining.mine_keys`; the key sets may lie on other devices."""
    labels, own_key = sets.labels, sets.own_key
    n, m = anchors.shape[0], labels.shape[0]
    scores = Scores.make(seed, n, m)
    columns = torch.arange(m, device=labels.device)
    # selecting takes several times the memory of what it selects from
    step = max(1, rule.anchors_at_once(m, anchors.element_size()) // 4)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        present = (anchor_labels[rows] >= 0)[:, None] & (labels >= 0)
        if own_key is not None:
            present = present & (own_key[rows, None] != columns)
        same = anchor_labels[rows, None] == labels
        similarity = products(anchors[rows], sets).where(present, 0)
        of_anchors = scores.of_anchors[rows, None]
        positives = _pick(-similarity, present & same, scores.of_keys, of_anchors, rule, rule.positives)
        negatives = _pick(similarity, present & ~same, scores.of_keys, of_anchors, rule, rule.negatives)
        yield Mined(
            rows, positives, negatives,
            similarity.gather(1, positives.clamp(min=0)), similarity.gather(1, negatives.clamp(min=0)),
        )  # fmt: skip


def products(anchors: Tensor, sets: KeySets) -> Tensor:
    """Similarities to all keys, [a m], in the anchors' dtype; of rows that are not there, anything."""
    similarity = anchors.new_empty(anchors.shape[0], sets.batch.shape[0] + sets.memory.shape[0])
    done = 0
    for keys in (sets.batch, sets.memory):
        for start in range(0, keys.shape[0], 16384):
            window = keys[start : start + 16384].to(anchors, non_blocking=True)
            similarity[:, done : done + window.shape[0]] = anchors @ window.T
            done += window.shape[0]
    return similarity


def _pick(hardness: Tensor, valid: Tensor, of_keys: Tensor, of_anchors: Tensor, rule: Rule, limit: int) -> Tensor:
    """Rows of the keys that the rule chooses for each anchor, ascending, then -1; [a min(limit, m)]."""
    m = valid.shape[1]
    width = min(limit, m)
    count = valid.sum(dim=1, keepdim=True)
    if rule.mining == "random":
        rows = torch.arange(m, device=valid.device).expand(valid.shape)
        candidate = valid
    else:
        most = width if rule.mining == "hardest" else rule.pool(m)
        rows = _hardest(hardness.masked_fill(~valid, -torch.inf), most)
        candidate = torch.arange(most, device=valid.device) < rule.pool(count)
    if rule.mining == "hardest":
        chosen, found = rows, candidate
    else:
        scores = score(of_keys[rows], of_anchors).where(candidate, _LEAST)
        best = scores.topk(min(width, rows.shape[1]), dim=1).indices
        chosen, found = rows.gather(1, best), candidate.gather(1, best)
    ascending = chosen.where(found, m).sort(dim=1).values
    return F.pad(ascending.where(ascending < m, -1), (0, width - ascending.shape[1]), value=-1)


def _hardest(hardness: Tensor, most: int) -> Tensor:
    """Columns of the `most` greatest of each row, [a most], as a stable sort orders them: NaN first, then the greatest.

    A float32 and its column are one int64, so that no two are equal and what is not among the greatest is not sorted.
    """
    if hardness.dtype != torch.float32:
        return hardness.sort(dim=1, descending=True, stable=True).indices[:, :most]
    # of zeros and of NaN there are several, which a sort takes for equal
    bits = (hardness + 0.0).masked_fill_(hardness.isnan(), torch.nan).view(torch.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF  # as whole numbers, negative floats ascend the wrong way
    order = bits.long()
    order <<= 32
    order -= torch.arange(hardness.shape[1], device=hardness.device)
    return order.topk(most, dim=1).indices
