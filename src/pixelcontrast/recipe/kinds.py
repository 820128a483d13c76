"""What a recipe may hold at each place, read off the annotations of the option classes."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Annotated, Literal, Union, cast, get_args, get_origin, get_type_hints


def members(annotation: object) -> tuple[object, ...]:
    """The alternatives of a union, or the annotation itself; wrappers taken off."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) for member in members(part))
    return (annotation,)


def option_classes(annotation: object) -> tuple[type, ...]:
    """The option classes that may stand at a place."""
    return tuple(member for member in members(annotation) if isinstance(member, type) and is_dataclass(member))


@cache
def hints(options: type) -> Mapping[str, object]:
    """Each field of an option class and its annotation."""
    resolved = get_type_hints(options, include_extras=True)
    return {field.name: resolved[field.name] for field in _fields(options) if field.init}


def names(options: type) -> tuple[str, ...]:
    """The names that choose an option class: its field `name`, a literal. Empty if it has none."""
    annotation = hints(options).get("name")
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def known_names(annotation: object) -> tuple[str, ...]:
    """The names that may be chosen at a place."""
    return tuple(name for options in option_classes(annotation) for name in names(options))


def chosen(tree: object, annotation: object) -> type | None:
    """The option class that `tree` chooses by its name; the only one where there is one; None if it chooses none."""
    classes = option_classes(annotation)
    if not isinstance(tree, dict) or not classes:
        return None
    if len(classes) == 1:
        return classes[0]
    return next((options for options in classes if tree.get("name") in names(options)), None)


def item(annotation: object, index: int) -> object | None:
    """Annotation of an item of a list; None where no list may stand."""
    for member in members(annotation):
        arguments = get_args(member)
        if get_origin(member) is list or (get_origin(member) is tuple and arguments[-1] is Ellipsis):
            return cast(object, arguments[0])
        if get_origin(member) is tuple:
            return cast(object, arguments[index]) if index < len(arguments) else None
    return None


def inside(annotation: object, tree: object, key: str | int) -> object | None:
    """Annotation of what lies under `key`; None if nothing is known to lie there."""
    if isinstance(key, int):
        return item(annotation, key)
    options = chosen(tree, annotation)
    if options is not None:
        return hints(options).get(key)
    return next((get_args(m)[1] for m in members(annotation) if get_origin(m) is dict), None)


def shared_fields(one: type, other: type) -> frozenset[str]:
    """Fields that two kinds inherit from one class: what survives when a recipe changes the kind."""
    if one is other:
        return frozenset(hints(one))
    owners = set(one.__mro__) & set(other.__mro__)
    return frozenset(name for owner in owners if is_dataclass(owner) for name in hints(cast(type, owner))) - {"name"}


def default_tree(options: type, key: str) -> object:
    """Default of a field as plain values: of a section, its name and what differs from the section's own defaults."""
    field = next((field for field in _fields(options) if field.name == key), None)
    value = _default(field) if field else None
    if is_dataclass(value):
        return explicit(value)
    if isinstance(value, tuple):
        return [explicit(entry) if is_dataclass(entry) else plain(entry) for entry in value]
    return plain(value)


def explicit(options: object) -> dict[str, object]:
    """An option object as plain values: its name, and only what differs from its class's defaults."""
    tree: dict[str, object] = {}
    for field in _fields(type(options)):
        value = getattr(options, field.name)
        if field.init and (field.name == "name" or value != _default(field)):
            tree[field.name] = explicit(value) if is_dataclass(value) else plain(value)
    return tree


def plain(value: object) -> object:
    """Option objects, tuples and paths as mappings, lists and words: all of it, defaults included."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in _fields(type(value)) if field.init}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _fields(options: type) -> list[Field[object]]:
    """Fields in their order, but the name first."""
    return sorted(fields(options), key=lambda field: field.name != "name")


def _default(field: Field[object]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default
