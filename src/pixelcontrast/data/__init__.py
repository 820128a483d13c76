"""From files to batches: label tables, data sets, transforms, the order of samples."""

from pixelcontrast.data.counting import ClassCounts, count_classes
from pixelcontrast.data.datasets import (
    Ade20k,
    Camvid,
    Cityscapes,
    CocoStuff,
    Folder,
    Hub,
    PascalContext,
    SingleDataSet,
    Synthetic,
)
from pixelcontrast.data.joint import Joint, JointPart
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace
from pixelcontrast.data.loader import EvaluationSample, evaluation_loader, training_loader
from pixelcontrast.data.options import DataCard, DataOptions, describe
from pixelcontrast.data.rare_classes import RareClasses
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.data.transforms import normalize

# The registry of recipes: one data set, or several together. `name` tells them apart.
DataSet = SingleDataSet | Joint

__all__ = [
    "IGNORE_INDEX",
    "Ade20k",
    "Camvid",
    "Cityscapes",
    "ClassCounts",
    "CocoStuff",
    "DataCard",
    "DataOptions",
    "DataSet",
    "EvaluationSample",
    "Folder",
    "Hub",
    "Joint",
    "JointPart",
    "LabelSpace",
    "PascalContext",
    "RareClasses",
    "SegmentationDataset",
    "Synthetic",
    "count_classes",
    "describe",
    "evaluation_loader",
    "normalize",
    "training_loader",
]
