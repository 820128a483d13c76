"""Loop twins of ops/sampling.py: the rules of anchor sampling, pixel by pixel, for given random numbers."""

from __future__ import annotations

from collections.abc import Sequence


def group_quotas(counts: Sequence[int], most: int, room: int, lots: Sequence[int]) -> list[int]:
    present = [g for g, count in enumerate(counts) if count]
    chosen = sorted(present, key=lambda g: (lots[g], g))[:room]
    share = min(most, max(1, room // max(len(present), 1)))
    return [share if g in chosen else 0 for g in range(len(counts))]


def sample_anchors(
    groups: Sequence[int | None],
    hard: Sequence[bool],
    *,
    num_groups: int,
    most: int,
    hard_share: float,
    room: int,
    hard_random: Sequence[int],
    fill_random: Sequence[int],
    lots: Sequence[int],
) -> list[tuple[int, int]]:
    """(position, group) of every anchor; `groups` holds None where a pixel has no class."""
    members = [[i for i, own in enumerate(groups) if own == g] for g in range(num_groups)]
    quotas = group_quotas([len(m) for m in members], most, room, lots)
    anchors = []
    for g, (member, quota) in enumerate(zip(members, quotas, strict=True)):
        wrong = sorted((i for i in member if hard[i]), key=lambda i: (hard_random[i], i))
        first = wrong[: round(hard_share * quota)]
        rest = sorted((i for i in member if i not in first), key=lambda i: (fill_random[i], i))
        first.sort(key=lambda i: (fill_random[i], i))
        anchors += [(i, g) for i in (first + rest)[:quota]]
    return anchors


def sample_regions(
    groups: Sequence[int | None], *, num_groups: int, quotas: Sequence[int], random: Sequence[int]
) -> list[tuple[int, int, int]]:
    """(position, group, rank within it) of every pixel drawn."""
    drawn = []
    for g, quota in zip(range(num_groups), quotas, strict=True):
        member = sorted((i for i, own in enumerate(groups) if own == g), key=lambda i: (random[i], i))
        drawn += [(i, g, rank) for rank, i in enumerate(member[:quota])]
    return drawn
