"""Your own images and labels, from two folders or a list of pairs, with the classes in a YAML file."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pixelcontrast.data.class_files import id_files, read_classes
from pixelcontrast.data.label_files import ColorFiles, LabelFiles
from pixelcontrast.data.labels import IGNORE_INDEX, Color, LabelSpace
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.pairing import Pairing, check_names_differ, files_by_stem, pair_by_stem
from pixelcontrast.data.sources import Found, Leftover, Pair, PairedFiles
from pixelcontrast.data.text_files import name_below, read_text
from pixelcontrast.errors import DataError, did_you_mean
from pixelcontrast.files import is_there
from pixelcontrast.types import BandStatistics


@dataclass(frozen=True, kw_only=True)
class Folder(DataOptions):
    """Your own data: images and labels in two folders by stem, or as a CSV or JSONL of pairs, and classes.yaml.

    Layout: images/{train,val,test}/ and labels/{train,val,test}/ with files of equal stems, and classes.yaml.

    Labels are PNGs (or TIFFs) of ids, grey or with a palette. classes.yaml is a list of names (ids 0, 1, ...), or maps
    names to ids: masks of 0 and 255 are `{background: 0, thing: 255}`. An id without a name is an error, unless it is
    ignored. Or, with `label_colors`, they are drawings, and classes.yaml maps each name to its colour, in the order
    that the network is to have: `{road: {color: [128, 64, 128]}, car: {color: [0, 0, 142]}}`. A test split may go
    without labels. Pixels are taken as they lie: orientation by EXIF is not followed (`pixelcontrast check` tells of
    it), that of an RGB TIFF is.

    Images are RGB of 8 bits, unless `mean` and `std` are stated: then all bands of a file are used, as many as there
    are numbers, and the network takes as many. TIFFs of bands need the extra `tif`.

    Attributes:
        root: The folder; the paths in `pairs` are relative to it.
        pairs: A .csv with the columns image, labels and split, or a .jsonl with these keys, instead of the two folders.
        classes: The file of classes, YAML or the hub's id2label.json; by default classes.yaml in
            `root`. A path is relative to `root`.
        ignore_ids: Ids in the files that mean no class.
        reduce_zero_label: Whether 0 in the files means no class and 1 is the first one, as in ADE20K: ids are lowered
            by one before `classes` is looked up.
        label_colors: Whether labels are drawings in the colours that `classes` gives, rather than ids; black is
            ignored unless it is a class's.
        mean: Of each band, for images that are not RGB of 8 bits: on a scale of 0 to 1 for files of 8 bits, in the
            units of the files for 16 bits and floats. `pixelcontrast check` measures it.
        std: The same for the standard deviation.
    """

    name: Literal["folder"] = "folder"
    pairs: str | None = None
    classes: str | None = None
    ignore_ids: tuple[int, ...] = (IGNORE_INDEX,)
    reduce_zero_label: bool = False
    label_colors: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.mean is None) != (self.std is None):
            raise ValueError("std: expected one number a band beside mean, or neither of them")
        _ = self.bands
        if self.label_colors and (self.ignore_ids != (IGNORE_INDEX,) or self.reduce_zero_label):
            raise ValueError(
                "label_colors goes without ignore_ids and reduce_zero_label, for there are no ids; leave them"
            )

    @property
    def bands(self) -> BandStatistics | None:
        """`mean` and `std`, where they are stated."""
        return None if self.mean is None or self.std is None else BandStatistics(self.mean, self.std)

    @property
    def label_space(self) -> LabelSpace:
        """The classes of `classes`, in the order of the file.

        Raises:
            DataError: If there is no such file, or it holds something else.
        """
        return read_classes(self._classes_path(), drawn=self.label_colors)[0]

    def find(self, split: str) -> Found:
        """Pair the files of a split."""
        path = self._classes_path()
        space, ids = read_classes(path, drawn=self.label_colors)
        labels: LabelFiles
        if self.label_colors:
            known: dict[Color, str] = {}
            for name, color in zip(space.names, space.palette, strict=True):
                if known.setdefault(color, name) != name:
                    raise DataError(
                        f"{path}: '{known[color]}' and '{name}' are both drawn in {list(color)}; change one"
                    )
            drawn = {(0, 0, 0): IGNORE_INDEX} | {color: label for label, color in enumerate(space.palette)}
            labels = ColorFiles(drawn, f"expected the colours in {path}, or black, which is ignored; is it a JPEG?")
        else:
            labels = id_files(ids, ignore_ids=self.ignore_ids, reduce_zero_label=self.reduce_zero_label, classes=path)
        pairing = self._listed(split) if self.pairs is not None else self._lying(split)
        return Found(PairedFiles(pairing.pairs, space, labels, self.bands), pairing.leftovers)

    def _lying(self, split: str) -> Pairing:
        images, labels = self.folder() / "images" / split, self.folder() / "labels" / split
        if split == "test" and not labels.is_dir():
            found = files_by_stem(images, layout=self.layout())
            return Pairing([Pair(path, None, stem) for stem, path in found.items()])
        return pair_by_stem(images, labels, layout=self.layout())

    def _listed(self, split: str) -> Pairing:
        root = self.folder()
        path = root / str(self.pairs)
        pairs, leftovers = [], []
        for number, row in enumerate(_read_rows(path), start=1):
            if row.get("image") is None or row.get("split") is None:
                raise DataError(f"{path}: row {number} has {sorted(row)}; expected image, labels and split")
            if row["split"] not in self.splits:
                near = did_you_mean(row["split"], self.splits)
                raise DataError(
                    f"{path}: row {number} has the split {row['split']!r}, not {', '.join(self.splits)}.{near}"
                )
            if row["split"] != split:
                continue
            image, labels = root / row["image"], root / row["labels"] if row.get("labels") else None
            if labels is None and split != "test":
                raise DataError(
                    f"{path}: row {number} ({image.name}) has no labels, only {', '.join(sorted(row))}; fill "
                    "the column labels, without which only a test split may go"
                )
            if missing := [file for file in (image, labels) if file is not None and not is_there(file)]:
                message = f"{path}: row {number} names {missing[0]}, which is not there; paths start at {root}"
                leftovers.append(Leftover(message, tuple(missing)))
                continue
            # The path without its suffix, for images of one name may lie in several folders.
            pairs.append(Pair(image, labels, name_below(row["image"])))
        check_names_differ(pairs, where=path)
        if not pairs and not leftovers:
            raise DataError(f"{path}: expected rows with split {split!r}, got none; add some or choose another split")
        return Pairing(pairs, tuple(leftovers))

    def _classes_path(self) -> Path:
        return self.folder() / (self.classes or "classes.yaml")


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file (data.pairs); expected a .csv or .jsonl of image, labels and split")
    if path.suffix not in (".csv", ".jsonl"):
        raise DataError(
            f"{path}: expected a .csv or .jsonl file (data.pairs), got {path.suffix!r}; rename or convert it"
        )
    lines = read_text(path).splitlines()
    try:
        if path.suffix == ".csv":
            return [_row(row, number) for number, row in enumerate(csv.DictReader(lines), start=1)]
        return [_row(json.loads(line), number) for number, line in enumerate(lines, start=1) if line.strip()]
    except (csv.Error, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a list of image, labels and split that can be read; {error}") from error


def _row(content: Any, number: int) -> dict[str, str]:  # noqa: ANN401 - it is whatever the file holds
    """The words of a row; what is empty or null, and what else a row holds, is not there."""
    if not isinstance(content, dict):
        raise ValueError(f"row {number} is no mapping")
    if None in content:  # where csv puts the cells beyond the last name
        raise ValueError(f"row {number} has more cells than there are names; put a name with a comma in quotes")
    for key in ("image", "labels", "split"):
        if content.get(key) not in (None, "", []) and not isinstance(content[key], str):
            raise ValueError(f"row {number}: {key} is no word")
    words = {key: value.strip() for key, value in content.items() if isinstance(key, str) and isinstance(value, str)}
    return {key: value for key, value in words.items() if value}
