"""Data sets, a file each, read as they lie on disk."""

from pixelcontrast.data.datasets.ade20k import Ade20k
from pixelcontrast.data.datasets.camvid import Camvid
from pixelcontrast.data.datasets.cityscapes import Cityscapes
from pixelcontrast.data.datasets.coco_stuff import CocoStuff
from pixelcontrast.data.datasets.folder import Folder
from pixelcontrast.data.datasets.hub import Hub
from pixelcontrast.data.datasets.pascal_context import PascalContext
from pixelcontrast.data.datasets.synthetic import Synthetic

# The registry: a new data set is a file and its name here. `name` tells them apart in a recipe.
SingleDataSet = Synthetic | Camvid | Cityscapes | PascalContext | CocoStuff | Ade20k | Folder | Hub

__all__ = [
    "Ade20k",
    "Camvid",
    "Cityscapes",
    "CocoStuff",
    "Folder",
    "Hub",
    "PascalContext",
    "SingleDataSet",
    "Synthetic",
]
