import io

import pytest
from rich.console import Console

from pixelcontrast.engine import progress
from pixelcontrast.engine.progress import counted


def shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    assert list(counted("abc", "counting", 3, console)) == ["a", "b", "c"]
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_log_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(terminal=False) == ""
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    assert shown(terminal=False).splitlines() == [f"counting: {done} of 3, 0 s left" for done in (1, 2, 3)]


def test_a_terminal_gets_a_bar() -> None:
    assert "3/3" in shown(terminal=True)


def test_nothing_is_shown_without_a_console() -> None:
    assert list(counted([1, 2], "counting", 2, None)) == [1, 2]
