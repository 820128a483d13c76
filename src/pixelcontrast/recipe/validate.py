"""A merged tree to option objects, by pydantic; what does not fit is said in the recipe's own terms, all at once."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from pixelcontrast.errors import RecipeError, did_you_mean
from pixelcontrast.recipe.kinds import chosen, hints, inside, known_names, members, option_classes
from pixelcontrast.recipe.text import Key, KeyPath, dotted

Options = TypeVar("Options")

_ALTERNATIVES = {int: "an integer", float: "a number", bool: "true or false", str: "a word", types.NoneType: "null"}
_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of", "finite_number"}
_BOUNDS |= {"too_short", "too_long", "string_too_short", "string_pattern_mismatch"}


@dataclass(frozen=True)
class _Spot:
    """Where a problem lies: its path, what may stand there, and the section around it.

    `unchosen` says that it is a name by which no kind is chosen.
    """

    path: KeyPath
    annotation: object
    value: object
    section: type | None = None
    unchosen: bool = False


def validate(options: type[Options], tree: object, *, places: Mapping[KeyPath, str], source: str) -> Options:
    """Build `options` from plain values.

    Args:
        options: The root option class.
        tree: Mappings, lists, words, numbers, true, false and null.
        places: Where each key was written, for messages.
        source: What messages call the recipe.

    Raises:
        RecipeError: With one line for each problem.
    """
    if wrong := _not_finite(tree, ()):
        found = (f"{dotted(path)}: expected a finite number, got {got}{_said_at(path, places)}" for path, got in wrong)
        raise RecipeError("\n".join(found))
    try:
        # JSON, for there a list may become a tuple while everything else stays strict.
        result: Options = _adapter(cast(Any, options)).validate_json(json.dumps(tree), strict=True)
        return result
    except ValidationError as error:
        lines = [_line(detail, options, tree, places) for detail in error.errors(include_url=False)]
    problems = list(dict.fromkeys(line for line in lines if line))
    if len(problems) == 1:
        raise RecipeError(problems[0]) from None
    raise RecipeError("\n".join([f"{source}: {len(problems)} problems", *(f"  {line}" for line in problems)])) from None


def _not_finite(tree: object, path: KeyPath) -> list[tuple[KeyPath, float]]:
    if isinstance(tree, dict | list):
        entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [found for key, value in entries for found in _not_finite(value, (*path, key))]
    return [(path, tree)] if isinstance(tree, float) and not math.isfinite(tree) else []


@cache
def _adapter(options: Any) -> Any:
    return TypeAdapter(options)


def _line(detail: Any, options: type, tree: object, places: Mapping[KeyPath, str]) -> str | None:
    kind, location = detail["type"], detail["loc"]
    if kind == "missing" and isinstance(location[-1], int):
        kind, location = "too_few_items", location[:-1]
    spot = _locate(location, options, tree)
    if spot is None:
        return None
    if kind in ("value_error", "assertion_error"):
        spot, text = _own_words(str(detail["ctx"]["error"]), spot)
    else:
        text = _explain(kind, detail, spot)
    return f"{dotted(spot.path) or 'recipe'}: {text}{_said_at(spot.path, places)}"


def _said_at(path: KeyPath, places: Mapping[KeyPath, str]) -> str:
    prefixes = (path[:length] for length in range(len(path), 0, -1))
    place = next((places[prefix] for prefix in prefixes if prefix in places), None)
    return f" ({place})" if place else ""


def _locate(location: tuple[Key, ...], annotation: object, tree: object) -> _Spot | None:
    """Follow pydantic's location, which also names the alternatives of unions, along the annotations.

    None for a complaint of an alternative that the recipe did not choose.
    """
    path: KeyPath = ()
    section: type | None = None
    steps = list(location)
    while steps:
        classes = option_classes(annotation)
        if len(classes) > 1 and isinstance(tree, dict):
            taken = chosen(tree, annotation)
            if taken is None:
                break
            if steps.pop(0) not in (taken.__name__, *known_names(taken)):
                return None
            annotation = taken
            continue
        if not isinstance(tree, dict | list):
            break  # what is left names the alternatives of a scalar
        key = steps.pop(0)
        section = classes[0] if classes else None
        annotation = inside(annotation, tree, key)
        path, tree = (*path, key), _value(tree, key)
    classes = option_classes(annotation)
    if len(classes) > 1 and isinstance(tree, dict) and chosen(tree, annotation) is None:
        return _Spot((*path, "name"), annotation, tree.get("name"), unchosen=True)
    return _Spot(path, annotation, tree, section)


def _value(tree: dict[str, object] | list[object], key: Key) -> object:
    if isinstance(tree, dict):
        return tree.get(str(key))
    return tree[int(key)] if int(key) < len(tree) else None


def _explain(kind: str, detail: Any, spot: _Spot) -> str:
    if spot.unchosen and spot.value is not None:
        return f"expected {_one_of(known_names(spot.annotation))}, got {show(spot.value)}{_nearest(spot)}"
    if kind == "missing" or spot.unchosen:
        return _missing(spot)
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = tuple(hints(spot.section)) if spot.section else ()
        return f"unknown key.{did_you_mean(str(spot.path[-1]), known) or ' Known here: ' + ', '.join(known)}"
    if kind in _BOUNDS:
        return f"{detail['msg'].removeprefix('Input ')}, got {show(spot.value)}"
    return f"expected {describe(spot.annotation)}, got {show(spot.value)}{_nearest(spot)}"


def _own_words(text: str, spot: _Spot) -> tuple[_Spot, str]:
    """What an option class says of itself; a field that it begins with becomes part of the path."""
    options = chosen(spot.value, spot.annotation)
    field, _, rest = text.partition(" ")
    key = field.removesuffix(":")
    if options is None or key not in hints(options) or not (field.endswith(":") or rest.startswith("must ")):
        return spot, text
    return replace(spot, path=(*spot.path, key)), rest


def _missing(spot: _Spot) -> str:
    words = (*known_names(spot.annotation), *_literals(spot.annotation))
    owner = known_names(spot.section) if spot.section else ()
    example = words[0] if words else f"PATH/TO/{owner[0]}" if owner and spot.path[-1] == "root" else "..."
    return f"needed, and has no default; give it in the recipe or by --set {dotted(spot.path)}={example}"


def _nearest(spot: _Spot) -> str:
    known = (*known_names(spot.annotation), *map(str, _literals(spot.annotation)))
    hint = did_you_mean(spot.value, known) if isinstance(spot.value, str) else ""
    return f".{hint}" if hint else ""


def _literals(annotation: object) -> tuple[object, ...]:
    return tuple(word for m in members(annotation) if get_origin(m) is Literal for word in get_args(m))


def describe(annotation: object) -> str:
    """What may stand at a place, in words: "an integer or null"."""
    parts = [part for part in map(_describe_one, members(annotation)) if part]
    return " or ".join(dict.fromkeys(parts)) or "something else"


def _describe_one(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _ALTERNATIVES:
        return _ALTERNATIVES[annotation]
    if origin is Literal:
        return _one_of(arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        same = len(set(arguments)) == 1
        inner = describe(arguments[0]) if same else ", ".join(map(describe, arguments))
        return f"a list of {len(arguments)}, each {inner}" if same else f"a list of {inner}"
    if origin in (tuple, list):
        return f"a list, each {describe(arguments[0])}"
    if origin is dict:
        return "a mapping"
    if isinstance(annotation, type) and (known := known_names(annotation)):
        return f"the section '{known[0]}'"
    if option_classes(annotation):
        return "a section"
    return "a path" if getattr(annotation, "__name__", "") == "Path" else getattr(annotation, "__name__", "")


def _one_of(words: Sequence[object]) -> str:
    shown = ", ".join(map(show, words))
    return f"one of {shown}" if len(words) > 1 else shown


def show(value: object) -> str:
    """A value as a message quotes it, cut short."""
    if isinstance(value, dict):
        return "a mapping"
    text = json.dumps(value) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 60 else f"{text[:57]}..."
