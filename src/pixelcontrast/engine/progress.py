"""How far a count is: a bar on a terminal, a line every half minute in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 30.0


class CountProgress:
    """Shows how many of `total` things are done; a context manager.

    Args:
        title: What is being done.
        total: How many things there are.
        console: Where it is shown; None shows nothing.
    """

    def __init__(self, title: str, total: int, console: Console | None) -> None:
        self.title, self.total, self.console = title, total, console
        self._done = 0
        self._started = self._spoke = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        on_terminal = console is not None and console.is_terminal
        self._bar = Progress(*columns, console=console, transient=True, disable=not on_terminal)
        self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> CountProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, what: str = "") -> None:
        """One thing more is done; `what` says which."""
        self._done += 1
        self._bar.update(self._task, advance=1, description=f"{self.title} {what}".strip())
        now = time.monotonic()
        if self.console is None or self.console.is_terminal or now - self._spoke < _SECONDS_BETWEEN_LINES:
            return
        self._spoke = now
        left = (self.total - self._done) * (now - self._started) / self._done
        self.console.print(f"{self.title}: {self._done} of {self.total}, {max(left, 0):.0f} s left", highlight=False)


def counted(items: Iterable[T], title: str, total: int, console: Console | None) -> Iterator[T]:
    """The items, each counted when the next one is asked for."""
    with CountProgress(title, total, console) as progress:
        for item in items:
            yield item
            progress.advance()
