"""Laws of the YAML that recipes are written in."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelcontrast.errors import RecipeError
from pixelcontrast.recipe.text import read, write

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@settings(deadline=None)
@given(TREES)
def test_what_is_written_reads_back_equal(tree: object) -> None:
    assert read(write(tree), source="x").tree == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-2", -2),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        (".inf", math.inf),
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:45", "12:30:45"),
        ("2021-10-11", "2021-10-11"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ("[192, 256]", [192, 256]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    result = read(text, source="x").tree
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "r.yaml, line 4: b.c: given twice"),
        ("a: [1\n", "r.yaml, line 2: not YAML"),
        ("a: !!python/object:os.system {}\n", "line 1: the tag"),
        ("a: !!int\n", "line 1: '' is no int"),
        ("a: !!float b\n", "line 1: 'b' is no float"),
        ("a: !!bool 1\n", "line 1: '1' is no bool"),
        ("a: !!seq b\n", "line 1: 'b' is no seq"),
        ("a: &x [*x]\n", "line 1: an alias inside its own anchor"),
        ("? [a]\n: 1\n", "line 1: a key must be a word"),
        ("a: '\x07'\n", "r.yaml: not YAML"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(text, source="r.yaml")
    assert message in str(caught.value)


def test_every_key_knows_its_line() -> None:
    places = read("a:\n  - b: 1\n    c: 2\n", source="r.yaml").places
    assert places[("a", 0, "c")] == "r.yaml, line 3"
