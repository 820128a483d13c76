"""Lays one recipe on another: inheritance and `--set`, led by the option classes.

Changing a kind drops the old kind's keys, except those that both kinds inherit from one class: switching the data set
keeps `batch_size`, switching the optimiser does not keep a learning rate that was meant for the other.
"""

from __future__ import annotations

from typing import Literal, get_args, get_origin

from pixelcontrast.errors import RecipeError
from pixelcontrast.recipe.kinds import chosen, default_tree, hints, inside, item, members, option_classes, shared_fields
from pixelcontrast.recipe.text import Document, Key, read, shortened

_DEEPEST, _LONGEST = 16, 64


def merge(under: object, over: object, annotation: object) -> object:
    """`over` laid on `under`, for a place that may hold `annotation`.

    Mappings are merged key by key, and a mapping over null starts from the section's defaults. Anything else replaces
    what was there; so does a list, but a mapping of positions over a list (`loss: {0: {weight: 2}}`, or
    `--set loss.0.weight=2`) changes its items.
    """
    under, over = _short_form(under, annotation), _short_form(over, annotation)
    if not isinstance(over, dict):
        return over
    if item(annotation, 0) is not None and not option_classes(annotation):
        return _merge_items(under, over, annotation)
    return _merge_keys(under if isinstance(under, dict) else {}, over, annotation)


def settled(tree: object, annotation: object) -> object:
    """The tree with short forms written out, and numbers in the form that the options ask for.

    A whole float stands for an integer (`1e3`), and a number for a word that looks like one (`precision: 32`). Where
    there is a choice of kinds and none is named, the name is null: no kind is guessed from its keys.
    """
    tree = _short_form(tree, annotation)
    if isinstance(tree, dict):
        tree = {"name": None, **tree} if len(option_classes(annotation)) > 1 else tree
        return {key: settled(value, inside(annotation, tree, key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [settled(value, item(annotation, index)) for index, value in enumerate(tree)]
    if isinstance(tree, int | float) and not isinstance(tree, bool):
        return _number(tree, annotation)
    return tree


def override(assignment: str) -> tuple[tuple[str, ...], Document]:
    """Split `a.b=value` into the key's path and the value, which is YAML.

    Raises:
        RecipeError: If there is no `=`, no key, or the value is not YAML.
    """
    key, equals, value = assignment.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise RecipeError(f"--set {shortened(assignment)}: expected KEY=VALUE, such as data.batch_size=8")
    if len(path) > _DEEPEST or max(map(len, path)) > _LONGEST:
        raise RecipeError(f"--set {shortened(assignment)}: no key is so deep or so long")
    try:
        return path, read(value, source="--set")
    except RecipeError as error:
        reason = str(error).removeprefix("--set, line 1: ").removeprefix("--set: ")
        raise RecipeError(f"--set {shortened(assignment)}: {reason}; a word with such signs needs quotes") from None


def nested(path: tuple[str, ...], value: object) -> object:
    """`{a: {b: value}}` for the path a.b."""
    for key in reversed(path):
        value = {key: value}
    return value


def _short_form(tree: object, annotation: object) -> object:
    named = any("name" in hints(options) for options in option_classes(annotation))
    return {"name": tree} if named and isinstance(tree, str) else tree


def _merge_keys(under: dict[str, object], over: dict[str, object], annotation: object) -> dict[str, object]:
    old, new = chosen(under, annotation), chosen({**under, **over}, annotation)
    if old is not None and new is not None and old is not new:
        kept = shared_fields(old, new)
        under = {key: value for key, value in under.items() if key in kept}
    result = dict(under)
    for key, value in over.items():
        start = under.get(key) if key in under or new is None else default_tree(new, key)
        result[key] = merge(start, value, inside(annotation, {**under, **over}, key))
    return result


def _merge_items(under: object, over: dict[str, object], annotation: object) -> object:
    items = list(under) if isinstance(under, list) else []
    for key, value in over.items():
        if not _is_position(key, len(items)):
            raise RecipeError(f"'{key}' is not a position in a list of {len(items)}; positions start at 0")
        items[int(key)] = merge(items[int(key)], value, item(annotation, int(key)))
    return items


def _is_position(key: Key, count: int) -> bool:
    return str(key).isdecimal() and len(str(key)) <= _LONGEST and int(key) < count


def _number(value: float, annotation: object) -> object:
    alternatives = members(annotation)
    words = {word for member in alternatives if get_origin(member) is Literal for word in get_args(member)}
    if value in words or float in alternatives:
        return value
    if isinstance(value, float) and value.is_integer() and int in alternatives:
        return int(value)
    return str(value) if str(value) in words else value
