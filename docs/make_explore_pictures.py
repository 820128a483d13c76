"""Draws the pictures of docs/explore.md from the page that `pixelcontrast explore RUN RUN2` serves, with Chromium.

python docs/make_explore_pictures.py ADDRESS [FOLDER]
"""

import sys
from pathlib import Path
from typing import Any

from make_report_pictures import PHONE, TARGET, chromium, save, side_by_side

DESKTOP = {"width": 1280, "height": 1200}
IMAGE, PLACE = "0003", (0.37, 0.6)  # a cyclist


def main(address: str, folder: Path) -> None:
    """Write every picture into `folder`."""
    with chromium() as browser:
        light, dark = (opened(browser, address, DESKTOP, theme) for theme in ("light", "dark"))
        pictures = {"pair": asked(light), "far": looked_over(dark, "index"), "suspects": suspects(dark)}
        phones = [opened(browser, address, PHONE, theme) for theme in ("light", "dark", "light", "dark")]
        views = [phones[0].screenshot(), asked(phones[1], ".viewer"), asked(phones[2], "#kin-0"), suspects(phones[3])]
        pictures["phone"] = side_by_side(views)
    save(pictures, folder, page="explore")


def opened(browser: Any, address: str, size: dict[str, int], theme: str) -> Any:
    """The page in a window of its own, with the image chosen."""
    page = browser.new_context(viewport=size, color_scheme=theme).new_page()
    page.goto(address)
    page.wait_for_selector("#elsewhere-1 .elsewhere img")
    page.locator("#name input").fill(IMAGE)
    page.get_by_role("option", name=IMAGE).click()
    page.wait_for_function("name => document.querySelector('.viewer .photo').alt === `val: ${name}`", arg=IMAGE)
    page.wait_for_selector(f"#elsewhere-1:not(:has([data-name='{IMAGE}']))")
    return page


def asked(page: Any, selector: str = "body") -> bytes:
    """The window after a click on the pixel, scrolled to a part of the page."""
    viewer = page.locator(".viewer").first
    box = viewer.bounding_box()
    viewer.click(position={"x": PLACE[0] * box["width"], "y": PLACE[1] * box["height"]})
    page.wait_for_selector("#kin-1 .kin.pixels img")
    page.wait_for_selector("#elsewhere-1 .stack .layer")
    return at(page, selector)


def looked_over(page: Any, view: str) -> bytes:
    """The window with something else over the image."""
    before = page.locator(".viewer .layer").first.get_attribute("src")
    page.locator(f"#view input[value={view}]").check()
    page.wait_for_function("old => document.querySelector('.viewer .layer').src !== old", arg=before)
    return at(page, "body")


def suspects(page: Any) -> bytes:
    """The window with the list of suspect labels."""
    page.get_by_role("tab", name="Suspect labels").click()
    page.locator("#find").click()
    page.wait_for_selector(".suspects li")
    return at(page, "body")


def at(page: Any, selector: str) -> bytes:
    """The window, scrolled to a part of the page, without the pointer over anything."""
    page.mouse.move(0, 0)
    page.evaluate(f"document.querySelector('{selector}').scrollIntoView({{behavior: 'instant'}})")
    page.wait_for_timeout(1000)
    return bytes(page.screenshot())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET)
