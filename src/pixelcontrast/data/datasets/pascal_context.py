"""PASCAL-Context: whole-scene labels for the images of VOC 2010."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from pixelcontrast.data.label_files import IdFiles, LabelFiles
from pixelcontrast.data.label_tables import PASCAL_CONTEXT, PASCAL_CONTEXT_AUTHORS_ORDER, PASCAL_CONTEXT_NUMBERS
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.merged_masks import Annotated, MergedMasks, read_merged
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import Pairing, contents, files_by_stem, pair_by_list, some
from pixelcontrast.data.sources import Found, Leftover, Pair, PairedFiles
from pixelcontrast.errors import DataError

CONVERTED, AUTHORS, MERGED = "SegmentationClassContext", "59_context_labels", "trainval_merged.json"
NUM_CATEGORIES = 459
_WITH_BACKGROUND = LabelSpace(("background", *PASCAL_CONTEXT.names), ((128, 128, 128), *PASCAL_CONTEXT.palette))


@dataclass(frozen=True, kw_only=True)
class PascalContext(DataOptions):
    """PASCAL-Context: 4998 train and 5105 val images of VOC 2010 with things and stuff, 59 or 60 classes.

    Layout: JPEGImages/*.jpg beside the labels in one of three forms, the first that is there:
    SegmentationClassContext/*.png, ids 0-59 in the categories' original order; 59_context_labels/*.png, ids 0-59 in the
    authors' order; or trainval_merged.json. The pngs need the names of each split in
    ImageSets/SegmentationContext/{train,val}.txt, or ImageSets/Main/{train,val}.txt.

    The two forms of png hold the same 59 categories under different ids: `SegmentationClassContext` is what converters
    of the detail-api's masks write (mmsegmentation's, whose lists name 4996 and 5104 images), `59_context_labels` what
    the authors published, with VOC's twenty first; the folder must keep its name. Id 0 is the background, everything
    that is not among the 59. The protocol of 59 classes ignores it; with 60 it is a class. Scores of the two do not
    compare. Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild", CVPR
    2014.

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
        """Pair the images of a split with the form of labels that is there."""
        root = self.folder()
        form = next((form for form in (CONVERTED, AUTHORS, MERGED) if (root / form).exists()), None)
        if form is None:
            raise DataError(f"{root}: expected {self.layout()}; got {contents(root)}")
        labels: LabelFiles
        if form == MERGED:
            images = read_merged(root / MERGED, (root / MERGED).stat().st_mtime).get(split, {})
            pairing, labels = self._pair_merged(root, images, split), self._merged(images)
        else:
            pairing = pair_by_list(
                self._list(root, split), images=root / "JPEGImages", labels=root / form, layout=self.layout()
            )
            labels = self._ids(PASCAL_CONTEXT.names if form == CONVERTED else PASCAL_CONTEXT_AUTHORS_ORDER)
        return Found(PairedFiles(pairing.pairs, self.label_space, labels), pairing.leftovers)

    def _list(self, root: Path, split: str) -> Path:
        lists = [root / "ImageSets" / folder / f"{split}.txt" for folder in ("SegmentationContext", "Main")]
        return next((path for path in lists if path.is_file()), lists[0])

    def _pair_merged(self, root: Path, images: Mapping[str, Annotated], split: str) -> Pairing:
        files = files_by_stem(root / "JPEGImages", layout=self.layout())
        if not images:
            raise DataError(f"{root / MERGED}: expected images of phase '{split}', got none; download the file again")
        missing = tuple(root / "JPEGImages" / image.file_name for name, image in images.items() if name not in files)
        leftovers: tuple[Leftover, ...] = ()
        if missing:
            message = (
                f"{root / 'JPEGImages'}: {len(missing)} of {len(images)} images of phase '{split}' in {MERGED} have no "
                f"file: {some(path.name for path in missing)}; add them"
            )
            leftovers = (Leftover(message, missing),)
        return Pairing([Pair(files[name], root / MERGED, name) for name in images if name in files], leftovers)

    def _first(self) -> tuple[int, int]:
        """Class ids of the background and of the first category."""
        return (0, 1) if self.classes == 60 else (IGNORE_INDEX, 0)

    def _ids(self, order: tuple[str, ...]) -> IdFiles:
        background, first = self._first()
        ids = {number: PASCAL_CONTEXT.names.index(name) + first for number, name in enumerate(order, start=1)}
        return IdFiles(
            raw_id_table({0: background} | ids),
            advice="Ids 1-59 are the frequent categories and 0 the rest; labels of all 459 categories must be reduced",
        )

    def _merged(self, images: dict[str, Annotated]) -> MergedMasks:
        background, first = self._first()
        table = torch.full((NUM_CATEGORIES + 1,), background, dtype=torch.uint8)
        for label, number in enumerate(PASCAL_CONTEXT_NUMBERS):
            table[number] = label + first
        return MergedMasks(images, table)
