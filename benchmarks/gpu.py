"""What only a GPU can show: parts of a few minutes each; what this commit measured on this card is not done again.

    python benchmarks/gpu.py                    # every part
    python benchmarks/gpu.py kernel waits       # some
    python benchmarks/gpu.py --small            # tiny sizes, on the CPU where there is no GPU: shows that the parts run

kernel   the loss in bfloat16, by kernels and without, against the bare products (goal: within 2.5 x)
step     a training step of HRNet-W48 at 512x1024, batch 8, in bfloat16, with contrast and without, and contrast alone
         (goal: with projection="sampled" at most 3 % of the step)
profile  which operators and kernels the time of contrast alone goes to
waits    whole training steps with contrast, of which no operation may wait for the GPU
float16  training steps in float16 with a scaler: finite losses, no step skipped but the scaler's first ones
pinned   a memory in pinned host memory against one on the GPU: equal losses, time of both
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from measure import measure, measured_here, write
from torch import Tensor
from torch.nn.functional import normalize

from contrast import CLASSES, RESULTS, backward_of, bare_products, fill
from pixelcontrast.contrast import MemoryOptions, PixelContrast
from pixelcontrast.losses import CrossEntropy
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops import contrast_key_sets, selection
from pixelcontrast.types import Batch, PixelSet


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the problems are; the defaults are those that the goals are stated for."""

    device: str = "cuda"
    model: ModelOptions = ModelOptions(backbone="hrnet_w48", hrnet_fuse="bilinear")
    crop: tuple[int, int] = (512, 1024)
    batch: int = 8
    per_class: int = 5000  # pixels, and as many regions, in memory
    anchors_per_class: int = 50
    keys: tuple[int, ...] = (19_000, 190_000)
    dim: int = 256
    repetitions: int = 10
    steps: int = 20


