"""Orders: which image the k-th sample of a run is, a pure function of (seed, k)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from pixelcontrast.ops.hashing import mix

Order = Callable[[int], int]

BLOCKS_AT_ONCE = 4
_ORDER, _BLOCKS = 0x6F72646572, 0x626C6F636B  # "order", "block"


@functools.lru_cache(maxsize=8)
def permutation(size: int, *, seed: int, epoch: int) -> Int[Tensor, " n"]:
    """Return the order of an epoch's images."""
    # The second constant keeps epochs apart from samples, which are seeded by mix(seed, k).
    return torch.randperm(size, generator=Generator().manual_seed(mix(seed, epoch, _ORDER)))


@functools.lru_cache(maxsize=2)
def permutation_in_blocks(blocks: tuple[int, ...], *, seed: int, epoch: int) -> Int[Tensor, " n"]:
    """An epoch's order that reads few blocks at a time: they are drawn four at once, and their rows shuffled together.

    Args:
        blocks: How many rows lie in each.
        seed: Of the run.
        epoch: Of the order.
    """
    generator = Generator().manual_seed(mix(seed, epoch, _BLOCKS))
    sizes = torch.tensor(blocks)
    first = sizes.cumsum(0) - sizes
    drawn = torch.randperm(len(blocks), generator=generator).tolist()
    order = []
    for start in range(0, len(drawn), BLOCKS_AT_ONCE):
        together = drawn[start : start + BLOCKS_AT_ONCE]
        rows = torch.cat([torch.arange(int(sizes[i])) + first[i] for i in together])
        order.append(rows[torch.randperm(len(rows), generator=generator)])
    return torch.cat(order)


@dataclass(frozen=True)
class EveryImageOnce:
    """Permutations of all images, one an epoch.

    Attributes:
        size: Of the data set.
        seed: Of the run.
        blocks: How many images lie together each time, where reading one of them reads them all; else none.
    """

    size: int
    seed: int
    blocks: tuple[int, ...] = ()

    def __call__(self, k: int) -> int:
        """Image k mod size of permutation k div size."""
        epoch, position = divmod(k, self.size)
        if self.blocks:
            return int(permutation_in_blocks(self.blocks, seed=self.seed, epoch=epoch)[position])
        return int(permutation(self.size, seed=self.seed, epoch=epoch)[position])


@dataclass(frozen=True)
class Interleaved:
    """Several data sets, each in its own order, each with its share of the samples.

    The shares hold over every stretch of samples, to one sample: floor(k share) of the first k are of the first part,
    the others are shared out among the rest in the same way.

    Attributes:
        orders: Of the parts.
        sizes: Of the parts; their images are numbered one part after another.
        shares: Of the samples, positive; only their proportions count.
    """

    orders: tuple[Order, ...]
    sizes: tuple[int, ...]
    shares: tuple[float, ...]

    def __call__(self, k: int) -> int:
        """The image of the part whose turn it is."""
        rest = sum(self.shares)
        first = 0
        for order, size, share in zip(self.orders[:-1], self.sizes[:-1], self.shares[:-1], strict=True):
            done = _part_of(k, share / rest)
            if _part_of(k + 1, share / rest) > done:
                return first + order(done)
            k, rest, first = k - done, rest - share, first + size
        return first + self.orders[-1](k)


def _part_of(count: int, share: float) -> int:
    """How many of the first `count` samples belong to a part; grows by 0 or 1."""
    return int(count * share)
