"""Draws the pictures of docs/report.md from a report, with Chromium.

python docs/make_report_pictures.py REPORT.html [FOLDER]
"""

import io
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

TARGET = Path(__file__).parent / "pictures"
DESKTOP, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
GAP = 16


def main(report: Path, folder: Path) -> None:
    """Write every picture into `folder`."""
    with chromium() as browser:
        address = report.resolve().as_uri()
        light, dark = (opened(browser, address, DESKTOP, theme) for theme in ("light", "dark"))
        pictures = {
            "summary": light.screenshot(),
            "embedding": embedding(light),
            "classes": at(dark, "#classes"),
            "images": at(dark, ".toolbar[data-tabs]"),
        }
        phones = [opened(browser, address, PHONE, theme) for theme in ("light", "dark", "light", "dark")]
        places = ("#top", "#training", "#confusion", "#embedding")
        views = [at(page, place) for page, place in zip(phones, places, strict=True)]
        pictures["phone"] = side_by_side(views)
    save(pictures, folder, page="report")


@contextmanager
def chromium() -> Iterator[Any]:
    """The system's Chromium, without a window."""
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def save(pictures: Mapping[str, bytes], folder: Path, *, page: str) -> None:
    """Write pictures of a page by name, as small as PNG allows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        Image.open(io.BytesIO(picture)).convert("RGB").save(folder / f"{page}_{name}.png", optimize=True)


def opened(browser: Any, address: str, size: dict[str, int], theme: str) -> Any:
    """The report in a window of its own."""
    page = browser.new_context(viewport=size, color_scheme=theme).new_page()
    page.goto(address)
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_timeout(500)
    return page


def at(page: Any, selector: str) -> bytes:
    """The window, scrolled to a part of the page."""
    page.evaluate(f"document.querySelector('{selector}').scrollIntoView({{behavior: 'instant'}})")
    page.wait_for_timeout(200)
    return bytes(page.screenshot())


def embedding(page: Any) -> bytes:
    """The maps, with a pixel pointed at that the second network gets right and the first does not."""
    at(page, "#embedding")
    x, y = page.evaluate(
        """(() => {
            const { maps, label } = JSON.parse(document.getElementById("map-data").textContent);
            const [before, after] = [maps[0], maps[1] ?? maps[0]];
            const won = (l, i) => after.prediction[i] === l && before.prediction[i] !== l ? after.probability[i] : 0;
            const gains = label.map(won);
            return after.tsne[gains.indexOf(Math.max(...gains))];
        })()"""
    )
    box = page.locator("figure.map svg").nth(1).bounding_box()
    page.mouse.move(box["x"] + x * box["width"] / 1000, box["y"] + y * box["width"] / 1000)
    page.wait_for_timeout(200)
    return bytes(page.screenshot())


def side_by_side(pictures: list[bytes]) -> bytes:
    """Pictures of one height in a row."""
    opened = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    sheet = Image.new("RGB", (sum(each.width + GAP for each in opened) - GAP, opened[0].height), (128, 128, 128))
    left = 0
    for each in opened:
        sheet.paste(each, (left, 0))
        left += each.width + GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET)
