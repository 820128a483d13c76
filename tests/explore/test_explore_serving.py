"""How the page is served: by its own name alone, to this machine by default."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from pixelcontrast.errors import DataError, RunError
from pixelcontrast.explore.choices import Choice
from pixelcontrast.explore.desk import Desk
from pixelcontrast.explore.runs import ExploredRun
from pixelcontrast.explore.serving import FIRST_PORT, Guard, free_socket, require_gradio


async def _page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(guard: Guard, host: str) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    asyncio.run(guard({"type": "http", "headers": [(b"host", host.encode())]}, receive, send))
    return sent


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "[::1]:80"])
def test_the_names_of_this_machine_are_answered_with_headers_that_keep_the_browser_here(host: str) -> None:
    start, body = ask(Guard(_page, ("127.0.0.1", "localhost", "::1")), host)
    assert start["status"] == 200
    assert body["body"] == b"the page"
    headers = dict(start["headers"])
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert b"http" not in headers[b"content-security-policy"]
    assert headers[b"content-type"] == b"text/html"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:7860", ""])
def test_other_names_are_refused(host: str) -> None:
    start, body = ask(Guard(_page, ("127.0.0.1", "localhost", "::1")), host)
    assert start["status"] == 421
    assert b"the page" not in body["body"]


def test_a_server_for_other_machines_answers_to_every_name() -> None:
    assert ask(Guard(_page, ()), "evil.example")[0]["status"] == 200


def test_the_first_free_port_is_taken_and_a_taken_one_is_said() -> None:
    with free_socket("127.0.0.1", None) as first:
        port = first.getsockname()[1]
        first.listen()
        assert port >= FIRST_PORT
        with free_socket("127.0.0.1", None) as second:
            assert second.getsockname()[1] > port
        with pytest.raises(RunError, match=f"port {port}.*--port"), free_socket("127.0.0.1", port):
            pass


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(RunError, match="cannot listen at 192.0.2.1"), free_socket("192.0.2.1", None):
        pass


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(RunError, match=r"pip install 'pixelcontrast\[explore\]'"):
        require_gradio()


@pytest.fixture(scope="module")
def desk(explored: ExploredRun) -> Desk:
    return Desk([explored])


def test_no_file_of_the_machine_is_opened_for_a_name_from_the_page(desk: Desk, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="needs Gradio (pip install 'pixelcontrast[explore]')")
    from gradio import EventData
    from PIL import Image

    from pixelcontrast.explore.handlers import Handlers, Session
    from pixelcontrast.explore.panels import Panels

    secret = tmp_path / "secret.png"
    Image.new("RGB", (32, 32)).save(secret)
    handlers = Handlers(desk, Panels(desk.space), tmp_path)
    assert desk.picture(Choice("", str(secret))).size == (32, 32)
    for split, name in (("", str(secret)), ("val", str(secret)), ("val", "../secret"), ("secret", "0")):
        with pytest.raises(DataError):
            handlers.open_asked(Session(), "prediction", "features", EventData(None, {"split": split, "name": name}))
