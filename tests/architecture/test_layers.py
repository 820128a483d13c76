"""The rules of the layout that can be read off the source: who imports whom, and what things are called."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "pixelcontrast"
MODULES = sorted(SOURCE.rglob("*.py"))

# Imports run left to right only: a part may import from parts with a lower number, or from itself.
LAYERS = {
    "types": 0, "errors": 0, "files": 0.5,
    "ops": 1,
    "nn": 2, "data": 2,
    "contrast": 3,
    "losses": 4,
    "engine": 5,
    "export": 6, "report": 6, "explore": 6,
    "recipe": 7, "recipes": 7, "studies": 7,
    "compare": 7.5,
    "cli": 8, "__main__": 9,
}  # fmt: skip


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports absolutely"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_left_to_right(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return  # the package's front door loads lazily
    assert part in LAYERS, f"{part} has no layer: add it to docs/map.md and to LAYERS"
    for name in imports_of(path):
        if not name.startswith("pixelcontrast."):
            continue
        other = name.split(".")[1]
        if other in LAYERS and other != part:
            assert LAYERS[other] < LAYERS[part], f"{part} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_names_say_something(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 350, "split by idea"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert lines <= 45, f"{node.name} has a body of {lines} lines"


def calls_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    attributes = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    return attributes | {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_resizing_has_one_home(path: Path) -> None:
    if path != SOURCE / "ops" / "resize.py":
        assert "interpolate" not in calls_in(path)


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(p) == "ops"], ids=lambda p: str(p.relative_to(SOURCE)))
def test_ops_never_wait_for_the_device(path: Path) -> None:
    """Copies to the host and data-dependent shapes stop the device; CPU-only code lives in ops/cpu_*."""
    waits = {"item", "tolist", "nonzero", "unique", "masked_select", "cpu", "numpy"}
    if not path.stem.startswith("cpu_"):
        assert not waits & calls_in(path)


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(p) in {"ops", "contrast"}], ids=str)
def test_core_imports_torch_and_jaxtyping_only(path: Path) -> None:
    import sys

    allowed = {"torch", "jaxtyping", "pixelcontrast", "triton", "__future__"} | set(sys.stdlib_module_names)
    assert {name.split(".")[0] for name in imports_of(path)} <= allowed


def test_test_files_have_names_of_their_own() -> None:
    """Pytest imports test files by their names alone: two of one name collide when both folders are collected."""
    names = [path.name for path in (SOURCE.parents[1] / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
