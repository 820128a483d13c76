"""Nothing that comes from outside is ever run: read off the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "pixelcontrast"
MODULES = sorted(SOURCE.rglob("*.py"))

# What runs code or a shell, or builds any object a file names.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "input",
    "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "subprocess.getoutput", "subprocess.getstatusoutput",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.add_constructor",
    "torch.hub.load", "importlib.reload", "runpy.run_path", "runpy.run_module", "code.interact",
    "tarfile.open", "shutil.unpack_archive",
}  # fmt: skip
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "runpy"}
UNTYPED_LOADERS = {"UnsafeLoader", "FullLoader", "Loader", "CLoader"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def keyword(call: ast.Call, name: str) -> object:
    values = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_runs_code_that_it_was_given(path: Path) -> None:
    for name, call in calls(path):
        assert name not in FORBIDDEN, f"{name} in line {call.lineno}"
        assert keyword(call, "shell") is not True, f"a shell in line {call.lineno}"
        if name in ("torch.load", "load_plain.load"):
            assert path.relative_to(SOURCE) == Path("nn/weights.py"), (
                "pixelcontrast.nn.weights.load_plain opens such files"
            )
            assert keyword(call, "weights_only") is True
        if name in ("np.load", "numpy.load"):
            assert keyword(call, "allow_pickle") is False
        if name.startswith("yaml."):
            loaders = [dotted(argument.value).split(".")[-1] for argument in call.keywords if argument.arg == "Loader"]
            assert not UNTYPED_LOADERS & set(loaders)
        if name.startswith("subprocess."):
            assert isinstance(call.args[0], ast.List | ast.Call | ast.Name), "a list of words, never one string"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_imports_what_unpickles(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not FORBIDDEN_MODULES & {name.split(".")[0] for name in names}


def test_the_rules_can_fail(tmp_path: Path) -> None:
    for text in ("eval('1')", "import os\nos.system('x')", "yaml.load(x)", "subprocess.run('ls', shell=True)"):
        (tmp_path / "bad.py").write_text(text)
        found = [n for n, call in calls(tmp_path / "bad.py") if n in FORBIDDEN or keyword(call, "shell") is True]
        assert found, text
