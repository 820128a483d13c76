"""The explorer in a real browser, served by the real command: dropped, clicked, compared, exported; nothing leaves."""

import base64
import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chromium import launched, require_browser, watched_page

require_browser()
pytest.importorskip("gradio", reason="needs Gradio (pip install 'pixelcontrast[explore]')")

# Writes down whom the server asks for anything: every address that it looks up or connects to.
WATCH = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open(os.environ["ASKED"], "a") as file:
            file.write(f"{arguments[1] if event == 'socket.connect' else arguments[0]}\\n")
sys.addaudithook(note)
"""
DROP = """(element, [name, text, zeros]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes, new Uint8Array(zeros)], name, { type: "image/png" }));
    for (const type of ["dragenter", "dragover", "drop"])
        element.dispatchEvent(new DragEvent(type, { dataTransfer: carried, bubbles: true }));
}"""


@dataclass(frozen=True)
class Server:
    address: str
    asked: Path


@contextmanager
def serving(folder: Path, *runs: Path, end: signal.Signals = signal.SIGINT) -> Iterator[Server]:
    """The command in a process of its own, ended by a signal: by default as a person ends it."""
    (folder / "sitecustomize.py").write_text(WATCH)
    asked = folder / "asked.txt"
    asked.touch()
    temporary = folder / "temporary"
    temporary.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "ASKED": str(asked),
        "TMPDIR": str(temporary),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pixelcontrast", "explore", *map(str, runs), "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line, process.communicate()[1]
        _wait_until_up(f"http://127.0.0.1:{port}/")
        yield Server(f"http://127.0.0.1:{port}/", asked)
    finally:
        process.send_signal(end)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == [], "what was dropped and exported is deleted"


def _wait_until_up(address: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except (urllib.error.URLError, TimeoutError):
            continue
    raise AssertionError("the page did not come up")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_whatever_ends_it(contrast_run: Path, tmp_path: Path, end: signal.Signals) -> None:
    with serving(tmp_path, contrast_run, end=end):
        pass


@pytest.fixture(scope="module")
def server(contrast_run: Path, plain_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), contrast_run, plain_run) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@contextmanager
def opened(browser: Any, server: Server, *, width: int = 1280, theme: str = "light") -> Iterator[Any]:
    with watched_page(browser, width=width, theme=theme, own=server.address) as page:
        page.goto(server.address)
        page.wait_for_selector(".viewer .layer[src]")
        page.wait_for_selector("#elsewhere-0 .elsewhere img")
        yield page


def layer(page: Any) -> str:
    return str(page.locator(".viewer .layer").first.get_attribute("src"))


def click(page: Any, row: int, column: int) -> None:
    """Click a pixel of the first run's image of 64 x 96, and wait for what the page says of it."""
    photo = page.locator(".viewer .photo").first
    photo.scroll_into_view_if_needed()
    box = photo.bounding_box()
    before = layer(page)
    page.mouse.click(box["x"] + (column + 0.5) * box["width"] / 96, box["y"] + (row + 0.5) * box["height"] / 64)
    page.wait_for_function("old => document.querySelector('.viewer .layer').src !== old", arg=before)


def drop(page: Any, name: str, content: bytes = b"", *, zeros: int = 0) -> None:
    target = page.locator("#dropped button").first
    target.evaluate(DROP, [name, base64.b64encode(content).decode(), zeros])


