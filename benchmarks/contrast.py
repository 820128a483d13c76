"""Cost of the contrast loss, and of a whole contrast step, against the bare products and against other code.

    python benchmarks/contrast.py loss --keys 19000 95000 190000
    python benchmarks/contrast.py step --memory 0 5000 --baselines
    python benchmarks/contrast.py projection --memory 5000

`loss` is forward and backward of the loss alone. `step` starts from a map of embeddings: anchors, normalisation, loss,
backward to the map, and storing in the memory. `projection` starts from the 720 channels of HRNet-W48 and projects
them. Baselines take gigabytes (pytorch-metric-learning at 190,000 keys 12); each runs only if told to. Sizes that the
JSON has already, of the same source on the same machine, are kept, so that a table can be made piece by piece.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from baselines import DenseStep, pytorch_metric_learning_loss, pytorch_metric_learning_step
from measure import environment, measure, write
from torch import Tensor

from pixelcontrast.contrast import MemoryOptions, PixelContrast
from pixelcontrast.ops import contrast_key_sets, pixel_contrast_loss
from pixelcontrast.types import PixelSet

CLASSES, DIM, ANCHORS_PER_CLASS = 19, 256, 50
IMAGES, GRID = 8, (128, 256)
CHANNELS = 720  # of HRNet-W48, which `projection` starts from
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loss", "step", "projection"])
    parser.add_argument("--keys", type=int, nargs="+", default=[19_000, 95_000, 190_000])
    parser.add_argument("--memory", type=int, nargs="+", default=[0, 5000], help="pixels, and as many regions, a class")
    parser.add_argument("--baselines", action="store_true", help="also dense and pytorch-metric-learning")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the stored keys")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.baselines and importlib.util.find_spec("pytorch_metric_learning") is None:
        parser.error("--baselines needs another library: pip install pytorch-metric-learning")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    run = {"loss": loss_functions, "step": step_functions, "projection": projection_functions}[options.what]
    sizes = options.keys if options.what == "loss" else options.memory
    path = options.output or RESULTS / f"contrast_{options.what}_{options.device}_{options.dtype}.json"
    settings = {"classes": CLASSES, "dim": DIM, "anchors": CLASSES * ANCHORS_PER_CLASS, "dtype": options.dtype}
    results = earlier(path, settings)
    for size in sizes:
        results[str(size)] = measure(run(size, options), options.repetitions)
        report(size, results[str(size)])
        ordered = dict(sorted(results.items(), key=lambda item: int(item[0])))
        write(path, {"settings": settings, "results": ordered})


def earlier(path: Path, settings: dict[str, object]) -> dict[str, dict[str, dict[str, float]]]:
    """Results of a file that were measured where and on what this process measures."""
    content = json.loads(path.read_text()) if path.exists() else {}
    now = environment()
    same = [content.get("environment", {}).get(key) == now[key] for key in ("commit", "hardware", "threads", "torch")]
    return content["results"] if all(same) and content["settings"] == settings else {}


def report(size: int, result: dict[str, dict[str, float]]) -> None:
    print(f"\n{size}")
    bare = result[next(iter(result))]["median_s"]
    for name, figures in result.items():
        spread = f"{figures['quartile_low_s']:.3f}-{figures['quartile_high_s']:.3f}"
        ratio = figures["median_s"] / bare
        print(f"{name:32}{figures['median_s']:9.3f} s  ({spread})  {ratio:7.2f} x  {figures['peak_mib']:9.1f} MiB")


def loss_functions(num_keys: int, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """The loss alone against a memory laid out class by class."""
    device, dtype = options.device, getattr(torch, options.dtype)
    labels = torch.arange(CLASSES, device=device).repeat_interleave(ANCHORS_PER_CLASS)
    anchors = F.normalize(torch.randn(labels.shape[0], DIM, device=device), dim=1).requires_grad_()
    key_labels = (torch.arange(num_keys, device=device) % CLASSES).sort().values
    keys = F.normalize(torch.randn(num_keys, DIM, device=device), dim=1).to(dtype)
    memory = PixelSet(keys, key_labels)
    shuffled = torch.randperm(num_keys, device=device)
    unordered = PixelSet(keys[shuffled], key_labels[shuffled])

    def contrast(mining: str, keys: PixelSet) -> Callable[[], object]:
        return lambda: contrast_key_sets(anchors, labels, None, keys, mining=mining).backward()

    functions: dict[str, Callable[[], object]] = {
        "products": lambda: bare_products(anchors.detach().to(dtype), keys),
        "all": contrast("all", memory),
        "all, keys in random order": contrast("all", unordered),
        "semi_hard": contrast("semi_hard", memory),
        "hardest": contrast("hardest", memory),
        "random": contrast("random", memory),
    }
    if options.baselines:
        functions["dense"] = lambda: pixel_contrast_loss(
            anchors, labels, keys, key_labels, implementation="dense"
        ).backward()  # fmt: skip
        other = pytorch_metric_learning_loss(CLASSES, DIM, num_keys, device)
        functions["pytorch-metric-learning"] = lambda: other(anchors, labels).backward()
    return functions


def bare_products(anchors: Tensor, keys: Tensor, window: int = 1024) -> Tensor:
    """S = A K^T and S K, window by window: the least that a loss over all keys and its gradient can cost."""
    similarity = anchors.new_empty(anchors.shape[0] * window)
    gradient = torch.zeros_like(anchors)
    for start in range(0, keys.shape[0], window):
        part = keys[start : start + window]
        out = similarity[: anchors.shape[0] * part.shape[0]].view(anchors.shape[0], -1)
        torch.mm(anchors, part.T, out=out)
        gradient.addmm_(out, part)
    return gradient


def step_functions(per_class: int, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """A whole step on a map of embeddings, with a full memory of pixels and as many regions."""
    device = options.device
    inputs = scene(DIM, device)
    num_anchors, num_keys = CLASSES * ANCHORS_PER_CLASS, 2 * per_class * CLASSES
    rows = torch.randn(num_anchors, DIM, device=device), torch.randn(num_anchors + num_keys, DIM, device=device)

    def ours(mining: str) -> Callable[[], object]:
        return backward_of(criterion(DIM, per_class, options, mining=mining, projection="none"), *inputs)

    functions: dict[str, Callable[[], object]] = {
        "products": lambda: bare_products(*rows),
        "semi_hard": ours("semi_hard"),
        "all": ours("all"),
    }
    if options.baselines:
        dense = DenseStep(CLASSES, DIM, per_class, ANCHORS_PER_CLASS, device)
        functions["dense"] = backward_of(dense, *inputs)
        other = pytorch_metric_learning_step(dense, num_anchors + num_keys)
        functions["pytorch-metric-learning"] = backward_of(other, *inputs)
    return functions


def projection_functions(per_class: int, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """A whole step from features to the parameters of the projection, which sees every pixel or those that are used."""
    inputs = scene(CHANNELS, options.device)
    return {
        name: backward_of(criterion(CHANNELS, per_class, options, mining="semi_hard", projection=name), *inputs)
        for name in ("dense", "sampled")
    }


def scene(channels: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels in blocks of 16 cells, and logits that are wrong here and there."""
    blocks = torch.randint(0, CLASSES, (IMAGES, GRID[0] // 16, GRID[1] // 16), device=device)
    labels = blocks.repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
    logits = F.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float() + torch.randn(IMAGES, CLASSES, *GRID, device=device)
    return torch.randn(IMAGES, channels, *GRID, device=device).requires_grad_(), labels, logits


def criterion(channels: int, per_class: int, options: argparse.Namespace, **chosen: str) -> PixelContrast:
    """With a full memory of so many pixels of each class and as many regions."""
    memory = MemoryOptions(pixels_per_class=per_class, regions_per_class=per_class, dtype=options.dtype)
    contrast = PixelContrast(channels, CLASSES, memory=memory if per_class else None, **chosen).to(options.device)
    if contrast.memory is not None:
        fill(contrast)
    return contrast


def backward_of(criterion: Callable[..., Tensor], features: Tensor, *others: Tensor) -> Callable[[], object]:
    def step() -> None:
        criterion(features, *others).backward()
        features.grad = None

    return step


def fill(contrast: PixelContrast) -> None:
    """Give every slot of the memory a unit vector."""
    bank = contrast.memory
    assert bank is not None
    # Drawn on the CPU: equal rows wherever the memory lies, and nothing else's draws are moved.
    bank.rows.copy_(F.normalize(torch.randn(bank.rows.shape, generator=torch.Generator().manual_seed(0)), dim=1))
    bank.labels[:-1] = torch.arange(CLASSES, device=bank.labels.device).repeat_interleave(sum(bank.capacities))
    bank.fill.copy_(torch.tensor(bank.capacities)[:, None].expand_as(bank.fill))


if __name__ == "__main__":
    main()
