"""Writes docs/api.md, the reference of everything `pixelcontrast` exports, from signatures and docstrings.

python docs/make_api.py
"""

import ast
import inspect
import sys
from pathlib import Path

import pixelcontrast

TARGET = Path(__file__).parent / "api.md"


def main() -> None:
    """Write the page to where it lies, or to the path given."""
    names = sorted(name for name in pixelcontrast.__all__ if not name.startswith("_"))
    parts = ["# Reference\n\nWritten by `python docs/make_api.py` from the docstrings; a test keeps it up to date.\n"]
    parts += [entry(name) for name in names]
    (Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET).write_text("\n".join(parts))


def entry(name: str) -> str:
    """One exported name: its signature, its docstring, and its public methods and properties."""
    node = definition(getattr(pixelcontrast, name))
    if isinstance(node, ast.FunctionDef):
        return f"## {name}\n" + block(f"{name}{arguments(node)}", node)
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    start = next((method for method in methods if method.name == "__init__"), None)
    text = f"## {name}\n" + block(f"class {name}{arguments(start) if start else fields(node)}", node)
    for method in methods:
        if not method.name.startswith("_") and ast.get_docstring(method):
            text += f"\n### {name}.{method.name}\n" + block(member(method), method)
    return text


def member(method: ast.FunctionDef) -> str:
    """A method as it is called, a property as it is read."""
    decorators = {ast.unparse(decorator) for decorator in method.decorator_list}
    if decorators & {"property", "cached_property"}:
        read = f"{method.name}: {ast.unparse(method.returns)}" if method.returns else method.name
        return read.replace("'", '"')  # as the formatter has it, which knows this for Python
    return ("@classmethod\n" if "classmethod" in decorators else "") + method.name + arguments(method)


def fields(node: ast.ClassDef) -> str:
    """What a dataclass or named tuple takes, with defaults, in the form of a signature; nothing if it takes nothing."""
    kept = [item for item in node.body if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item)]
    lines = "".join(f"\n    {ast.unparse(item)}," for item in kept)
    keywords = "\n    *," if any("kw_only=True" in ast.unparse(each) for each in node.decorator_list) else ""
    return f"({keywords}{lines}\n)" if kept else ""


def definition(thing: object) -> ast.FunctionDef | ast.ClassDef:
    """The source of a function or class, as it is written rather than as decorators left it."""
    thing = inspect.unwrap(thing)  # type: ignore[arg-type]
    tree = ast.parse(Path(inspect.getsourcefile(thing) or "").read_text())  # type: ignore[arg-type]
    name = thing.__name__  # type: ignore[attr-defined]
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name)


def arguments(node: ast.FunctionDef) -> str:
    """The signature without `self`, one argument a line where it is long."""
    node.args.args = [argument for argument in node.args.args if argument.arg not in ("self", "cls")]
    result = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    line = f"({ast.unparse(node.args)}){result}"
    return line if len(line) < 100 else line.replace(", *, ", ",\n    *, ", 1)


def block(signature: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    """Signature and docstring as they are, in a fence each."""
    return f"```python\n{signature}\n```\n```text\n{ast.get_docstring(node)}\n```\n"


if __name__ == "__main__":
    main()
