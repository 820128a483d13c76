"""Cityscapes, read from its downloaded archives: label ids are mapped to the 19 evaluated classes on the fly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pixelcontrast.data.label_files import IdFiles
from pixelcontrast.data.label_tables import CITYSCAPES
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import Pairing, contents, pair, require_folder
from pixelcontrast.data.sources import Found, Pair, PairedFiles
from pixelcontrast.errors import DataError

# The label id of each class, as a submission to the test server needs them back.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
NUM_LABEL_IDS = 34
_IMAGE_END = "_leftImg8bit.png"


@dataclass(frozen=True, kw_only=True)
class Cityscapes(DataOptions):
    """Cityscapes: 2975 train, 500 val and 1525 test images of 27 cities at 1024x2048, 19 classes.

    Layout: leftImg8bit/{train,val,test}/CITY/*_leftImg8bit.png beside gtFine/{train,val}/CITY/*_gtFine_labelIds.png
    (or *_gtFine_labelTrainIds.png, with data.label_files=train_ids); or beside gtCoarse/ with *_gtCoarse_labelIds.png,
    with data.annotations=coarse, where there may be train_extra/ as well.

    Of the 34 label ids 15 are ignored; plates of cars (id -1) are not drawn in the files. The test split has no labels
    that are public. Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.

    Attributes:
        root: The folder that holds leftImg8bit/ and gtFine/.
        annotations: `fine`, or `coarse` polygons, of `val` too, which is then scored against them. They exist for the
            split `train_extra` (19998 images of 23 more cities) as well, which can be checked and evaluated; what is
            trained on is `train`.
        label_files: `label_ids` as downloaded, or `train_ids` as cityscapesScripts makes them: 0-18, 255 ignored.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "train_extra")
    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "train": (2975,),
        "val": (500,),
        "test": (1525,),
        "train_extra": (19998,),
    }

    name: Literal["cityscapes"] = "cityscapes"
    crop_size: tuple[int, int] = (512, 1024)
    annotations: Literal["fine", "coarse"] = "fine"
    label_files: Literal["label_ids", "train_ids"] = "label_ids"

    @property
    def label_space(self) -> LabelSpace:
        """The 19 classes that are evaluated, in the order of their train ids."""
        return CITYSCAPES

    def find(self, split: str) -> Found:
        """Pair the images of all cities of a split with their labels."""
        if split == "train_extra" and self.annotations == "fine":
            raise DataError("split 'train_extra' has coarse labels only; set data.annotations=coarse")
        if self.label_files == "label_ids":
            raw = dict.fromkeys(range(NUM_LABEL_IDS), IGNORE_INDEX) | {i: c for c, i in enumerate(LABEL_IDS)}
            advice = "These are label ids; for files of train ids set data.label_files=train_ids"
        else:
            raw = {i: i for i in range(CITYSCAPES.num_classes)}
            advice = "These are train ids; for files of label ids set data.label_files=label_ids"
        pairing = self._pair(self.folder(), split)
        files = PairedFiles(pairing.pairs, CITYSCAPES, IdFiles(raw_id_table(raw), advice))
        return Found(files, pairing.leftovers)

    def _pair(self, root: Path, split: str) -> Pairing:
        images = _by_city(root / "leftImg8bit" / split, _IMAGE_END, layout=self.layout())
        if split == "test":
            return Pairing([Pair(path, None, name) for name, path in images.items()])
        kind = "gtFine" if self.annotations == "fine" else "gtCoarse"
        end = "labelIds" if self.label_files == "label_ids" else "labelTrainIds"
        labels = _by_city(root / kind / split, f"_{kind}_{end}.png", layout=self.layout())
        return pair(images, labels, where=root / kind / split)


def _by_city(folder: Path, end: str, *, layout: str) -> dict[str, Path]:
    """List the files of all cities that end in `end` by what comes before it, sorted.

    Raises:
        DataError: If there is no such folder, or no such file in it.
    """
    require_folder(folder, layout=layout)
    found: Iterable[Path] = sorted(path for path in folder.glob(f"*/*{end}") if path.name[0] != ".")
    named = {path.name.removesuffix(end): path for path in found}
    if not named:
        city = next((path for path in sorted(folder.iterdir()) if path.is_dir()), folder)
        raise DataError(f"{folder}: expected CITY/*{end}; in {city} there is {contents(city)}. The layout is {layout}")
    return named
