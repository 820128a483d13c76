"""Key mining anchor by anchor, by sorting."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Pools:
    """What one anchor may get: `pool` rows, of which exactly `count` are to be taken."""

    pool: list[int]
    count: int


def pools_by_loops(
    similarity: Sequence[Sequence[float]],
    anchor_labels: Sequence[int],
    key_labels: Sequence[int],
    mining: str,
    limits: tuple[int, int],
    own_key: Sequence[int] | None = None,
) -> list[tuple[Pools, Pools]]:
    """Positives and negatives of each anchor; the pool is the hardest tenth for "semi_hard"."""
    result = []
    for i, label in enumerate(anchor_labels):
        valid = [j for j, key in enumerate(key_labels) if key >= 0 and not (own_key is not None and own_key[i] == j)]
        positives = [j for j in valid if label >= 0 and key_labels[j] == label]
        negatives = [j for j in valid if label >= 0 and key_labels[j] != label]
        positives.sort(key=lambda j: (similarity[i][j], j))
        negatives.sort(key=lambda j: (-similarity[i][j], j))
        result.append((_pool(positives, mining, limits[0]), _pool(negatives, mining, limits[1])))
    return result


def _pool(hardest_first: list[int], mining: str, limit: int) -> Pools:
    if mining == "hardest":
        pool = hardest_first[:limit]
    elif mining == "semi_hard":
        pool = hardest_first[: (len(hardest_first) + 9) // 10]
    else:
        pool = hardest_first
    return Pools(pool, min(limit, len(pool)))
