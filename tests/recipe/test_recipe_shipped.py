"""Laws of the real root of options and of the recipes that ship with the package."""

import dataclasses
import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcontrast.contrast import preset
from pixelcontrast.engine.oddities import oddities
from pixelcontrast.errors import DataError, RecipeError
from pixelcontrast.recipe.difference import differences
from pixelcontrast.recipe.kinds import hints, item, names, option_classes
from pixelcontrast.recipe.root import Recipe, dump, load, parse, recipe_schema
from pixelcontrast.recipe.schema import attribute_docs
from pixelcontrast.recipe.sources import SHIPPED, find, shipped_names, summary
from pixelcontrast.recipe.text import read

PRESETS = [name for name in shipped_names() if name.startswith("contrast/")]
PARTS = [name for name in shipped_names() if name.startswith(("base/", "model/"))]
WHOLE = [name for name in shipped_names() if name not in (*PRESETS, *PARTS)]


def all_option_classes(options: type = Recipe) -> set[type]:
    found = {options}
    for annotation in hints(options).values():
        for place in (annotation, item(annotation, 0)):
            for inner in option_classes(place):
                found |= all_option_classes(inner)
    return found


OPTIONS = sorted(all_option_classes(), key=lambda options: options.__name__)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.__name__)
def test_options_are_frozen_strict_and_documented(options: type) -> None:
    assert options.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(options) if field.init)
    assert options.__pydantic_config__ == {"extra": "forbid"}
    assert inspect.getdoc(options)
    undocumented = set(hints(options)) - {"name"} - set(attribute_docs(options))
    assert not undocumented, "write them down under Attributes: in the class docstring"


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.__name__)
def test_a_kinds_name_is_its_default(options: type) -> None:
    if names(options):
        (field,) = (field for field in dataclasses.fields(options) if field.name == "name")
        assert field.default in names(options)


@pytest.mark.parametrize("name", WHOLE)
def test_a_shipped_recipe_loads_and_is_a_fixed_point_of_dump(name: str) -> None:
    recipe = load(name)
    assert parse(dump(recipe)) == recipe
    assert dump(parse(dump(recipe))) == dump(recipe)


@pytest.mark.parametrize("name", WHOLE)
def test_a_shipped_recipe_says_what_to_expect(name: str) -> None:
    source = find(name)
    header = [line for line in source.text.splitlines() if line.startswith("#")]
    assert header[0] == "# yaml-language-server: $schema=../schema.json"
    assert summary(source).endswith(".")
    for key in ("Command:", "Hardware:", "Time:", "Expected:", "Spread:"):
        assert any(line.startswith(f"# {key}") for line in header)
    (command,) = (line for line in header if line.startswith("# Command:"))
    assert f"pixelcontrast train {name}" in command


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_that_of_the_library_whatever_it_is_laid_on(name: str) -> None:
    # start_step of `paper` is the run's own; all else is the method.
    assert load("synthetic/hrnet_w18_small", [f"base={name}"]).contrast == preset(name.removeprefix("contrast/"))
    assert load("synthetic/hrnet_w18_small", ["contrast=null", f"base={name}"]).contrast is not None


@pytest.mark.parametrize("name", PARTS)
def test_a_part_says_what_it_is_and_is_the_base_of_a_recipe(name: str) -> None:
    assert summary(find(name)).endswith(".")
    bases = [read(find(whole).text, source=whole).tree.get("base", "") for whole in WHOLE]
    assert any(name in base for base in bases)


@pytest.mark.parametrize("data", ["cityscapes", "pascal_context", "coco_stuff", "camvid"])
@pytest.mark.parametrize("model", ["deeplabv3_r101", "hrnet_w48", "ocr_hrnet_w48"])
def test_models_differ_in_the_model_alone_and_baselines_in_contrast_alone(data: str, model: str) -> None:
    recipe, other = load(f"{data}/{model}"), load(f"{data}/hrnet_w48")
    assert replace(recipe, model=other.model) == other
    assert replace(recipe, contrast=None) == load(f"{data}/{model}", ["contrast=null"])
    assert recipe.contrast is not None
    assert recipe.contrast.memory is not None


def test_a_preset_alone_is_no_run() -> None:
    with pytest.raises(RecipeError, match="data: needed"):
        load("contrast/paper")


def test_data_that_is_not_named_is_asked_for_in_one_line() -> None:
    with pytest.raises(DataError, match=r"data\.root=PATH") as caught:
        load("camvid/hrnet_w18_small").data.open("train")
    assert len(str(caught.value).splitlines()) == 1