def png(path: Path, *, seed: int) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(values).resize((96, 64), Image.Resampling.NEAREST).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_an_image_is_dropped_a_pixel_clicked_and_its_kin_appear(
    browser: Any, server: Server, tmp_path: Path, width: int, theme: str
) -> None:
    with opened(browser, server, width=width, theme=theme) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        first = page.locator(".viewer .photo").first.get_attribute("src")
        drop(page, "mine.png", png(tmp_path / "mine.png", seed=width))
        page.wait_for_function("old => document.querySelector('.viewer .photo').src !== old", arg=first)
        assert page.locator(".viewer .photo").first.get_attribute("alt") == "mine.png"
        assert page.locator(".hint").count() == 2

        click(page, 20, 19)
        heat = layer(page)
        page.wait_for_selector("#kin-0 .kin.pixels img")
        click(page, 51, 76)
        assert layer(page) != heat
        assert page.locator(".cross:visible").count() == 2
        assert page.locator("#view input:checked").get_attribute("value") == "similarity"
        assert page.locator("#reading-0").inner_text().startswith("Row 51, column 76")
        page.wait_for_selector("#elsewhere-0 .stack .layer")
        assert page.locator("#kin-0 .kin.regions li").count() == 6
        assert "pixelcontrast embed" in page.locator("#kin-1").inner_text()
        page.wait_for_function("[...document.images].every(i => !i.src || (i.complete && i.naturalWidth > 0))")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_keys_do_what_the_pointer_does(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        page.locator(".viewer").first.focus()
        for key in ("ArrowRight", "ArrowDown", "Shift+ArrowUp", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector(".reading")
        assert page.locator(".reading .place").first.inner_text().startswith("Row 41, column 58")
        page.locator("#view input[value=entropy]").focus()
        page.keyboard.press("Space")
        page.wait_for_selector(".scale .magma")


def test_every_view_shows_something_or_says_why_not(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        for view in ("label", "errors", "entropy", "memory", "index", "prediction"):
            before = layer(page)
            page.locator(f"#view input[value={view}]").check()
            page.wait_for_function("old => document.querySelector('.viewer .layer').src !== old", arg=before)
            note = page.locator(".viewer .note").nth(1).inner_text()
            assert bool(note) == (view in ("memory", "index"))
        page.locator("#opacity input[type=range]").fill("0.25")
        page.wait_for_function("getComputedStyle(document.querySelector('.viewer .layer')).opacity < 0.3")


def test_embeddings_can_be_changed_under_a_chosen_pixel(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        click(page, 32, 48)
        before = layer(page)
        page.locator("#kind input[value=projected]").check()
        page.wait_for_function("old => document.querySelector('.viewer .layer').src !== old", arg=before)
        assert "no projection" in page.locator(".viewer .note").nth(1).inner_text()


def test_images_are_gone_through_and_named(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:

        def shown(title: str) -> None:
            page.wait_for_function("t => document.querySelector('.viewer .photo').alt === t", arg=title)

        shown("val: 0")
        page.locator("#after").click()
        shown("val: 1")
        page.locator("#before").click()
        shown("val: 0")
        page.locator("#before").click()
        shown("val: 7")
        page.locator("#name input").fill("3")
        page.get_by_role("option", name="3").click()
        shown("val: 3")
        pictured = page.locator(".elsewhere button").first.evaluate(
            "found => { found.click(); return found.dataset.name; }"
        )
        shown(f"val: {pictured}")
        before = page.locator(".elsewhere").first.inner_html()
        page.locator("#redraw").click()
        page.wait_for_function("old => document.querySelector('.elsewhere').innerHTML !== old", arg=before)


@pytest.mark.parametrize("name", ["torn.png", "<img src=x onerror=alert(1)>.png"])
def test_a_bad_file_gets_a_message_and_the_page_goes_on(
    browser: Any, server: Server, tmp_path: Path, name: str
) -> None:
    with opened(browser, server) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a name ran as a script: {dialog.message}"))
        drop(page, name, png(tmp_path / "good.png", seed=1)[:90])
        notice = page.locator(".notice")
        notice.wait_for()
        assert "expected an image" in notice.inner_text()
        assert "/tmp" not in notice.inner_text()
        assert notice.locator("img").count() == 0
        notice.click()
        notice.wait_for(state="hidden")
        click(page, 25, 38)
        assert page.locator(".viewer .photo").first.get_attribute("alt") == "val: 0"


def test_what_is_too_large_gets_a_message(browser: Any, server: Server) -> None:
    with browser.new_page() as page:  # a refused upload is an error in the browser's console, so it is not watched
        page.goto(server.address)
        page.wait_for_selector(".viewer .photo[src]")
        drop(page, "large.png", zeros=21_000_000)
        page.locator(".toast-body").wait_for()
        assert re.search("(?i)size|large", page.locator(".toast-body").inner_text())


def test_suspects_are_listed_opened_and_exported(browser: Any, server: Server, tmp_path: Path) -> None:
    with opened(browser, server) as page:
        page.get_by_role("tab", name="Suspect labels").click()
        page.locator("#find").click()
        page.locator(".suspects li").first.wait_for()
        listed = page.locator(".suspects li").count()
        saved = {}
        for kind in ("csv", "json"):
            with page.expect_download() as download:
                page.locator(f"#{kind}").click()
            saved[kind] = tmp_path / f"suspects.{kind}"
            download.value.save_as(saved[kind])
        lines = list(csv.DictReader(saved["csv"].read_text().splitlines()))
        found = json.loads(saved["json"].read_text())
        assert found["split"] == "train"
        assert len(lines) == len(found["suspects"]) == listed
        assert [line["image"] for line in lines] == [each["image"] for each in found["suspects"]]
        image = page.locator(".suspects button").first.get_attribute("data-name")
        page.locator(".suspects button").first.click()
        page.wait_for_function("t => document.querySelector('.viewer .photo').alt === t", arg=f"train: {image}")


def test_users_do_not_see_each_other(browser: Any, server: Server) -> None:
    with opened(browser, server) as one, opened(browser, server) as other:
        one.locator("#after").click()
        one.wait_for_function("document.querySelector('.viewer .photo').alt === 'val: 1'")
        click(one, 12, 19)
        click(other, 44, 67)
        assert other.locator(".viewer .photo").first.get_attribute("alt") == "val: 0"
        places = [page.locator(".reading .place").first.inner_text().split(";")[0] for page in (one, other)]
        assert places == ["Row 12, column 19", "Row 44, column 67"]


def test_the_theme_changes(browser: Any, server: Server) -> None:
    with opened(browser, server, theme="dark") as page:
        colour = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(colour)
        page.locator("button.theme").click()
        page.wait_for_function(f"{colour} !== '{dark}'")


def test_other_names_are_refused_and_other_sites_may_not_frame_it(server: Server) -> None:
    with urllib.request.urlopen(server.address) as answer:
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    with pytest.raises(urllib.error.HTTPError, match="421") as refused:
        urllib.request.urlopen(urllib.request.Request(server.address, headers={"Host": "evil.example"}))
    refused.value.close()


def test_the_server_asks_nobody(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        click(page, 32, 48)
    asked = server.asked.read_text().splitlines()
    assert all(re.search(r"127\.0\.0\.1|localhost|None", line) for line in asked), asked
