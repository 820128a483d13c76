"""From a click on a pixel to the heat map over the image, of 360 x 480 (CamVid's), on the CPU.

    python benchmarks/explore.py RUN [RUN2]

`handler` is the server's part alone: probabilities, heat map, picture. `browser` is what a person waits: a headless
Chromium on the same machine, which has dropped the image on the page, from the click until the new heat map is
painted. Both have seen the image before; `open` is the first look at it, with the networks. Wall-clock time; the
processor time of the handler is told beside it, since others may share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from measure import environment, write
from PIL import Image
from playwright.sync_api import sync_playwright

from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.explore.choices import Choice
from pixelcontrast.explore.desk import Desk
from pixelcontrast.explore.handlers import Handlers, Session
from pixelcontrast.explore.panels import Panels
from pixelcontrast.explore.runs import ExploredRun
from pixelcontrast.recipe.root import Recipe, load

RESULTS = Path(__file__).parent / "results"
HEIGHT, WIDTH = 360, 480
PAUSE = 2500  # milliseconds between clicks, as a person who looks
# Clicks at a place; resolves with the milliseconds until another heat map is painted.
CLICK = """([across, down]) => new Promise((resolve) => {
    const photo = document.querySelector(".viewer .photo"), layer = document.querySelector(".viewer .layer");
    const box = photo.getBoundingClientRect(), begin = performance.now();
    const painted = () => requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - begin)));
    new MutationObserver((_, observer) => {
        observer.disconnect();
        layer.decode().then(painted);
    }).observe(layer, { attributes: true, attributeFilter: ["src"] });
    photo.dispatchEvent(new MouseEvent("click", {
        bubbles: true, clientX: box.left + across * box.width, clientY: box.top + down * box.height }));
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--output", type=Path, default=RESULTS / "explore_cpu.json")
    options = parser.parse_args()
    places = [((7 * i % 29 + 0.5) / 29, (11 * i % 31 + 0.5) / 31) for i in range(options.clicks)]
    with tempfile.TemporaryDirectory() as folder:
        recipes = [load(str(RunFolder(run).recipe)) for run in options.runs]
        image = draw_image(recipes[0], Path(folder) / "scene.png")
        results = handler(options.runs, recipes, image, places) | {"browser": browser(options.runs, image, places)}
    print(json.dumps(results, indent=1))
    models = [str(recipe.model.backbone) for recipe in recipes]
    settings = {"runs": len(options.runs), "models": models, "image": (HEIGHT, WIDTH)}
    where = environment() | {"clock": "wall", "load_average": os.getloadavg()[1]}
    write(options.output, {"environment": where, "settings": settings, "results": results})


def draw_image(recipe: Recipe, path: Path) -> Path:
    """An image of the runs' data, brought to the size that is measured."""
    sample = recipe.data.open(recipe.data.splits[-1])[0]
    Image.fromarray(sample.image.permute(1, 2, 0).numpy()).resize((WIDTH, HEIGHT)).save(path)
    return path


def handler(
    runs: Sequence[Path], recipes: Sequence[Recipe], image: Path, places: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Seconds of the server's part."""
    desk = Desk([ExploredRun(run, recipe) for run, recipe in zip(runs, recipes, strict=True)])
    handlers = Handlers(desk, Panels(desk.space), image.parent)
    opening = timed(lambda: handlers.open_dropped(Session(), "prediction", "features", str(image)))
    session = Session(Choice("", str(image)))
    events = [gr.EventData(None, {"x": across, "y": down}) for across, down in places]
    clicks = [timed(partial(handlers.pick, session, "features", event)) for event in events]
    waited, worked = zip(*clicks, strict=True)
    return {
        "open": {"wall_s": opening[0], "processor_s": opening[1]},
        "handler": summary(waited) | {"median_processor_s": statistics.median(worked)},
    }


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    begin, begin_processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - begin, time.process_time() - begin_processor


def browser(runs: Sequence[Path], image: Path, places: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Seconds from a click until the heat map is painted."""
    with serving(runs) as address, sync_playwright() as engine:
        page = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"]).new_page()
        page.goto(address)
        page.wait_for_selector("#elsewhere-0 .elsewhere img")
        page.locator("#dropped input[type=file]").set_input_files(image)
        page.wait_for_function("name => document.querySelector('.viewer .photo').alt === name", arg=image.name)
        seconds = []
        for place in places:
            page.wait_for_timeout(PAUSE)
            seconds.append(page.evaluate(CLICK, place) / 1000)
    return summary(seconds)


@contextmanager
def serving(runs: Sequence[Path]) -> Iterator[str]:
    """The command, and the address that it says."""
    command = [sys.executable, "-m", "pixelcontrast", "explore", *map(str, runs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().split()[2]
    process.send_signal(signal.SIGINT)
    process.wait()


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median, and the slowest of twenty."""
    return {
        "median_s": statistics.median(seconds),
        "percentile_95_s": statistics.quantiles(seconds, n=20)[-1],
        "clicks": len(seconds),
    }


if __name__ == "__main__":
    main()
