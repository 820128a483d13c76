"""Laws of inheritance, `--set` and validation, on a toy tree of options."""

import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from toy_options import Contrast, Fancy, Memory, Other, Plain, Rooms, Streets, Term, Toy

from pixelcontrast.errors import RecipeError
from pixelcontrast.recipe.kinds import plain
from pixelcontrast.recipe.schema import attribute_docs, schema
from pixelcontrast.recipe.sources import Source, find, resolve
from pixelcontrast.recipe.text import write
from pixelcontrast.recipe.validate import validate

MESSAGES = yaml.safe_load((Path(__file__).parent / "messages.yaml").read_text())


def toy(text: str, *overrides: str, path: Path | None = None) -> Toy:
    document = resolve(Source("r.yaml", path, text), Toy, overrides=overrides)
    return validate(Toy, document.tree, places=document.places, source="r.yaml")


def message(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        toy(text, *overrides)
    return str(caught.value)


class TestSet:
    def test_a_word_stands_for_a_sections_name(self) -> None:
        assert toy("data: rooms", "model.head=fancy").model.head == Fancy()
        assert toy("{data: rooms, model: {head: fancy}, loss: [other]}").loss == (Other(),)

    def test_changing_a_kind_drops_the_old_kinds_keys(self) -> None:
        text = "{data: rooms, model: {head: {name: plain, width: 7}}}"
        assert toy(text, "model.head=fancy").model.head == Fancy()
        assert toy(text, "model.head.name=fancy").model.head == Fancy()

    def test_naming_the_same_kind_keeps_its_keys(self) -> None:
        assert toy("{data: rooms, model: {head: {name: plain, width: 7}}}", "model.head=plain").model.head.width == 7

    def test_what_both_kinds_inherit_survives(self) -> None:
        text = "data: {name: streets, root: here, coarse: true, batch_size: 3}"
        assert toy(text, "data=rooms").data == Rooms(batch_size=3)

    def test_a_null_section_starts_from_its_defaults(self) -> None:
        for text in ("data: rooms", "{data: rooms, contrast: null}"):
            assert toy(text, "contrast.temperature=0.2").contrast == Contrast(temperature=0.2)
            assert toy(text, "contrast.memory.rows=5").contrast == Contrast(memory=Memory(rows=5))

    def test_a_section_can_be_made_null(self) -> None:
        assert toy("{data: rooms, contrast: {temperature: 0.3}}", "contrast=null").contrast is None
        assert toy("{data: rooms, contrast: {temperature: 0.3}}", "contrast=null", "contrast={}").contrast == Contrast()

    def test_items_of_a_list_are_set_by_position(self) -> None:
        assert toy("data: rooms", "loss.1.weight=2").loss == (Term(), Other(weight=2))
        assert toy("data: rooms", "loss.0=other").loss == (Other(), Other(weight=0.4))
        assert toy("data: rooms", "data.size.1=9").data.size == (4, 9)

    def test_a_default_section_keeps_what_its_owner_set(self) -> None:
        assert toy("data: rooms", "model.dropout=0").model.head == Plain(width=32)
        assert toy("{data: rooms, model: {head: {}}}").model.head == Plain(width=32)
        assert toy("{data: rooms, model: {head: {name: plain}}}").model.head == Plain(width=32)

    def test_later_ones_win(self) -> None:
        assert toy("data: rooms", "seed=1", "seed=2").seed == 2

    def test_numbers_fit_themselves_to_the_option(self) -> None:
        result = toy("data: rooms", "seed=1e3", "model.dropout=1", "precision=32", "model.head={name: fancy, depth: 2}")
        assert (result.seed, result.model.dropout, result.precision) == (1000, 1.0, "32")
        assert result.model.head == Fancy(depth=2)


class TestBases:
    def test_later_bases_win_and_the_recipe_over_all(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "one.yaml").write_text("{data: {name: rooms, count: 1, batch_size: 1}, seed: 1}")
        (tmp_path / "sub" / "two.yaml").write_text("{base: ../one.yaml, data: {count: 2}}")
        (tmp_path / "three.yaml").write_text("contrast: {temperature: 0.5}")
        top = tmp_path / "top.yaml"
        top.write_text("{base: [sub/two.yaml, three.yaml], seed: 3, contrast: {mining: hardest}}")
        result = toy(top.read_text(), path=top)
        assert result.data == Rooms(count=2, batch_size=1)
        assert result.contrast == Contrast(temperature=0.5, mining="hardest")
        assert result.seed == 3

    def test_a_circle_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("base: b.yaml")
        (tmp_path / "b.yaml").write_text("base: a.yaml")
        with pytest.raises(RecipeError, match="each other's base: a.yaml -> b.yaml -> a.yaml"):
            resolve(find(str(tmp_path / "a.yaml")), Toy)

    def test_a_missing_base_is_said_with_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("seed: 1\nbase: camvid/hrnet_w18_smal\n")
        with pytest.raises(RecipeError, match=r"(?s)Did you mean 'camvid/hrnet_w18_small'\?.*a.yaml, line 2"):
            resolve(find(str(tmp_path / "a.yaml")), Toy)

    def test_a_child_may_change_the_kind(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("{data: {name: streets, root: here, batch_size: 2}}")
        path = tmp_path / "b.yaml"
        assert toy("{base: a.yaml, data: {name: rooms, count: 9}}", path=path).data == Rooms(batch_size=2, count=9)

    def test_set_can_lay_a_recipe_on_another(self, tmp_path: Path) -> None:
        (tmp_path / "hot.yaml").write_text("contrast: {temperature: 5}")
        result = toy("{data: rooms, contrast: {mining: random}}", f"base={tmp_path / 'hot.yaml'}")
        assert result.contrast == Contrast(temperature=5, mining="random")


class TestMessages:
    @pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case["says"][:40])
    def test_one_line_says_where_what_and_the_nearest_name(self, case: dict[str, str]) -> None:
        said = message(case["recipe"], *([case["set"]] if "set" in case else []))
        assert said.startswith(case["says"])
        assert len(said.splitlines()) == 1

    def test_all_problems_are_listed_at_once(self) -> None:
        lines = message("data: rooms\nsede: 1\nmodel: {dropuot: 1}", "contrast.mining=5").splitlines()
        assert lines[0] == "r.yaml: 3 problems"
        assert [line.split(":")[0].strip() for line in lines[1:]] == ["model.dropuot", "contrast.mining", "sede"]


def assignments() -> st.SearchStrategy[list[str]]:
    words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5)
    one = st.one_of(
        st.integers(-5, 5).map("seed={}".format),
        st.sampled_from(["data=rooms", "data={name: streets, root: a}", "data.batch_size=2", "data.size=[3, 5]"]),
        st.sampled_from(["model.head=fancy", "model.head=plain", "model.head.width=3", "loss.0.weight=1e-3"]),
        st.sampled_from(["loss=[other, term]", "loss=[]", "precision=bf16", "contrast=null", "contrast.memory={}"]),
        st.floats(1e-12, 1e12).map("contrast.temperature={}".format),
        words.map("loss=[{{name: other, classes: ['{}', 'off', '1e-3']}}]".format),
    )
    return st.lists(one, max_size=6)


