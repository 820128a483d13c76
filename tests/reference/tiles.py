"""Loop twin of ops/tiles.py: every pixel asks every window whether it lies inside."""

from __future__ import annotations

import torch
from torch import Tensor


def starts(length: int, size: int, step: int) -> list[int]:
    """Sliding windows of one side: from 0 in steps, until a window reaches the end; that one is moved back."""
    found = [0]
    while found[-1] + size < length:
        found.append(min(found[-1] + step, length - size))
    return found


def sliding_mean(image: Tensor, size: tuple[int, int], step: tuple[int, int], function: object) -> Tensor:
    """Mean over the windows that hold a pixel of what `function` makes of the window; image [c H W] -> [k H W]."""
    height, width = image.shape[-2:]
    size = (min(size[0], height), min(size[1], width))
    sums: Tensor | None = None
    counts = torch.zeros(height, width)
    for top in starts(height, size[0], step[0]):
        for left in starts(width, size[1], step[1]):
            values = function(image[:, top : top + size[0], left : left + size[1]])  # type: ignore[operator]
            sums = torch.zeros(values.shape[0], height, width) if sums is None else sums
            for y in range(size[0]):
                for x in range(size[1]):
                    sums[:, top + y, left + x] += values[:, y, x]
                    counts[top + y, left + x] += 1
    assert sums is not None
    return sums / counts
