"""A small network to attach contrast to, and batches for it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CLASSES = 4


class Network(nn.Module):
    """Stride 2, 8 channels at `body`, stride 4, 12 channels at `neck`."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda x: x, *, reentrant: bool | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.neck = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.shape = Shape(wrap)
        self.head = nn.Conv2d(12, CLASSES, 1)
        self.reentrant = reentrant

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = self.neck(x) if self.reentrant is None else checkpoint(self.neck, x, use_reentrant=self.reentrant)
        self.shape(x)
        logits: Tensor = self.head(x)
        return logits


class Shape(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(x)


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (2, 16, 24), generator=generator)
    return torch.randn(2, 3, 16, 24, generator=generator), labels