def small_sizes(device: str) -> Sizes:
    return Sizes(
        device=device, model=ModelOptions(backbone="resnet10t"), crop=(64, 64), batch=2, per_class=20,
        anchors_per_class=4, keys=(190,), dim=16, repetitions=1, steps=3,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true", help="tiny sizes, also without a GPU; figures mean nothing")
    parser.add_argument("--output", type=Path, help="folder of the JSON files")
    options = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    if not has_gpu and not options.small:
        parser.error("expected a CUDA GPU, found none; --small runs on the CPU")
    sizes = small_sizes("cuda" if has_gpu else "cpu") if options.small else Sizes()
    folder = options.output or (Path(tempfile.mkdtemp(prefix="gpu_small_")) if options.small else RESULTS)
    torch.backends.cudnn.benchmark = True
    torch.set_num_threads(1)
    for name in options.parts or PARTS:
        path = folder / f"gpu_{name}.json"
        if measured_here(path):
            print(f"{name}: done before, {path}")
            continue
        torch.manual_seed(0)
        results = PARTS[name](sizes)
        for key, value in results.items():
            print(f"{name}: {key}: {value}")
        write(path, {"settings": asdict(sizes), "results": results})


def kernel(sizes: Sizes) -> dict[str, Any]:
    """The loss alone, forward and backward, against keys in bfloat16 that lie class by class."""
    labels = torch.arange(CLASSES, device=sizes.device).repeat_interleave(sizes.anchors_per_class)
    anchors = normalize(torch.randn(labels.shape[0], sizes.dim, device=sizes.device), dim=1).requires_grad_()
    results = {}
    for num_keys in sizes.keys:
        key_labels = (torch.arange(num_keys, device=sizes.device) % CLASSES).sort().values
        keys = normalize(torch.randn(num_keys, sizes.dim, device=sizes.device), dim=1).bfloat16()
        memory = PixelSet(keys, key_labels)

        def loss(mining: str, implementation: str = "auto", memory: PixelSet = memory) -> Callable[[], object]:
            return lambda: contrast_key_sets(
                anchors, labels, None, memory, mining=mining, implementation=implementation
            ).backward()

        functions: dict[str, Callable[[], object]] = {
            "products": lambda keys=keys: bare_products(anchors.detach().bfloat16(), keys, window=keys.shape[0]),
            "semi_hard, 1 GiB": with_buffers(1 << 30, loss("semi_hard")),
        }
        for mining in ("all", "semi_hard", "hardest", "random"):
            functions[mining] = loss(mining)
            by_kernels = loss(mining, "triton")
            if (sizes.device == "cuda" or "TRITON_INTERPRET" in os.environ) and works(f"{mining}, triton", by_kernels):
                functions[f"{mining}, triton"] = by_kernels
        results[str(num_keys)] = ratios(measure(functions, sizes.repetitions), to="products")
    return results


def works(name: str, function: Callable[[], object]) -> bool:
    """Whether it runs; if not, say why, so that the other figures are kept."""
    try:
        function()
    except Exception as error:  # a compiler's or driver's, of any kind
        print(f"{name} failed: {error!r}")
        return False
    return True


def with_buffers(num_bytes: int, function: Callable[[], object]) -> Callable[[], object]:
    """The function with so much memory for the anchors that are mined at a time, which breaks the bound of 128 MB."""

    def run() -> None:
        with patch.object(selection, "CHUNK_BYTES", num_bytes):
            function()

    return run


def step(sizes: Sizes) -> dict[str, Any]:
    """Whole training steps that share one network, and contrast on its own on features of the same shape."""
    network, batch = segmentor(sizes), batch_of(sizes)
    sampled = criteria(network, batch, sizes)
    functions: dict[str, Callable[[], object]] = {"cross entropy": training_step(network, None, batch, sizes)}
    for mining, contrast in sampled.items():
        functions[f"with contrast, {mining}, sampled"] = training_step(network, contrast, batch, sizes)
    dense = criterion(network, sizes, projection="dense")
    functions["with contrast, semi_hard, dense"] = training_step(network, dense, batch, sizes)
    for mining, alone in contrast_alone(network, sampled, batch, sizes).items():
        functions[f"contrast alone, {mining}, sampled"] = alone
    return ratios(measure(functions, sizes.repetitions), to="cross entropy")


def profile(sizes: Sizes) -> dict[str, Any]:
    """The twenty operators and kernels that take longest in contrast alone: milliseconds and calls of a step."""
    network, batch = segmentor(sizes), batch_of(sizes)
    results = {}
    for mining, run in contrast_alone(network, criteria(network, batch, sizes), batch, sizes).items():
        run()
        with torch.profiler.profile() as profiler:
            for _ in range(sizes.repetitions):
                run()
        table = profiler.key_averages()
        kind = "self_device_time_total" if sizes.device == "cuda" else "self_cpu_time_total"
        longest = sorted(table, key=lambda entry: getattr(entry, kind), reverse=True)[:20]
        results[mining] = {
            entry.key: {
                "ms": getattr(entry, kind) / 1000 / sizes.repetitions,
                "calls": entry.count / sizes.repetitions,
            }
            for entry in longest
        }
    return results


def waits(sizes: Sizes) -> dict[str, Any]:
    """Training steps in which a wait for the GPU is an error; the first one may wait, for it checks the labels."""
    network, batch = segmentor(sizes), batch_of(sizes)
    results: dict[str, Any] = {}
    combinations = (("sampled", "semi_hard"), ("dense", "hardest"), ("sampled", "random"), ("none", "all"))
    for (projection, mining), triton in product(combinations, (False, True)):
        name = f"{projection}, {mining}" + ", triton" * triton
        contrast = criterion(network, sizes, projection=projection, mining=mining, triton=triton)
        run = training_step(network, contrast, batch, sizes)
        if not works(name, run):
            continue
        try:
            with without_waits(sizes.device):
                run()
                figures = contrast.statistics
            results[name] = "no wait" if figures else "no figures"
        except RuntimeError as error:
            results[name] = f"waits: {error}"
    return results | {"checked": sizes.device == "cuda"}


def float16(sizes: Sizes) -> dict[str, Any]:
    """Steps under float16 autocast with a gradient scaler."""
    network, batch = segmentor(sizes), batch_of(sizes)
    scaler = torch.amp.GradScaler(sizes.device)
    run = training_step(network, criterion(network, sizes), batch, sizes, dtype=torch.float16, scaler=scaler)
    losses = [float(run()) for _ in range(sizes.steps)]
    return {"losses": losses, "finite": bool(torch.tensor(losses).isfinite().all()), "scale": scaler.get_scale()}


def pinned(sizes: Sizes) -> dict[str, Any]:
    """Equal steps with the memory on the device and in host memory."""
    losses, functions = {}, {}
    for storage in ("device", "cpu"):
        torch.manual_seed(0)
        network, batch = segmentor(sizes), batch_of(sizes)
        contrast = criterion(network, sizes, storage=storage, mining="all")
        functions[storage] = training_step(network, contrast, batch, sizes)
        losses[storage] = [float(functions[storage]()) for _ in range(sizes.steps)]
    assert contrast.memory is not None
    times = measure(functions, sizes.repetitions)
    return {
        "losses": losses,
        "equal": losses["device"] == losses["cpu"],
        "is_pinned": contrast.memory.rows.is_pinned(),
        **ratios(times, to="device"),
    }


PARTS: dict[str, Callable[[Sizes], dict[str, Any]]] = {
    "kernel": kernel,
    "step": step,
    "profile": profile,
    "waits": waits,
    "float16": float16,
    "pinned": pinned,
}


def segmentor(sizes: Sizes) -> Segmentor:
    return Segmentor(sizes.model, CLASSES).to(sizes.device, memory_format=torch.channels_last).train()


def criterion(network: Segmentor, sizes: Sizes, *, storage: str = "device", **options: Any) -> PixelContrast:
    """With a full memory."""
    memory = MemoryOptions(pixels_per_class=sizes.per_class, regions_per_class=sizes.per_class, storage=storage)
    chosen = {"projection": "sampled", **options}
    contrast = PixelContrast(
        network.feature_channels, CLASSES, memory=memory, anchors_per_class=sizes.anchors_per_class, **chosen
    ).to(sizes.device)
    fill(contrast)
    return contrast


def criteria(network: Segmentor, batch: Batch, sizes: Sizes) -> dict[str, PixelContrast]:
    """The criteria whose time is of interest, by name; the kernels only where they run."""
    found = {mining: criterion(network, sizes, mining=mining) for mining in ("semi_hard", "all")}
    for mining in tuple(found):
        by_kernels = {f"{mining}, triton": criterion(network, sizes, mining=mining, triton=True)}
        for name, run in contrast_alone(network, by_kernels, batch, sizes).items():
            if works(name, run):
                found |= by_kernels
    return found


def contrast_alone(
    network: Segmentor, contrasts: Mapping[str, PixelContrast], batch: Batch, sizes: Sizes
) -> dict[str, Callable[[], object]]:
    """Of each criterion forward, backward and memory, as within a training step."""
    with torch.no_grad():
        output = network(batch.image)
    features = output.features.to(torch.bfloat16).requires_grad_()
    mixed = torch.autocast(sizes.device, dtype=torch.bfloat16)
    return {
        name: backward_of(mixed(contrast.forward), features, batch.labels, output.logits)
        for name, contrast in contrasts.items()
    }


def batch_of(sizes: Sizes) -> Batch:
    """Noise as images, and labels in blocks, as many classes to an image as a street has."""
    height, width = sizes.crop
    block = min(64, height // 4)
    blocks = torch.randint(0, CLASSES, (sizes.batch, height // block, width // block), device=sizes.device)
    labels = blocks.repeat_interleave(block, dim=1).repeat_interleave(block, dim=2)
    image = torch.randn(sizes.batch, 3, height, width, device=sizes.device)
    return Batch(image.contiguous(memory_format=torch.channels_last), labels, ("noise",) * sizes.batch)


def training_step(
    network: Segmentor,
    contrast: PixelContrast | None,
    batch: Batch,
    sizes: Sizes,
    *,
    dtype: torch.dtype = torch.bfloat16,
    scaler: torch.amp.GradScaler | None = None,
) -> Callable[[], Tensor]:
    """Forward, cross entropy, contrast, backward, optimiser; with contrast, the memory."""
    parameters = [*network.parameters(), *(contrast.parameters() if contrast is not None else ())]
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4)
    cross_entropy = CrossEntropy()
    scaler = scaler or torch.amp.GradScaler(sizes.device, enabled=False)

    def run() -> Tensor:
        with torch.autocast(sizes.device, dtype=dtype):
            output = network(batch.image)
            loss: Tensor = cross_entropy(output.logits, batch.labels)
            if contrast is not None:
                loss = loss + contrast(output.features, batch.labels, output.logits)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return run


def without_waits(device: str) -> AbstractContextManager[None]:
    """Within it an operation that waits for the GPU raises; on a CPU nothing waits."""
    return _Strict() if device == "cuda" else nullcontext()


class _Strict:
    def __enter__(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_sync_debug_mode("default")


def ratios(results: dict[str, dict[str, float]], *, to: str) -> dict[str, Any]:
    """Each median also as a multiple of one of them."""
    return {name: {**each, "ratio": each["median_s"] / results[to]["median_s"]} for name, each in results.items()}


if __name__ == "__main__":
    main()
