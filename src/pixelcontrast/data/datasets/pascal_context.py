"""PASCAL-Context: whole-scene labels for the images of VOC 2010."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pixelcontrast.data.label_tables import PASCAL_CONTEXT
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import pair_by_list
from pixelcontrast.data.sources import Found, PairedFiles

_WITH_BACKGROUND = LabelSpace(("background", *PASCAL_CONTEXT.names), ((128, 128, 128), *PASCAL_CONTEXT.palette))


@dataclass(frozen=True, kw_only=True)
class PascalContext(DataOptions):
    """PASCAL-Context: 4996 train and 5104 val images of VOC 2010 with things and stuff, 59 or 60 classes.

    Layout: JPEGImages/*.jpg beside SegmentationClassContext/*.png of ids 0-59, and the names of each split in
    ImageSets/SegmentationContext/{train,val}.txt.

    Id 0 is the background, everything that is not among the 59 frequent categories. The protocol of 59 classes
    ignores it; with 60 it is a class. Scores of the two do not compare. Mottaghi et al., "The Role of Context for
    Object Detection and Semantic Segmentation in the Wild", CVPR 2014.

    Attributes:
        root: The VOC2010 folder.
        classes: 59, or 60 with the background as class 0.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {"train": (4996, 4998), "val": (5104, 5105)}

    name: Literal["pascal_context"] = "pascal_context"
    batch_size: int = 16
    crop_size: tuple[int, int] = (520, 520)
    classes: Literal[59, 60] = 59

    @property
    def label_space(self) -> LabelSpace:
        """The classes, with the background first if it is one."""
        return PASCAL_CONTEXT if self.classes == 59 else _WITH_BACKGROUND

    def find(self, split: str) -> Found:
        """Pair the images that the split's list names."""
        folder: Path = self.folder()
        first = 0 if self.classes == 60 else IGNORE_INDEX
        pairing = pair_by_list(
            folder / "ImageSets" / "SegmentationContext" / f"{split}.txt",
            images=folder / "JPEGImages",
            labels=folder / "SegmentationClassContext",
            layout=self.layout(),
        )
        files = PairedFiles(
            pairs=pairing.pairs,
            label_space=self.label_space,
            raw_ids=raw_id_table({0: first} | {i + 1: i + (self.classes == 60) for i in range(59)}),
            advice="Ids 1-59 are the frequent categories and 0 the rest; labels of all 459 categories must be reduced",
        )
        return Found(files, pairing.leftovers)
