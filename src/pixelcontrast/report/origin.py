"""Where the figures come from: recipes and how they differ, versions, hardware, commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelcontrast.report.arms import Arm, flatten

_ABSENT = "–"
_PATH = re.compile(r"""(?<![\w.])(?:~|[A-Za-z]:)?[\\/](?:[^'",\]}]*[\\/])?([^'",\]}\\/]*)""")


@dataclass(frozen=True)
class Change:
    """An option that is not the same in all arms.

    Attributes:
        key: Of the recipe.
        values: By arm, as text.
    """

    key: str
    values: tuple[str, ...]


def recipe_changes(arms: Sequence[Arm]) -> list[Change]:
    """Options that differ between arms, but for the seed; a section that an arm has not at all is one line."""
    flat = [flatten(arm.first.recipe) for arm in arms]
    absent = {key for recipe in flat for key, value in recipe.items() if value is None}
    keys = dict.fromkeys(key for recipe in flat for key in recipe if key != "seed")
    changes = [Change(key, tuple(_text(recipe, key) for recipe in flat)) for key in keys]
    return [
        change
        for change in changes
        if len(set(change.values)) > 1 and not any(change.key.startswith(f"{section}.") for section in absent)
    ]


def origins(arms: Sequence[Arm]) -> list[tuple[str, tuple[str, ...]]]:
    """Rows of what the runs of each arm say of themselves, values that differ within an arm joined."""
    starts = [[start for run in arm.runs for start in run.starts] for arm in arms]
    rows = [("commit", "commit"), ("hardware", "hardware"), ("threads", "threads"), ("ranks", "ranks")]
    found = [(title, tuple(_joined(start.get(key) for start in of_arm) for of_arm in starts)) for title, key in rows]
    found.append(("software", tuple(_joined(_software(start) for start in of_arm) for of_arm in starts)))
    found.append(("seeds", tuple(", ".join(str(run.seed) for run in arm.runs) for arm in arms)))
    found.append(("started, resumed", tuple(_joined(start.get("started") for start in of_arm) for of_arm in starts)))
    return [(title, values) for title, values in found if any(value != _ABSENT for value in values)]


def _software(start: Mapping[str, Any]) -> str:
    versions = {key: start[key] for key in ("pixelcontrast", "python") if key in start} | start.get("libraries", {})
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _text(recipe: dict[str, Any], key: str) -> str:
    """A value as text; of a section that is null, its own key says so; of a path, its last part."""
    if key in recipe:
        return "none" if recipe[key] is None else _PATH.sub(r"\1", str(recipe[key]))
    return "set" if any(each.startswith(f"{key}.") for each in recipe) else _ABSENT


def _joined(values: Any) -> str:
    known = dict.fromkeys(str(value) for value in values if value is not None)
    return ", ".join(known) or _ABSENT
