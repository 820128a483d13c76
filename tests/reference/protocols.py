"""Loop twin of engine/predictor.py: every look by itself, every pixel by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reference.tiles import sliding_mean

Network = Callable[[Tensor], Tensor]  # a normalised image [1 3 h w] to logits [1 k h' w']


def softmax_of(network: Network, image: Tensor, *, scale: float, mirrored: bool) -> Tensor:
    """One look at an image [3 H W]: probabilities [k H W], each pixel's computed alone."""
    height, width = image.shape[-2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    looked_at = F.interpolate(image[None], size=size, mode="bilinear", antialias=True) if scale != 1 else image[None]
    looked_at = torch.flip(looked_at, [3]) if mirrored else looked_at
    logits = network(looked_at)
    logits = torch.flip(logits, [3]) if mirrored else logits
    logits = F.interpolate(logits, size=(height, width), mode="bilinear")[0].double()
    result = torch.zeros_like(logits)
    for y in range(height):
        for x in range(width):
            powers = [math.exp(value - max(logits[:, y, x].tolist())) for value in logits[:, y, x].tolist()]
            result[:, y, x] = torch.tensor([power / sum(powers) for power in powers])
    return result


def probabilities_of(
    network: Network,
    image: Tensor,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: tuple[int, int] | None = None,
    step: tuple[int, int] = (1, 1),
) -> Tensor:
    """Mean over all looks at each window of an image [3 H W], or at the whole of it: [k H W]."""

    def looked(part: Tensor) -> Tensor:
        looks = [
            softmax_of(network, part, scale=scale, mirrored=mirrored)
            for scale in scales
            for mirrored in ([False, True] if flip else [False])
        ]
        total = torch.zeros_like(looks[0])
        for look in looks:
            total = total + look
        return total / len(looks)

    return looked(image) if window is None else sliding_mean(image, window, step, looked)
