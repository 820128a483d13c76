"""COCO-Stuff, the 10k and the 164k release, with 171 or 182 classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pixelcontrast.data.label_files import IdFiles
from pixelcontrast.data.label_tables import COCO_STUFF, spread_colors
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import Pairing, contents, pair_by_list, pair_by_stem
from pixelcontrast.data.sources import Found, PairedFiles
from pixelcontrast.errors import DataError

# Numbers from 0 that COCO gave out and never used, with their names.
UNUSED = {
    11: "street sign", 25: "hat", 28: "shoe", 29: "eye glasses", 44: "plate", 65: "mirror", 67: "window", 68: "desk",
    70: "door", 82: "blender", 90: "hair brush",
}  # fmt: skip
NUM_NUMBERS = 182


def _with_unused() -> LabelSpace:
    used = iter(COCO_STUFF.names)
    names = tuple(f"{UNUSED[i]} (unused)" if i in UNUSED else next(used) for i in range(NUM_NUMBERS))
    return LabelSpace(names, spread_colors(NUM_NUMBERS))


_ALL = _with_unused()


@dataclass(frozen=True, kw_only=True)
class CocoStuff(DataOptions):
    """COCO-Stuff: 80 things and 91 stuff classes on COCO images; 9000 + 1000 (10k) or 118k + 5k images (164k).

    Layout: for 164k images/{train,val}2017/*.jpg beside stuffthingmaps/{train,val}2017/*.png; for 10k images/*.jpg,
    annotations/*.mat (or *.png of the same ids) and imageLists/{train,test}.txt; what is there decides.

    Numbers run to 182, of which 11 were never used, so that 171 classes are left; 255 (164k) and 0 (10k) are ignored.
    Evaluation over 182 exists in the wild; a class that never occurs is left out of the mean in either case. Caesar,
    Uijlings, Ferrari, "COCO-Stuff: Thing and Stuff Classes in Context", CVPR 2018.

    Attributes:
        root: The folder that holds images/.
        classes: 171, or 182 with the unused numbers as classes of their own.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {"train": (9000, 118287), "val": (1000, 5000)}

    name: Literal["coco_stuff"] = "coco_stuff"
    batch_size: int = 16
    crop_size: tuple[int, int] = (520, 520)
    classes: Literal[171, 182] = 171

    @property
    def label_space(self) -> LabelSpace:
        """The classes in the order of their numbers."""
        return COCO_STUFF if self.classes == 171 else _ALL

    def find(self, split: str) -> Found:
        """Pair the images of a split in the layout that is there; the 10k release calls its val split test."""
        folder = self.folder()
        ids = {}
        for number in range(NUM_NUMBERS):
            if self.classes == 182:
                ids[number] = number
            elif number not in UNUSED:
                ids[number] = number - sum(unused < number for unused in UNUSED)
        numbered = "" if self.classes == 182 else " without the 11 unused ones, which data.classes=182 takes as well,"
        if (folder / "stuffthingmaps").is_dir():
            pairing, raw = self._pair_164k(folder, split), ids
            advice = (
                f"Ids 0-181{numbered} are the classes and 255 is ignored, as in stuffthingmaps_trainval2017.zip; use "
                "those files, not the pixelmaps of stuff alone"
            )
        elif (folder / "imageLists").is_dir():
            pairing = self._pair_10k(folder, split)
            raw = {0: IGNORE_INDEX} | {number + 1: label for number, label in ids.items()}
            advice = (
                f"Ids 1-182{numbered} are the classes and 0 is ignored, as in cocostuff-10k-v1.1.zip; use those files"
            )
        else:
            raise DataError(f"{folder}: expected {self.layout()}; got {contents(folder)}")
        files = PairedFiles(pairing.pairs, self.label_space, IdFiles(raw_id_table(raw), advice))
        return Found(files, pairing.leftovers)

    def _pair_164k(self, folder: Path, split: str) -> Pairing:
        part = f"{split}2017"
        return pair_by_stem(folder / "images" / part, folder / "stuffthingmaps" / part, layout=self.layout())

    def _pair_10k(self, folder: Path, split: str) -> Pairing:
        return pair_by_list(
            folder / "imageLists" / f"{'test' if split == 'val' else split}.txt",
            images=folder / "images",
            labels=folder / "annotations",
            layout=self.layout(),
        )
