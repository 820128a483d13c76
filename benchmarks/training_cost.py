"""Cost of whole training steps: with contrast, without, and both written by hand without the framework.

    python benchmarks/training_cost.py camvid/hrnet_w18_small --rounds 3
    python benchmarks/training_cost.py cityscapes/hrnet_w48 --set data.crop_size=[512,1024] --set trainer.precision=bf16

Four ways to train one recipe from equal weights on equal samples, a process each, in turns:

    plain            cross entropy in a loop by hand: loader, network, loss, optimiser, learning rate
    plain_contrast   the same loop with `PixelContrast` in it
    framework        `pixelcontrast train` with contrast: null
    contrast         `pixelcontrast train` with contrast from the first step

Samples are generated in the layout of the recipe's data set, and prepared in the training process. On a CPU a step's
cost is processor time, which a busy neighbour does not change; on a GPU it is wall time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import write
from PIL import Image
from rich.console import Console

from pixelcontrast.engine.measuring import peak_bytes
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.training import build_task, train
from pixelcontrast.recipe.root import Recipe, dump, load
from pixelcontrast.types import Batch

RESULTS = Path(__file__).parent / "results"
WAYS = ("plain", "plain_contrast", "framework", "contrast")
WARM_UP = 3  # steps that are not counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=20, help="counted steps of each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # a process of one way calls itself so
    parser.add_argument("--root", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.way:
        recipe = prepared(options, options.root, contrast="contrast" in options.way)
        print(json.dumps(run(options.way, recipe)))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = options.output or RESULTS / f"training_cost_{options.recipe.replace('/', '_')}_{device}.json"
    settings = {"recipe": options.recipe, "overrides": options.overrides, "steps": options.steps}
    with tempfile.TemporaryDirectory() as root:
        make_images(load(options.recipe, options.overrides).data.name, Path(root))
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for done in range(1, options.rounds + 1):
            for way in WAYS:
                found[way].append(in_a_process(way, root, sys.argv[1:]))
            results = {way: summary(rounds) for way, rounds in found.items()}
            write(path, {"settings": settings | {"rounds": done}, "results": results, "ratios": ratios(results)})
    report(results)


def prepared(options: argparse.Namespace, root: str, *, contrast: bool) -> Recipe:
    """The recipe for so many steps on the images in `root`, loaded in the training process."""
    steps = WARM_UP + options.steps
    # On a GPU, batches of large images must not be what a step waits for.
    workers = min(os.cpu_count() or 1, 8) if torch.cuda.is_available() else 0
    changes = [f"data.root={root}", f"data.workers={workers}", "data.cache=true", "model.pretrained=false"]
    changes += [f"trainer.max_steps={steps}", f"trainer.checkpoint_every={10 * steps}", "trainer.logger=none"]
    changes += ["contrast.start_step=0"] if contrast else ["contrast=null"]
    return load(options.recipe, [*options.overrides, *changes])


def in_a_process(way: str, root: str, arguments: list[str]) -> dict[str, float]:
    command = [sys.executable, __file__, *arguments, "--way", way, "--root", root]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    if output.returncode:
        raise SystemExit(f"{way} failed:\n{output.stdout}{output.stderr}")
    figures: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    print(way, figures, flush=True)
    return figures


def run(way: str, recipe: Recipe) -> dict[str, float]:
    """Train, and give the median seconds of the counted steps and the most memory until then."""
    marks: list[float] = []
    if way.startswith("plain"):
        device = loop_by_hand(recipe, lambda device: marks.append(clock(device)))
    else:
        device = loop_by_framework(recipe, marks)
    seconds = [after - before for before, after in zip(marks[WARM_UP:], marks[WARM_UP + 1 :], strict=False)]
    return {"seconds": statistics.median(seconds), "peak_bytes": peak_bytes(device)}


def loop_by_hand(recipe: Recipe, mark: Callable[[torch.device], None]) -> torch.device:
    """What a user writes who has a network, a loader and perhaps `PixelContrast`."""
    task = build_task(recipe)  # for equal weights and samples
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, contrast = task.segmentor.to(device).train(), task.contrast
    parameters = [*network.parameters()]
    if contrast is not None:
        parameters += contrast.to(device).train().parameters()
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
    mixed = {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[recipe.trainer.precision]
    term = recipe.loss[0]
    batches = task.training_data.loader(network, num_steps=recipe.trainer.max_steps)
    for step, batch in enumerate(batches):
        mark(device)
        images = batch.image.to(device).contiguous(memory_format=torch.channels_last)
        labels = batch.labels.to(device)
        with torch.autocast(device.type, dtype=mixed, enabled=mixed is not None):
            output = network(images)
            loss = term(output.logits, labels)
            if output.auxiliary_logits is not None:
                loss = loss + recipe.trainer.auxiliary_weight * term(output.auxiliary_logits, labels)
            if contrast is not None and recipe.contrast is not None:
                loss = loss + recipe.contrast.weight * contrast(output.features, labels, output.logits)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / recipe.trainer.max_steps) ** 0.9
        optimizer.step()
    mark(device)
    return device


def loop_by_framework(recipe: Recipe, marks: list[float]) -> torch.device:
    """`pixelcontrast train`; marks the start of every step, and stops before the evaluation."""
    devices: list[torch.device] = []
    whole_step = SegmentationTask.training_step

    def marked(task: SegmentationTask, batch: Batch, batch_idx: int) -> torch.Tensor:
        devices.append(task.device)
        marks.append(clock(task.device))
        return whole_step(task, batch, batch_idx)

    SegmentationTask.training_step = marked  # type: ignore[method-assign]
    SegmentationTask.on_train_end = lambda task: _stop()  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(StepsAreOverError):
        run_dir = Path(folder) / "run"
        train(recipe, recipe_text=dump(recipe), run_dir=run_dir, resume=False, console=Console(file=io.StringIO()))
    return devices[0]


class StepsAreOverError(Exception):
    """The counted steps were made; what follows them in a run is not counted."""


def _stop() -> None:
    raise StepsAreOverError


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def make_images(dataset: str, root: Path) -> None:
    """A few images and labels of every class in blocks, in the layout of CamVid or Cityscapes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 1)):
        for index in range(count):
            if dataset == "camvid":
                image, labels = scene(generator, 360, 480, 11)
                save(image, root / split / f"{index}.png")
                save(labels, root / f"{split}annot" / f"{index}.png")
            elif dataset == "cityscapes":
                image, labels = scene(generator, 1024, 2048, 19)
                name = f"city_000000_{index:06d}"
                save(image, root / "leftImg8bit" / split / "city" / f"{name}_leftImg8bit.png")
                save(labels + 7, root / "gtFine" / split / "city" / f"{name}_gtFine_labelIds.png")
            else:
                raise SystemExit(f"expected a recipe on camvid or cityscapes, got {dataset}")


