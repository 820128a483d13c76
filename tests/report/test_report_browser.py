"""The report in a real browser: it renders without an error or a request, and hovering, sorting and switching work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import launched, require_browser, watched_page
from pixelcontrast.report.page import write_report
from report_runs import CLASSES, write_study

require_browser()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return write_report([write_study(folder / "study", seeds=2)], folder / "report.html").path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}")
def page(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The report, opened; that nothing went wrong meanwhile is checked at the end of every test."""
    width, theme = request.param
    with watched_page(browser, width=width, theme=theme, own="file:") as page:
        page.goto(report.as_uri())
        yield page


def column(page: Any, table: str, index: int) -> list[str]:
    return page.eval_on_selector_all(f"{table} tbody tr", f"rows => rows.map(row => row.cells[{index}].dataset.value)")


def bring(locator: Any) -> Any:
    """Scroll a part into the middle of the window, wait until it lies still, and return its box."""
    locator.evaluate(
        "async element => { element.scrollIntoView({ block: 'center', behavior: 'instant' });"
        " for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame); }"
    )
    return locator.bounding_box()


def tip(page: Any) -> str:
    return str(page.locator("#tip").inner_text()) if page.locator("#tip").is_visible() else ""


def test_it_fits_the_window_and_every_picture_loads(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].filter(i => i.id !== 'zoomed').every(i => !i.src || i.complete)")
    assert page.evaluate("[...document.querySelectorAll('.panels img, #crops')].every(i => i.naturalWidth > 0)")
    assert page.locator("figure.chart svg").count() > 8


def test_the_table_of_classes_sorts_both_ways(page: Any) -> None:
    heading = page.locator("table.classes th").nth(1)
    heading.locator("button").click()
    shares = [float(value) for value in column(page, "table.classes", 1)]
    assert shares == sorted(shares, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").press("Enter")  # as a reader without a mouse does
    assert [float(value) for value in column(page, "table.classes", 1)] == sorted(shares)
    page.locator("table.classes th button").first.click()
    assert column(page, "table.classes", 0) == [str(number) for number in range(len(CLASSES))]
    assert page.locator("table.classes th[aria-sort]").count() == 1


def test_a_chart_tells_its_values_by_pointer_and_by_keys(page: Any) -> None:
    chart = page.locator("#training figure.chart").first
    box = bring(chart.locator("svg"))
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown = tip(page)
    assert "step" in shown
    assert "cross entropy" in shown
    assert "contrast" in shown
    chart.locator("svg").focus()
    page.keyboard.press("Home")
    assert "step 0" in tip(page)
    page.keyboard.press("ArrowRight")
    assert "step 10" in tip(page)
    page.keyboard.press("Escape")
    assert tip(page) == ""


def test_a_pixel_of_a_map_tells_image_class_and_prediction_and_is_ringed_in_all(page: Any) -> None:
    first = page.locator("figure.map svg").first
    box = bring(first)
    x, y = page.evaluate("JSON.parse(document.getElementById('map-data').textContent).maps[0].tsne[0]")
    scale = box["width"] / 1000
    page.mouse.move(box["x"] + x * scale, box["y"] + y * scale)
    shown = tip(page)
    assert any(name in shown for name in CLASSES)
    assert "predicted" in shown
    assert "row" in shown
    assert page.locator("#tip canvas").count() == 1
    drawn = "(() => { const c = document.querySelector('#tip canvas');"
    drawn += " return new Set(c.getContext('2d').getImageData(8, 8, 4, 4).data).size > 1; })()"
    assert page.evaluate(drawn), "the crop is drawn"
    assert page.locator("figure.map .ring:not([hidden])").count() == page.locator("figure.map").count() == 3
    first.focus()
    before = tip(page)
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    assert tip(page)
    assert before


def test_maps_change_method_colour_and_classes(page: Any) -> None:
    def drawn() -> list[str]:
        return page.eval_on_selector_all(
            "figure.map .points", "paths => paths.map(p => p.getAttribute('class') + p.getAttribute('d'))"
        )

    start = drawn()
    page.locator("[data-colour] button", has_text="errors").click()
    kinds = page.eval_on_selector_all(".points", "paths => [...new Set(paths.map(p => p.getAttribute('class')))]")
    assert sorted(kinds) == ["points right", "points wrong"]
    page.locator("[data-colour] button", has_text="label").click()
    page.locator("[data-method] button", has_text="PCA").click()
    page.wait_for_timeout(700)
    assert drawn() != start
    assert page.locator(".map .axes").first.is_visible()
    page.locator(".pick button").first.click()
    assert page.locator(".points.dim").count() == 3 * (len(CLASSES) - 1)


def test_images_are_chosen_by_group_and_enlarged(page: Any) -> None:
    assert page.locator(".examples:visible").count() == 1
    page.locator("[data-tabs] button").nth(1).click()
    assert page.locator(".examples").nth(1).is_visible()
    page.locator(".examples:visible .zoom").first.click()
    assert page.locator("dialog").is_visible()
    first = page.locator("dialog img").get_attribute("alt")
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog img").get_attribute("alt") != first
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_the_theme_follows_the_system_until_it_is_chosen(page: Any) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    before = paper()
    page.locator("#theme").click()
    assert paper() != before
    page.reload()
    assert paper() != before, "the choice is kept"
    page.locator("#theme").click()
    assert paper() == before


def test_every_control_has_a_name_and_can_be_reached(page: Any) -> None:
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, a, svg[tabindex], [role=region]')]"
        ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.querySelector('img[alt]')))"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert nameless == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