@settings(deadline=None)
@given(assignments())
def test_a_dumped_recipe_loads_as_itself(overrides: list[str]) -> None:
    try:
        recipe = toy("data: rooms", *overrides)
    except RecipeError:  # such as a position in an empty list
        return
    assert toy(write(plain(recipe))) == recipe


class TestSchema:
    def test_fields_carry_their_documentation(self) -> None:
        assert attribute_docs(Streets)["root"] == "Folder, over two lines."
        assert attribute_docs(Streets)["batch_size"] == "Images in a step."
        streets = schema(Toy)["$defs"]["Streets"]
        assert streets["description"] == "Streets."
        assert streets["properties"]["root"]["description"] == "Folder, over two lines."

    def test_a_partial_file_and_a_short_form_are_allowed(self) -> None:
        document = schema(Toy)
        assert "base" in document["properties"]
        assert all("required" not in part for part in (document, *document["$defs"].values()))
        assert {"enum": ["plain", "fancy"]} in document["$defs"]["Model"]["properties"]["head"]["anyOf"]
        assert {"enum": ["streets", "rooms"]} in document["properties"]["data"]["anyOf"]

    def test_unknown_keys_are_refused(self) -> None:
        assert all(part["additionalProperties"] is False for part in schema(Toy)["$defs"].values())
