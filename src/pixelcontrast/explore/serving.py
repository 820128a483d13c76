"""Serves the page on this machine: nothing leaves it, and no other site's page may use it."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pixelcontrast.engine.stopping import ended_by
from pixelcontrast.errors import RunError
from pixelcontrast.explore.choices import MOST_DROPPED_BYTES
from pixelcontrast.explore.desk import Desk

FIRST_PORT, PORTS = 7860, 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Gradio's templates are compiled in the browser, hence the two words with `unsafe`; nothing comes from elsewhere.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Adds headers that keep the browser on this machine, and answers to the names of this machine alone.

    Another site's name that is made to lead here (DNS rebinding) is refused.

    Args:
        app: What is guarded.
        hosts: The names that are answered to; empty answers to all.
    """

    def __init__(self, app: Any, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        """Pass a request on, and its answer back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.hosts and _host_of(scope) not in self.hosts:
            await send({"type": "http.response.start", "status": 421, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"this page answers to localhost alone"})
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await self.app(scope, receive, send_guarded)


@contextmanager
def application(desk: Desk, *, data: str, host: str, port: int) -> Iterator[Any]:
    """The page as an ASGI application; what users drop and export is deleted at the end.

    Args:
        desk: Answers its questions.
        data: What the data set is called.
        host: Where it will be served.
        port: The same.

    Raises:
        RunError: If Gradio is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="pixelcontrast-explore-") as folder:
        # Read where Gradio is imported: it would tell its makers of each start, and keep uploads where all users look.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = folder
        require_gradio()
        import gradio as gr
        from fastapi import FastAPI

        from pixelcontrast.explore.page import Page
        from pixelcontrast.explore.panels import asset
        from pixelcontrast.explore.theme import calm

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        gr.mount_gradio_app(
            app,
            Page(desk, data=data, folder=Path(folder)).blocks,
            path="/",
            server_name=host,
            server_port=port,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            show_error=False,
            max_file_size=MOST_DROPPED_BYTES,
            theme=calm(),
            css=asset("explore.css"),
        )
        yield Guard(app, _LOOPBACK if host in _LOOPBACK else ())


def serve(desk: Desk, *, data: str, host: str, port: int | None, say: Callable[[str], None]) -> None:
    """Serve the page until it is interrupted, or told to end by another signal.

    Args:
        desk: Answers its questions.
        data: What the data set is called.
        host: Address to listen at.
        port: The same; None takes the first free one from 7860 on.
        say: Told where the page is.

    Raises:
        RunError: If Gradio is not installed, or the port is taken.
    """
    require_gradio()
    import uvicorn

    with ended_by(lambda *_: signal.raise_signal(signal.SIGINT)), free_socket(host, port) as listener:
        port = listener.getsockname()[1]
        with application(desk, data=data, host=host, port=port) as app:
            say(f"explore at http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)")
            # Each open page holds a connection, which is not waited for; uvicorn would report it as an error.
            config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def free_socket(host: str, port: int | None) -> Iterator[socket.socket]:
    """A socket that is bound to an address.

    Raises:
        RunError: If it cannot be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,):
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, candidate))
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            yield listener
            return
    tried = f"port {port}" if port is not None else f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1}"
    raise RunError(f"cannot listen at {host}, {tried}: {reason}; choose another --port or --host")


def require_gradio() -> None:
    """Raise RunError, which says what to install, if Gradio is not there; it is not imported yet, see `application`."""
    if importlib.util.find_spec("gradio") is None:
        raise RunError("explore needs Gradio, which is not installed: pip install 'pixelcontrast[explore]'")


def _host_of(scope: Any) -> str:
    """The name that a request asks for, without its port."""
    named = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return named.partition(":")[0]
