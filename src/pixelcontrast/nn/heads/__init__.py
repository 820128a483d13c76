"""Segmentation heads, a file each. The union below is the list of them: a recipe's `model.head` is one of its names."""

from __future__ import annotations

from pixelcontrast.nn.heads.fcn import FCN
from pixelcontrast.nn.heads.hrnet import HRNetHead
from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes

Head = HRNetHead | FCN

__all__ = ["FCN", "Decoder", "HRNetHead", "Head", "HeadOutput", "MapShapes"]
