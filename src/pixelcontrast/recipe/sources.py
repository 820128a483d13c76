"""Finds recipes, shipped or the user's own, and follows `base:`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pixelcontrast.errors import RecipeError, did_you_mean
from pixelcontrast.files import expanded, is_there
from pixelcontrast.recipe.merge import merge, nested, override, settled
from pixelcontrast.recipe.text import MOST_CHARACTERS, Document, KeyPath, read, shortened

SHIPPED = Path(str(resources.files("pixelcontrast") / "recipes"))
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Source:
    """A recipe's text and where it lies.

    Attributes:
        name: What messages call it: a shipped name, or the path as it was given.
        path: The file; None for a text that is in no file.
        text: Its YAML.
    """

    name: str
    path: Path | None
    text: str


def shipped_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package, such as `camvid/hrnet_w18_small`."""
    return tuple(sorted(path.relative_to(SHIPPED).with_suffix("").as_posix() for path in SHIPPED.rglob("*.yaml")))


def find(name: str, *, beside: Path | None = None) -> Source:
    """The recipe called `name`: a path if it ends in .yaml or .yml, else a shipped name.

    Args:
        name: Path or name.
        beside: Folder that a relative path starts from; the working directory if None.

    Raises:
        RecipeError: If there is none; the text names the nearest one.
    """
    if name.endswith(SUFFIXES):
        path = (beside or Path()) / expanded(name)
        if not is_there(path):
            raise RecipeError(f"no recipe at {path}; a name without .yaml is a shipped one, see `pixelcontrast list`")
        return Source(str(path), path, _text(path))
    known = shipped_names()
    if name not in known:
        file = " A recipe of your own ends in .yaml." if "." in name or is_there(Path(name)) else ""
        near = did_you_mean(name, known) or f" Shipped are {', '.join(known)}."
        raise RecipeError(f"no shipped recipe is called '{shortened(name)}'.{near}{file}")
    path = SHIPPED / f"{name}.yaml"
    return Source(name, path, _text(path))


def summary(source: Source) -> str:
    """First comment line of a recipe that is not for editors."""
    return first_comment(source.text)


def first_comment(text: str) -> str:
    """First comment line of a YAML text that is not for editors; empty if there is none."""
    comments = (line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#"))
    return next((line for line in comments if line and not line.startswith("yaml-language-server")), "")


def resolve(source: Source, root: type, *, overrides: Sequence[str] = ()) -> Document:
    """The recipe's tree with its bases under it and `--set` on it, settled for the option class `root`.

    `--set base=NAME` lays a whole recipe, such as the preset `contrast/released`, on what there is at that point.

    Raises:
        RecipeError: For unreadable text, a missing base, a circle of bases, or a `--set` that cannot be read.
    """
    document = _with_bases(source, root, ())
    for assignment in overrides:
        path, value = override(assignment)
        try:
            document = _laid(document, path, value, root)
        except RecipeError as error:
            raise RecipeError(f"--set {assignment}: {error}") from None
    return Document(settled(document.tree, root), document.places)


def _laid(under: Document, path: tuple[str, ...], value: Document, root: type) -> Document:
    if path == ("base",):
        for name in _bases(value.tree, "--set"):
            under = _stacked(under, _with_bases(find(name), root, ()), root)
        return under
    start = tuple(int(part) if part.isdecimal() else part for part in path)
    sections = (start[:length] for length in range(1, len(start)))
    places: dict[KeyPath, str] = {section: "--set" for section in sections if section not in under.places}
    places |= {(*start, *inner): place for inner, place in value.places.items()}
    return _stacked(under, Document(nested(path, value.tree), places), root)


def _with_bases(source: Source, root: type, trail: tuple[str, ...]) -> Document:
    label = str(source.path.resolve()) if source.path else source.name
    if label in trail:
        circle = " -> ".join(Path(step).name for step in (*trail[trail.index(label) :], label))
        raise RecipeError(f"recipes that are each other's base: {circle}")
    own = read(source.text, source=source.name)
    if own.tree is not None and not isinstance(own.tree, dict):
        raise RecipeError(
            f"{source.name}: expected a mapping of sections (model, data, ...), got {type(own.tree).__name__}"
        )
    tree = dict(own.tree or {})
    document = Document({}, {})
    for name in _bases(tree.pop("base", None), source.name):
        try:
            base = find(name, beside=source.path.parent if source.path else None)
        except RecipeError as error:
            raise RecipeError(f"base: {error} ({own.places[('base',)]})") from None
        document = _stacked(document, _with_bases(base, root, (*trail, label)), root)
    try:
        return _stacked(document, Document(tree, own.places), root)
    except RecipeError as error:
        raise RecipeError(f"{source.name}: {error}") from None


def _bases(value: object, source: str) -> list[str]:
    names = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(name, str) for name in names):
        raise RecipeError(f"{source}: base: expected the name or path of a recipe, or a list of them, got {value}")
    return [str(name) for name in names]


def _stacked(under: Document, over: Document, root: type) -> Document:
    return Document(merge(under.tree, over.tree, root), {**under.places, **over.places})


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_CHARACTERS:
            raise RecipeError(f"{path} holds {path.stat().st_size} bytes; a recipe has {MOST_CHARACTERS} at most")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from None
