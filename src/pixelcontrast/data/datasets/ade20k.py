"""ADE20K in the release of the scene parsing challenge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pixelcontrast.data.label_files import IdFiles
from pixelcontrast.data.label_tables import ADE20K
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import pair_by_stem
from pixelcontrast.data.sources import Found, PairedFiles

_FOLDERS = {"train": "training", "val": "validation"}


@dataclass(frozen=True, kw_only=True)
class Ade20k(DataOptions):
    """ADE20K: 20210 train and 2000 val images of indoor and outdoor scenes, 150 classes.

    Layout: images/{training,validation}/*.jpg beside annotations/{training,validation}/*.png, as in
    ADEChallengeData2016.

    Id 0 is what the 150 classes leave out and is ignored; id i is class i - 1. Zhou et al., "Scene Parsing through
    ADE20K Dataset", CVPR 2017.

    Attributes:
        root: The folder that holds images/ and annotations/.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {"train": (20210,), "val": (2000,)}

    name: Literal["ade20k"] = "ade20k"
    batch_size: int = 16
    crop_size: tuple[int, int] = (512, 512)

    @property
    def label_space(self) -> LabelSpace:
        """The 150 classes."""
        return ADE20K

    def find(self, split: str) -> Found:
        """Pair images with annotations by stem."""
        folder, part = self.folder(), _FOLDERS[split]
        pairing = pair_by_stem(folder / "images" / part, folder / "annotations" / part, layout=self.layout())
        ids = IdFiles(
            raw_id_table({0: IGNORE_INDEX} | {i + 1: i for i in range(ADE20K.num_classes)}),
            advice="Ids 1-150 are the classes and 0 is ignored, as in ADEChallengeData2016; use those annotations",
        )
        return Found(PairedFiles(pairing.pairs, ADE20K, ids), pairing.leftovers)
