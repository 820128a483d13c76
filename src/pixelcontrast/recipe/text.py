"""YAML text to plain values and back, with YAML 1.2's scalars: `1e-3` is a number, `off` is a word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from pixelcontrast.errors import RecipeError

Key = str | int
KeyPath = tuple[Key, ...]

_SCALARS = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN\0"),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
_KNOWN_TAGS = {*_SCALARS, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))}
_BASES = {"0o": 8, "0x": 16}
MOST_CHARACTERS = 1 << 20
_MOST_VALUES, _LONGEST_NUMBER = 100_000, 300


class _Reader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class _Writer(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        """Write equal values out, each in its place."""
        return True


for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Reader, _Writer):
        _class.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first])


def _represent_list(writer: _Writer, values: list[object]) -> yaml.Node:
    flow = not any(isinstance(value, list | dict) for value in values)
    return writer.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flow)


def _represent_word(writer: _Writer, word: str) -> yaml.Node:
    # YAML folds these breaks in plain and single-quoted words; double quotes escape them.
    style = '"' if _BREAKS.intersection(word) else None
    return writer.represent_scalar("tag:yaml.org,2002:str", word, style=style)


_BREAKS = frozenset("\r\x85\u2028\u2029")
_Writer.add_representer(list, _represent_list)
_Writer.add_representer(str, _represent_word)


@dataclass(frozen=True)
class Document:
    """Plain values, and where each was written.

    Attributes:
        tree: Mappings, lists, words, numbers, true, false and null.
        places: Of every key, as "recipe.yaml, line 3".
    """

    tree: object
    places: Mapping[KeyPath, str]


def read(text: str, *, source: str) -> Document:
    """Parse one YAML document.

    Args:
        text: The document.
        source: What messages call it: a file, or `--set`.

    Raises:
        RecipeError: If the text is not YAML, holds a key twice, holds a tag, or stands for more than a recipe can hold.
    """
    if len(text) > MOST_CHARACTERS:
        raise RecipeError(f"{source}: {len(text)} characters; a recipe has {MOST_CHARACTERS} at most")
    try:
        node = yaml.compose(text, Loader=_Reader)
        reader = _Plain(source)
        return Document(reader.value(node, ()) if node else None, reader.places)
    except RecursionError:
        raise RecipeError(f"{source}: nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"{source}, line {line}: not YAML: {error.problem or error}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not YAML: {error}") from None


def write(tree: object) -> str:
    """Block style, keys in the given order, lists of scalars on one line."""
    return yaml.dump(tree, Dumper=_Writer, sort_keys=False, width=120, allow_unicode=True)


class _Plain:
    """Turns YAML's nodes into plain values and keeps each key's line."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.places: dict[KeyPath, str] = {}
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self.places[path] = self._place(node)
        if len(self.places) > _MOST_VALUES:  # a few lines of aliases can stand for billions
            raise RecipeError(f"{self._place(node)}: more than {_MOST_VALUES} values, aliases written out")
        if node in self._open:
            raise RecipeError(f"{self._place(node)}: an alias inside its own anchor")
        self._open.append(node)
        try:
            if node.tag not in _KNOWN_TAGS:
                raise RecipeError(f"{self._place(node)}: the tag {node.tag} is not used in recipes; write plain values")
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            self.places[(*path, "name")] = self.places[path]  # where a word stands for a section's name
            return self._scalar(node)
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise RecipeError(f"{self._place(key_node)}: a key must be a word")
            key = str(key_node.value)
            if key in values:
                raise RecipeError(f"{self._place(key_node)}: {dotted((*path, key))}: given twice; keep one of the two")
            values[key] = self.value(value_node, (*path, key))
            self.places[(*path, key)] = self._place(key_node)
        return values

    def _scalar(self, node: yaml.Node) -> object:
        text = str(node.value)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "str":
            return text
        if node.tag not in _SCALARS or not re.fullmatch(_SCALARS[node.tag][0], text):  # a tag that was written out
            raise RecipeError(f"{self._place(node)}: '{shortened(text)}' is no {kind}; write plain values without tags")
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) > _LONGEST_NUMBER:
                raise RecipeError(f"{self._place(node)}: a number of {len(text)} digits")
            case "int":
                return int(text, _BASES.get(text[:2], 10))
            case _:
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))

    def _place(self, node: yaml.Node) -> str:
        return f"{self.source}, line {node.start_mark.line + 1}" if self.source != "--set" else self.source


def shortened(word: str) -> str:
    """A word as a message quotes it."""
    return word if len(word) <= 80 else f"{word[:77]}..."


def dotted(path: Sequence[Key]) -> str:
    """A key's path as `--set` writes it: `loss.0.weight`."""
    return ".".join(map(str, path))
