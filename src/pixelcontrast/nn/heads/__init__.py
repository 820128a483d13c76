"""Segmentation heads, a file each. The union below is the list of them: a recipe's `model.head` is one of its names."""

from __future__ import annotations

from pixelcontrast.nn.heads.deeplabv3 import DeepLabV3
from pixelcontrast.nn.heads.deeplabv3plus import DeepLabV3Plus
from pixelcontrast.nn.heads.fcn import FCN
from pixelcontrast.nn.heads.hrnet import HRNetHead
from pixelcontrast.nn.heads.interface import Decoder, HeadOutput, MapShapes
from pixelcontrast.nn.heads.ocr import OCR

Head = HRNetHead | FCN | DeepLabV3 | DeepLabV3Plus | OCR

__all__ = ["FCN", "OCR", "Decoder", "DeepLabV3", "DeepLabV3Plus", "HRNetHead", "Head", "HeadOutput", "MapShapes"]