def scene(generator: np.random.Generator, height: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = generator.integers(0, classes, (-(-height // 32), -(-width // 32)), dtype=np.uint8)
    labels = blocks.repeat(32, axis=0).repeat(32, axis=1)[:height, :width]
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8), labels


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, compress_level=1)


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    seconds = [each["seconds"] for each in rounds]
    return {
        "seconds": statistics.median(seconds),
        "lowest_s": min(seconds),
        "highest_s": max(seconds),
        "peak_mb": max(each["peak_bytes"] for each in rounds) / 1e6,
    }


def ratios(results: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """What contrast costs on top, by hand and in the framework, and what the framework costs."""
    pairs = {
        "contrast over a plain loop": ("contrast", "plain"),
        "contrast over cross entropy, in the framework": ("contrast", "framework"),
        "contrast over cross entropy, by hand": ("plain_contrast", "plain"),
        "framework over a plain loop": ("framework", "plain"),
        "framework over a plain loop, with contrast": ("contrast", "plain_contrast"),
    }
    units = (("time", "seconds"), ("memory", "peak_mb"))
    return {
        name: {what: results[one][unit] / results[other][unit] for what, unit in units}
        for name, (one, other) in pairs.items()
    }


def report(results: dict[str, dict[str, float]]) -> None:
    for way, figures in results.items():
        spread = f"{figures['lowest_s']:.3f}-{figures['highest_s']:.3f}"
        print(f"{way:16}{figures['seconds']:9.3f} s a step ({spread})  {figures['peak_mb']:9.0f} MB")
    for name, pair in ratios(results).items():
        print(f"{name:48} {pair['time']:.3f} x time, {pair['memory']:.3f} x memory")


if __name__ == "__main__":
    main()
