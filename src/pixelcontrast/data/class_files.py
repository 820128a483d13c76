"""Files that name classes: the project's own YAML, and the `id2label.json` of the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelcontrast.data.label_files import IdFiles
from pixelcontrast.data.label_tables import spread_colors
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, raw_id_table
from pixelcontrast.data.text_files import read_text, read_yaml
from pixelcontrast.errors import DataError

_HOW = (
    "expected a list of names (ids 0, 1, ...), or a mapping from name to id, "
    "or from name to {id: 3, color: [255, 0, 0]}"
)


def read_classes(path: Path) -> tuple[LabelSpace, list[int]]:
    """Read the classes in the order of the file, and the id that each has in files of labels.

    Args:
        path: YAML, a list of names or a mapping from names; or JSON, a mapping from ids to names.

    Raises:
        DataError: If there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; {_HOW}. Write one, or set data.classes=PATH")
    try:
        content = _names_by_id(path) if path.suffix == ".json" else read_yaml(path)
        return _classes_of(content)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise DataError(f"{path}: {_HOW}; {str(error) or type(error).__name__}") from error


def id_files(ids: Sequence[int], *, ignore_ids: Sequence[int], reduce_zero_label: bool, classes: Path) -> IdFiles:
    """Files of ids whose classes a user's file names.

    Args:
        ids: Of each class, in the files.
        ignore_ids: Ids that mean no class, unless `ids` has them.
        reduce_zero_label: Whether 0 in the files means no class and `ids` are one less than there.
        classes: The file that names them, for messages.
    """
    shift = int(reduce_zero_label)
    ignored = {*ignore_ids} - ({*ids} if not shift else set())
    raw = dict.fromkeys(ignored | ({0} if shift else set()), IGNORE_INDEX)
    table = raw_id_table(raw | {number + shift: label for label, number in enumerate(ids)})
    return IdFiles(table, f"Give it a class in {classes}, or ignore it with data.ignore_ids=[{IGNORE_INDEX},...]")


def _names_by_id(path: Path) -> dict[str, int]:
    """The hub's form, {"0": "road", ...}, turned round."""
    content = json.loads(read_text(path))
    if not isinstance(content, dict):
        raise TypeError(f"got {type(content).__name__} where a mapping from ids to names is expected")
    named = {str(name): int(number) for number, name in content.items()}
    if len(named) < len(content):
        raise ValueError("several ids have one name; rename them, or write a YAML file of classes")
    return dict(sorted(named.items(), key=lambda entry: entry[1]))


def _classes_of(content: Any) -> tuple[LabelSpace, list[int]]:  # noqa: ANN401 - it is whatever the file holds
    if isinstance(content, list):
        content = {str(name): number for number, name in enumerate(content)}
    if not isinstance(content, Mapping):
        raise ValueError(f"got {type(content).__name__}")
    entries = {str(name): dict(e) if isinstance(e, Mapping) else {"id": e} for name, e in content.items()}
    ids = [entry["id"] for entry in entries.values()]
    wrong = [number for number in ids if type(number) is not int or not 0 <= number <= IGNORE_INDEX]
    if wrong or len(set(ids)) != len(ids):
        raise ValueError(f"ids must differ and lie in 0 to {IGNORE_INDEX}, got {ids}")
    colors = zip(entries.values(), spread_colors(len(entries)), strict=True)
    palette = tuple((int(c[0]), int(c[1]), int(c[2])) for c in (entry.get("color", color) for entry, color in colors))
    return LabelSpace(tuple(entries), palette), ids
