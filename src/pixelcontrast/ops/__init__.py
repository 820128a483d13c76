"""Tensors in, tensors out: torch only, no state, no files, no device decisions, no global randomness.

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelcontrast.ops.contrast import contrast_key_sets, pixel_contrast_loss
    from pixelcontrast.ops.mining import mine_keys
    from pixelcontrast.ops.regions import region_means
    from pixelcontrast.ops.sampling import sample_anchors

_HOMES = {
    "contrast_key_sets": "pixelcontrast.ops.contrast",
    "mine_keys": "pixelcontrast.ops.mining",
    "pixel_contrast_loss": "pixelcontrast.ops.contrast",
    "region_means": "pixelcontrast.ops.regions",
    "sample_anchors": "pixelcontrast.ops.sampling",
}

__all__ = ["contrast_key_sets", "mine_keys", "pixel_contrast_loss", "region_means", "sample_anchors"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pixelcontrast.ops' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
