"""Files that name classes: the project's own YAML, and the `id2label.json` of the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelcontrast.data.label_files import IdFiles
from pixelcontrast.data.label_tables import spread_colors
from pixelcontrast.data.labels import IGNORE_INDEX, UNKNOWN, LabelSpace, raw_id_table
from pixelcontrast.data.pairing import contents, some
from pixelcontrast.data.text_files import read_text, read_yaml
from pixelcontrast.errors import DataError, did_you_mean

_HOW = (
    "expected a list of names (ids 0, 1, ...), or a mapping from name to id, "
    "or from name to {id: 3, color: [255, 0, 0]}"
)

_HOW_DRAWN = "expected, with data.label_colors, a mapping from name to {color: [255, 0, 0]}"
_FIELDS = ("id", "color")


def read_classes(path: Path, *, drawn: bool = False) -> tuple[LabelSpace, list[int]]:
    """Read the classes in the order of the file, and the id that each has in files of labels.

    Args:
        path: YAML, a list of names or a mapping from names; or JSON, a mapping from ids to names.
        drawn: Whether labels are drawings: then each class needs a colour, and its place in the file is its id.

    Raises:
        DataError: If there is no such file, or it holds something else.
    """
    how = _HOW_DRAWN if drawn else _HOW
    if not path.is_file():
        there = f". In {path.parent} there is {contents(path.parent)}" if path.parent.is_dir() else ""
        raise DataError(f"{path}: no such file; {how}. Write one, or set data.classes=PATH{there}")
    try:
        content = _names_by_id(path) if path.suffix == ".json" else read_yaml(path)
        return _classes_of(content, drawn=drawn)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise DataError(f"{path}: {how}; {str(error) or type(error).__name__}") from error


def id_files(ids: Sequence[int], *, ignore_ids: Sequence[int], reduce_zero_label: bool, classes: Path) -> IdFiles:
    """Files of ids whose classes a user's file names.

    Args:
        ids: Of each class, in the files.
        ignore_ids: Ids that mean no class; 255 may be a class's nevertheless.
        reduce_zero_label: Whether 0 in the files means no class and `ids` are one less than there.
        classes: The file that names them, for messages.

    Raises:
        DataError: If an id is out of range, or is a class and ignored as well.
    """
    shift = int(reduce_zero_label)
    named = {number + shift: label for label, number in enumerate(ids)}
    if wrong := sorted(number for number in {*ignore_ids, *named} if not 0 <= number <= IGNORE_INDEX):
        raise DataError(
            f"data.ignore_ids and {classes}: expected ids in the files from 0 to {IGNORE_INDEX}, got {wrong}; "
            f"write files whose pixels of no class are {IGNORE_INDEX}"
        )
    if both := sorted({*ignore_ids} - {IGNORE_INDEX} & named.keys()):
        raise DataError(
            f"data.ignore_ids: {both} are ignored and are classes in {classes} as well; take them out of one of the two"
        )
    raw = dict.fromkeys({*ignore_ids} | ({0} if shift else set()), IGNORE_INDEX)
    advice = (
        f"Give it a class in {classes}, or ignore it with data.ignore_ids=[{IGNORE_INDEX},...] if it is at most 255"
    )
    if not shift and [*ids] == [*range(len(ids))]:
        advice += f"; or if 0 is no class and {len(ids)} the last one, set data.reduce_zero_label=true"
    return IdFiles(raw_id_table(raw | named), advice)


def _names_by_id(path: Path) -> dict[str, int]:
    """The hub's form, {"0": "road", ...}, turned round."""
    content = json.loads(read_text(path))
    if not isinstance(content, dict):
        raise TypeError(f"got {type(content).__name__} where a mapping from ids to names is expected")
    named = {str(name): int(number) for number, name in content.items()}
    if len(named) < len(content):
        raise ValueError("several ids have one name; rename them, or write a YAML file of classes")
    return dict(sorted(named.items(), key=lambda entry: entry[1]))


def _classes_of(content: Any, *, drawn: bool) -> tuple[LabelSpace, list[int]]:  # noqa: ANN401 - whatever a file holds
    if isinstance(content, list):
        content = _each_once(content)
    if not isinstance(content, Mapping):
        raise ValueError(f"got {type(content).__name__}")
    if odd := [name for name in content if isinstance(name, bool) or not isinstance(name, str | int)]:
        raise ValueError(f"got {odd[0]!r} for a name; put names such as yes, no, null in quotes")
    entries = {
        str(name): _fields(str(name), entry, needed="color" if drawn else "id") for name, entry in content.items()
    }
    ids = [*range(len(entries))] if drawn else [entry["id"] for entry in entries.values()]
    if len(ids) > UNKNOWN:
        raise ValueError(f"at most {UNKNOWN} classes can be told apart, got {len(ids)}; merge the rare ones")
    wrong = [number for number in ids if type(number) is not int or not 0 <= number <= IGNORE_INDEX]
    if wrong := wrong or sorted(number for number in {*ids} if ids.count(number) > 1):
        raise ValueError(f"ids must differ and lie in 0 to {IGNORE_INDEX}, got {some(map(str, wrong))}")
    colors = zip(entries.values(), spread_colors(len(entries)), strict=True)
    palette = tuple((int(c[0]), int(c[1]), int(c[2])) for c in (entry.get("color", color) for entry, color in colors))
    return LabelSpace(tuple(entries), palette), ids


def _fields(name: str, entry: object, *, needed: str) -> dict[str, Any]:
    fields = {str(key): value for key, value in entry.items()} if isinstance(entry, Mapping) else {"id": entry}
    if odd := [key for key in fields if key not in _FIELDS]:
        raise ValueError(
            f"'{name}' has {odd[0]!r}, which is none of {', '.join(_FIELDS)}.{did_you_mean(odd[0], _FIELDS)}"
        )
    if needed not in fields:
        raise ValueError(f"'{name}' has no {needed}")
    return fields


def _each_once(names: list[Any]) -> dict[Any, int]:
    if odd := [name for name in names if isinstance(name, Mapping | list)]:
        raise ValueError(f"got {odd[0]} in a list of names")
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice; rename one")
    return {name: number for number, name in enumerate(names)}
