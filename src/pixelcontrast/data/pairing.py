"""Finding the files of a split and telling which image belongs to which labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelcontrast.data.decoding import IMAGE_SUFFIXES, LABEL_SUFFIXES
from pixelcontrast.data.sources import Leftover, Pair
from pixelcontrast.data.text_files import read_text
from pixelcontrast.errors import DataError

SHOWN = 8


@dataclass(frozen=True)
class Pairing:
    """Images with their labels, and the files that lack their other half."""

    pairs: list[Pair]
    leftovers: tuple[Leftover, ...] = ()


def pair_by_stem(images: Path, labels: Path, *, layout: str) -> Pairing:
    """Pair the images of one folder with the labels of another by file name without suffix, sorted by name.

    Args:
        images: Folder of images of any suffix in `IMAGE_SUFFIXES`; other files are left alone.
        labels: Folder of label files.
        layout: What the data set expects, for errors.

    Raises:
        DataError: If a folder is missing or empty, or a stem occurs twice.
    """
    return pair(files_by_stem(images, layout=layout), files_by_stem(labels, layout=layout), where=labels)


def pair_by_list(names: Path, *, images: Path, labels: Path, layout: str) -> Pairing:
    """Pair the images that a text file names, a stem a line, with their labels, in the file's order.

    Raises:
        DataError: If the list or a folder is missing, or the list is empty.
    """
    stems = read_list(names, layout=layout)
    found, leftovers = [], []
    for folder, suffixes in ((images, IMAGE_SUFFIXES), (labels, LABEL_SUFFIXES)):
        by_stem = files_by_stem(folder, layout=layout, suffixes=suffixes)
        missing = [stem for stem in dict.fromkeys(stems) if stem not in by_stem]
        if missing:
            message = (
                f"{folder}: {len(missing)} of {len(stems)} names in {names} have no file: {some(missing)}; "
                "add the files or take the names off the list"
            )
            leftovers.append(Leftover(message, tuple(folder / stem for stem in missing)))
        found.append(by_stem)
    complete = [stem for stem in stems if stem in found[0] and stem in found[1]]
    return Pairing([Pair(found[0][stem], found[1][stem], stem) for stem in complete], tuple(leftovers))


def read_list(names: Path, *, layout: str) -> list[str]:
    """Read the names of a split's images, a stem a line.

    Raises:
        DataError: If there is no such file, or no name in it.
    """
    if not names.is_file():
        require_folder(names.parent, layout=layout)
        raise DataError(
            f"{names}: no such file; expected {layout}. In {names.parent} there is {contents(names.parent)}"
        )
    stems = read_text(names).split()
    if not stems:
        raise DataError(f"{names}: expected the names of images, one a line, got an empty file")
    return stems


def files_by_stem(folder: Path, *, layout: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """List the files of a folder that have one of the suffixes by stem, sorted.

    Raises:
        DataError: If the folder is missing or holds no such file, or two files share a stem.
    """
    require_folder(folder, layout=layout)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or path.is_dir():
            continue
        if path.stem in found:
            raise DataError(f"{folder}: {found[path.stem].name} and {path.name} have the same stem; remove one")
        found[path.stem] = path
    if not found:
        kinds = ", ".join(suffixes)
        raise DataError(f"{folder}: expected image files ({kinds}), got {contents(folder)}. The layout is {layout}")
    return found


def require_folder(folder: Path, *, layout: str) -> None:
    """Refuse a folder that is not there.

    Raises:
        DataError: With what the nearest existing parent holds.
    """
    if folder.is_dir():
        return
    parent = next(parent for parent in folder.absolute().parents if parent.is_dir())
    raise DataError(f"{folder}: no such folder; expected {layout}. In {parent} there is {contents(parent)}")


def pair(images: Mapping[str, Path], labels: Mapping[str, Path], *, where: Path) -> Pairing:
    """Pair files of equal names, in the order of the images; those without their other half are left over.

    Args:
        images: By name.
        labels: By name.
        where: Folder of the labels, for messages.
    """
    leftovers = []
    without_labels = tuple(path for name, path in images.items() if name not in labels)
    if without_labels:
        message = (
            f"{where}: {len(without_labels)} of {len(images)} images have no labels: "
            f"{some(path.name for path in without_labels)}; expected a label file with the stem of each image. Add the "
            "labels or move those images away"
        )
        leftovers.append(Leftover(message, without_labels))
    without_image = tuple(path for name, path in labels.items() if name not in images)
    if without_image:
        message = (
            f"{where}: {len(without_image)} label files have no image: {some(path.name for path in without_image)}; "
            "add the images or move those labels away"
        )
        leftovers.append(Leftover(message, without_image))
    pairs = [Pair(path, labels[name], name) for name, path in images.items() if name in labels]
    return Pairing(pairs, tuple(leftovers))


def check_names_differ(pairs: Sequence[Pair], *, where: Path) -> None:
    """Refuse a list in which two files have one name.

    Raises:
        DataError: With the first two that do.
    """
    known: dict[str, Pair] = {}
    for pair in pairs:
        other = known.setdefault(pair.name, pair)
        if other.image != pair.image:
            raise DataError(f"{where}: {other.image} and {pair.image} would both be called {pair.name}; rename one")
        if other.labels != pair.labels:
            raise DataError(
                f"{where}: {pair.image} has two files of labels, {other.labels} and {pair.labels}; take one"
            )


def contents(folder: Path) -> str:
    """Say what a folder holds, for errors."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    return some(names) if names else "nothing"


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = sorted(names)
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
