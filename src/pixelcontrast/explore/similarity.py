"""How alike embeddings are: a pixel to a map, a pixel to rows, a map to rows. All vectors have unit length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pixelcontrast.ops.resize import nearest_exact

_CHUNK = 1 << 22  # similarities that are held at once: 16 MB


@dataclass(frozen=True)
class Neighbours:
    """Rows that are most like a vector, the most similar first.

    Attributes:
        index: Of the rows.
        similarity: Cosine, -1 to 1.
    """

    index: Int[Tensor, " k"]
    similarity: Float[Tensor, " k"]


def cell_of(row: int, column: int, *, size: Sequence[int], grid: Sequence[int]) -> tuple[int, int]:
    """The cell of a grid that the centre of a pixel of an image of `size` lies in."""
    row, column = int(nearest_exact(grid[0], size[0])[row]), int(nearest_exact(grid[1], size[1])[column])
    return row, column


def similarity_map(features: Float[Tensor, "c h w"], vector: Float[Tensor, " c"]) -> Float[Tensor, "h w"]:
    """Cosine of a vector with every cell of a map: one product of a vector and a matrix."""
    return (vector @ features.flatten(1)).view(features.shape[1:])


def nearest_rows(
    rows: Float[Tensor, "n c"], vector: Float[Tensor, " c"], *, count: int, allowed: Bool[Tensor, " n"]
) -> Neighbours:
    """The rows most like a vector, of equals the first.

    Args:
        rows: Where to look.
        vector: What for.
        count: How many; fewer if fewer are allowed.
        allowed: Which rows count.
    """
    similarity = (rows @ vector).where(allowed, -torch.inf)
    found, index = similarity.sort(descending=True, stable=True)
    count = min(count, int(allowed.sum()))
    return Neighbours(index[:count], found[:count])


def distance_map(features: Float[Tensor, "c h w"], rows: Float[Tensor, "m c"]) -> Float[Tensor, "h w"]:
    """One minus the cosine with the most similar row, 0 to 2: large where a map is like nothing among the rows.

    Args:
        features: The map.
        rows: At least one.

    Cost: a product of [cells x c] and [c x m], in chunks that hold 16 MB.
    """
    cells = features.flatten(1).T.contiguous()
    step = max(1, _CHUNK // rows.shape[0])
    nearest = [(part @ rows.T).amax(dim=1) for part in torch.split(cells, step)]
    return (1 - torch.cat(nearest)).view(features.shape[1:])


def thin_map(features: Float[Tensor, "c h w"], *, most: int) -> Float[Tensor, "c h2 w2"]:
    """A map of at most `most` cells: every n-th of every n-th row, as they are."""
    step = 1
    while -(-features.shape[1] // step) * -(-features.shape[2] // step) > most:
        step += 1
    return features[:, step // 2 :: step, step // 2 :: step].contiguous()
