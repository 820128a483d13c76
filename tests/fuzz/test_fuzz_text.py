"""Whatever a recipe, a `--set`, a list or a configuration says, the answer is an error that says so, or success."""

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import damaged, texts

from pixelcontrast.compare.arms import choose_arms
from pixelcontrast.compare.study import _known_hours
from pixelcontrast.data import Folder
from pixelcontrast.engine.json_lines import read_lines
from pixelcontrast.engine.logging import drop_from
from pixelcontrast.engine.measuring import read_speed
from pixelcontrast.engine.scores import Scores
from pixelcontrast.errors import UserError
from pixelcontrast.nn.heads import OCR
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.saving import SavedModel, _read_config, write_model
from pixelcontrast.recipe.root import dump, load, parse
from pixelcontrast.recipe.schema import attribute_docs
from pixelcontrast.recipe.sources import find

fuzz = settings(settings.get_profile("fuzz"))
RECIPE = load("camvid/hrnet_w18_small")
KEYS = [*dump(RECIPE).replace(":", " ").split(), *attribute_docs(type(RECIPE.data)), "contrast.memory", "loss.0"]
VALUES = [
    "1",
    "-1",
    "0",
    "1e309",
    ".nan",
    "null",
    "true",
    "[1, 2]",
    "{}",
    "fcn",
    "sgd",
    "'",
    "&a",
    "*a",
    "!!int",
    "1e3",
]
SYNTAX = [
    ": ",
    "\n",
    "\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "=",
    ".",
    "base: ",
    "#",
    '"',
    "\t",
    "~",
    "/",
    "..",
    "\x00",
]

ASSIGNMENTS = st.builds("{}={}".format, st.sampled_from(KEYS) | texts(*KEYS, "."), texts(*VALUES, *SYNTAX))


def tried(read: Callable[[], object]) -> None:
    with suppress(UserError):
        read()


def written(content: bytes | str, name: str, read: Callable[[Path], object]) -> None:
    """Read a file of this content, alone in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        tried(lambda: read(path))


@fuzz
@given(texts(*KEYS, *VALUES, *SYNTAX))
def test_recipes(text: str) -> None:
    tried(lambda: parse(text))


@fuzz
@given(damaged(dump(RECIPE).encode()))
def test_damaged_recipes(content: bytes) -> None:
    written(content, "recipe.yaml", lambda path: load(str(path)))


@fuzz
@given(st.lists(ASSIGNMENTS | texts(*KEYS, "="), max_size=4))
def test_overrides(overrides: list[str]) -> None:
    tried(lambda: load("synthetic/hrnet_w18_small", overrides))


@fuzz
@given(texts("camvid/", "hrnet", ".yaml", "..", "/", "~", "\x00", "a" * 300))
def test_names_of_recipes(name: str) -> None:
    tried(lambda: find(name))


@fuzz
@given(texts("name", ": ", "=", "seed", "'", '"', "..", "/", " "))
def test_arms(definition: str) -> None:
    tried(lambda: choose_arms(["cross_entropy"], [definition], RECIPE))


@fuzz
@given(
    texts(
        "- road\n", "road", ": ", "0", "255", "{id: 3, color: [1, 2, 3]}", "\n", "*a", "&a ", "[", "color", ".inf", "id"
    ),
    st.booleans(),
)
def test_classes(text: str, drawn: bool) -> None:
    written(text, "classes.yaml", lambda path: Folder(root=str(path.parent), label_colors=drawn).label_space)


@fuzz
@given(
    texts("image,labels,split\n", "a.png", ",", "val", "\n", '"', "../", "/", "\x00", "b" * 300),
    st.sampled_from([".csv", ".jsonl", ".txt"]),
)
def test_lists(text: str, suffix: str) -> None:
    def read(path: Path) -> object:
        (path.parent / "classes.yaml").write_text("[a, b]")
        return Folder(root=str(path.parent), pairs=path.name).open("val")

    written(text, f"pairs{suffix}", read)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@fuzz
@given(st.lists(st.dictionaries(st.sampled_from(["image", "labels", "split", "x"]), JSON | st.just("val")), max_size=4))
def test_lists_of_any_json(rows: list[object]) -> None:
    def read(path: Path) -> object:
        (path.parent / "classes.yaml").write_text("[a, b]")
        return Folder(root=str(path.parent), pairs=path.name).open("val")

    written("\n".join(json.dumps(row) for row in rows), "pairs.jsonl", read)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("saved")
    options = ModelOptions(backbone="test_resnet", head=OCR())
    saved = SavedModel(
        model=options, num_classes=2, class_names=("a", "b"), palette=((0, 0, 0), (1, 1, 1)),
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    write_model(saved, {}, folder)
    content: dict[str, object] = json.loads((folder / "config.json").read_text())
    return content


@fuzz
@given(data=st.data())
def test_configurations(configuration: dict[str, object], data: st.DataObject) -> None:
    keys = st.sampled_from([*configuration, "odd"])
    changed = configuration | data.draw(st.dictionaries(keys, JSON, max_size=2))
    model = changed.get("model")
    if isinstance(model, dict) and data.draw(st.booleans()):
        changed["model"] = model | data.draw(st.dictionaries(st.sampled_from([*model, "odd"]), JSON, max_size=2))
    text = json.dumps(changed)
    content = data.draw(damaged(text.encode())) if data.draw(st.booleans()) else text
    written(content, "config.json", _read_config)


SCORES = {"mIoU": 1.0, "aAcc": 1.0, "mAcc": 1.0, "IoU": {"a": None}, "accuracy": {}, "label_share": {}, "absent": []}


@fuzz
@given(st.dictionaries(st.sampled_from([*SCORES, "protocol", "images", "counts", "step"]), JSON, max_size=4), st.data())
def test_scores(changes: dict[str, object], data: st.DataObject) -> None:
    text = json.dumps(SCORES | {"protocol": "", "images": 1, "counts": [[1]], "step": 1} | changes)
    content = data.draw(damaged(text.encode())) if data.draw(st.booleans()) else text
    written(content, "scores.json", Scores.load)
    written(content, "compare.json", _known_hours)


LINE = json.dumps({"step": 3, "loss": 0.5, "images_per_second": 2.0, "peak_bytes": 10, "val/mIoU": 3}) + "\n"


@fuzz
@given(damaged((LINE * 3).encode()) | st.lists(JSON, max_size=3).map(lambda v: "\n".join(map(json.dumps, v)).encode()))
def test_files_of_lines(content: bytes) -> None:
    for read in (read_lines, read_speed, lambda path: drop_from(2, path)):
        written(content, "metrics.jsonl", read)
