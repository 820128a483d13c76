"""Pixel contrast as a part one plugs in: the memory and the criterion."""

from pixelcontrast.contrast.attach import attach
from pixelcontrast.contrast.attached import AttachedContrast
from pixelcontrast.contrast.checks import check_label_range
from pixelcontrast.contrast.criterion import PixelContrast
from pixelcontrast.contrast.memory import MemoryBank
from pixelcontrast.contrast.options import ContrastOptions, ExtraMap, MemoryOptions, preset
from pixelcontrast.contrast.statistics import gradient_norm_ratio
from pixelcontrast.contrast.taps import Tap

__all__ = [
    "AttachedContrast",
    "ContrastOptions",
    "ExtraMap",
    "MemoryBank",
    "MemoryOptions",
    "PixelContrast",
    "Tap",
    "attach",
    "check_label_range",
    "gradient_norm_ratio",
    "preset",
]