def test_the_shipped_schema_is_that_of_the_options() -> None:
    stored = json.loads((SHIPPED / "schema.json").read_text())
    remedy = "run `pixelcontrast schema --output src/pixelcontrast/recipes/schema.json`"
    assert stored == json.loads(json.dumps(recipe_schema())), remedy


def changes() -> st.SearchStrategy[list[str]]:
    one = st.one_of(
        st.sampled_from(["data=synthetic", "data=camvid", "optimizer=adamw", "optimizer=sgd", "schedule=cosine"]),
        st.sampled_from(["model.head=fcn", "model.head=hrnet", "contrast=null", "contrast.memory=null"]),
        st.sampled_from(["contrast.mining=hardest", "contrast.memory.dtype=bfloat16", "trainer.precision=bf16"]),
        st.sampled_from(["data.root=off", "data.root='1e-3'", "data.crop_size=[64, 96]", "trainer.devices=auto"]),
        st.sampled_from(["base=contrast/released", "base=contrast/paper", "loss.0.weight=2", "loss=[cross_entropy]"]),
        st.floats(1e-9, 1e3).map("optimizer.lr={}".format),
        st.integers(1, 10**6).map("trainer.max_steps={}".format),
    )
    return st.lists(one, max_size=6)


@settings(deadline=None)
@given(changes())
def test_a_dumped_recipe_loads_as_itself(overrides: list[str]) -> None:
    recipe = load("camvid/hrnet_w18_small", overrides)
    assert parse(dump(recipe)) == recipe
    assert differences(recipe, parse(dump(recipe))) == ()


def test_another_optimiser_does_not_inherit_the_learning_rate() -> None:
    recipe = load("camvid/hrnet_w18_small", ["optimizer=adamw"])
    assert recipe.optimizer == type(recipe.optimizer)()


def test_another_data_set_keeps_how_it_is_fed() -> None:
    recipe = load("camvid/hrnet_w18_small", ["data=synthetic"])
    assert recipe.data.crop_size == load("camvid/hrnet_w18_small").data.crop_size


class TestDifferences:
    def test_what_decides_the_result_is_told(self) -> None:
        one = load("synthetic/hrnet_w18_small", ["contrast.memory.pixels_per_class=7"])
        two = load("synthetic/hrnet_w18_small", ["contrast.memory.pixels_per_class=8", "optimizer=sgd"])
        told = differences(one, two)
        assert "contrast.memory.pixels_per_class: 7, now 8" in told
        assert "optimizer.name: adamw, now sgd" in told

    def test_a_section_that_went_or_came_is_one_line(self) -> None:
        one = load("synthetic/hrnet_w18_small")
        two = load("synthetic/hrnet_w18_small", ["contrast=null"])
        assert differences(one, two) == ("contrast: given, now None",)
        assert differences(two, one) == ("contrast: None, now given",)

    def test_where_it_runs_does_not_count(self, tmp_path: Path) -> None:
        one = load("synthetic/hrnet_w18_small")
        two = load("synthetic/hrnet_w18_small", [f"data.root={tmp_path}", "data.workers=5", "trainer.accelerator=cpu"])
        assert differences(one, two) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("contrast.start_step=360", "start_step is 360, of trainer.max_steps 360"),
        ("contrast.weight=0", "contrast.weight is 0"),
        ("schedule.warmup_steps=360", "warmup_steps is 360, of trainer.max_steps 360"),
        ("contrast.start_step=359", None),
        ("schedule.warmup_steps=359", None),
        ("contrast=null", None),
    ],
)
def test_what_is_never_reached_is_told(change: str, reason: str | None) -> None:
    told = [*oddities(load("synthetic/hrnet_w18_small", [change]))]
    assert told == [] if reason is None else reason in told[0]


@pytest.mark.parametrize(
    ("capability", "change", "is_told"),
    [
        ("AVX2", "trainer.precision=bf16", True),
        ("AVX512", "trainer.precision=bf16", False),
        ("AVX2", "trainer.precision=32", False),
        ("AVX2", "trainer.accelerator=gpu trainer.precision=bf16", False),
    ],
)
def test_bfloat16_without_its_instructions_is_told(
    capability: str, change: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    told = [*oddities(load("synthetic/hrnet_w18_small", ["trainer.accelerator=cpu", *change.split()]))]
    assert ["set trainer.precision=32" in each for each in told] == [True] * is_told
