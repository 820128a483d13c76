"""JSON Schema of recipes, for editors that complete and check YAML; described by the option classes' docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pixelcontrast.recipe.kinds import hints, item, known_names

_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")
_BASE = {
    "description": "Recipe, or list of recipes, that this one changes: shipped names, or paths relative to this file.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}


def schema(options: type) -> dict[str, Any]:
    """JSON Schema of a recipe file for the root option class.

    A file may leave out what its base gives, so nothing is required; a word may stand for a section's name.
    """
    document = TypeAdapter(options).json_schema(schema_generator=_Generator)
    document["properties"]["base"] = _BASE
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return document


def summary(options: type) -> str:
    """First line of an option class's docstring."""
    return (inspect.getdoc(options) or "").split("\n")[0]


def attribute_docs(options: type) -> Mapping[str, str]:
    """What the `Attributes:` of an option class and its parents say of each field, on one line each."""
    found: dict[str, str] = {}
    for parent in reversed(options.__mro__):
        found |= _attributes(inspect.cleandoc(parent.__doc__ or ""))
    return found


def _attributes(docstring: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    _, _, section = docstring.partition("\nAttributes:\n")
    for line in section.splitlines():
        if line and not line.startswith("    "):
            break
        if match := _ATTRIBUTE.match(line):
            name = match.group(1)
            found[name] = match.group(2).strip()
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


class _Generator(GenerateJsonSchema):
    """Pydantic's generator with our descriptions, and with partial files and short forms allowed."""

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        """An option class: its summary, its fields' documentation, nothing required."""
        document = super().dataclass_schema(schema)
        options = schema["cls"]
        document["description"] = summary(options)
        document.pop("required", None)
        docs, annotations = attribute_docs(options), hints(options)
        for name, field in document.get("properties", {}).items():
            short = _with_short_form(field, annotations[name])
            document["properties"][name] = {**short, "description": docs[name]} if name in docs else short
        if names := known_names(options):
            document["properties"]["name"] = {"enum": list(names), "description": docs.get("name", "The kind.")}
        return document

    def tagged_union_schema(self, schema: Any) -> JsonSchemaValue:
        """A choice of kinds: any of them, for a part of a section may fit several."""
        document = super().tagged_union_schema(schema)
        document.pop("discriminator", None)
        return {**document, "anyOf": document.pop("oneOf")}


def _with_short_form(field: JsonSchemaValue, annotation: object) -> JsonSchemaValue:
    """The schema of a field, with a word allowed for a section's name."""
    if "items" in field:
        return {**field, "items": _with_short_form(field["items"], item(annotation, 0))}
    names = list(known_names(annotation))
    return {"anyOf": [{"enum": names}, field]} if names else field
