"""Supervised pixel contrast for semantic segmentation (Wang et al., ICCV 2021, arXiv:2101.11939).

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelcontrast.contrast import (
        AttachedContrast,
        ContrastOptions,
        MemoryBank,
        MemoryOptions,
        PixelContrast,
        Tap,
        attach,
    )
    from pixelcontrast.nn.segmentor import Segmentor
    from pixelcontrast.ops import pixel_contrast_loss
    from pixelcontrast.types import PixelSet, SegmentationOutput

__version__ = "0.1.0"

_HOMES = {
    "AttachedContrast": "pixelcontrast.contrast",
    "ContrastOptions": "pixelcontrast.contrast",
    "MemoryBank": "pixelcontrast.contrast",
    "MemoryOptions": "pixelcontrast.contrast",
    "PixelContrast": "pixelcontrast.contrast",
    "PixelSet": "pixelcontrast.types",
    "SegmentationOutput": "pixelcontrast.types",
    "Segmentor": "pixelcontrast.nn.segmentor",
    "Tap": "pixelcontrast.contrast",
    "attach": "pixelcontrast.contrast",
    "pixel_contrast_loss": "pixelcontrast.ops",
}

__all__ = [
    "AttachedContrast",
    "ContrastOptions",
    "MemoryBank",
    "MemoryOptions",
    "PixelContrast",
    "PixelSet",
    "SegmentationOutput",
    "Segmentor",
    "Tap",
    "__version__",
    "attach",
    "pixel_contrast_loss",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pixelcontrast' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
