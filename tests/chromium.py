"""A real Chromium for tests of pages: the browser, and a page whose console and requests are watched."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# Those with which Chromium itself asks its makers for news are off.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


def require_browser() -> Any:
    """Playwright's module; the test is skipped where it, or the browser, is not there."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)", allow_module_level=True)
    return pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")


@contextmanager
def launched() -> Iterator[Any]:
    """A headless browser; the test is skipped where it cannot be started, as on a machine that forbids its sandbox."""
    playwright = require_browser()
    with playwright.sync_playwright() as engine:
        try:
            browser = engine.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright.Error as error:
            pytest.skip(f"Chromium is here but does not start: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@contextmanager
def watched_page(browser: Any, *, width: int, height: int = 900, theme: str = "light", own: str) -> Iterator[Any]:
    """A page of its own session. At its end the console must hold no error, and all it asked for must be its own.

    Args:
        browser: The browser.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        theme: What the reader's system prefers, "light" or "dark".
        own: What every address begins with that is asked for.
    """
    troubles: list[str] = []

    def check(address: str) -> None:
        if not address.startswith((own, "data:", "blob:")):
            troubles.append(f"asked for {address}")

    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page = context.new_page()
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda sent: check(sent.url))
    page.on("websocket", lambda socket: check(socket.url))
    yield page
    context.close()
    assert not troubles, troubles
