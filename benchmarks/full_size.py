"""Training steps of the paper's models at full size, contrast and memory included: peak memory and time.

    python benchmarks/full_size.py hrnet_w48

Trains the recipe `cityscapes/MODEL` from random weights on generated images in Cityscapes' layout, with contrast from
the first step, so that the second step finds keys in the memory. One model a process: its peak memory is the process's.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import MEBIBYTE, write
from PIL import Image

from pixelcontrast.data.loader import training_loader
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.training import build_task
from pixelcontrast.recipe.root import load
from pixelcontrast.types import Batch

RESULTS = Path(__file__).parent / "results"
STEPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["hrnet_w48", "deeplabv3_r101", "ocr_hrnet_w48"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--without-contrast", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_scenes(Path(folder))
        recipe = load(f"cityscapes/{options.model}", overrides(folder, options))
        task = build_task(recipe).train()
        before = peak_mib()
        results = train(task, batches(task))
    memory = task.contrast.memory if task.contrast is not None else None
    settings = {
        "model": options.model,
        "crop_size": recipe.data.crop_size,
        "batch": options.batch,
        "contrast": recipe.contrast is not None,
        "parameters": sum(parameter.numel() for parameter in task.segmentor.parameters()),
        "memory_mib": memory.num_bytes / MEBIBYTE if memory is not None else 0.0,
    }
    results |= {"peak_mib": peak_mib(), "peak_mib_before_the_first_step": before}
    print(settings | results)
    kind = "cross_entropy" if options.without_contrast else "contrast"
    write(
        options.output or RESULTS / f"full_size_{options.model}_{kind}_cpu.json",
        {"settings": settings, "results": results},
    )


def overrides(root: str, options: argparse.Namespace) -> list[str]:
    data = [f"data.root={root}", "data.label_files=train_ids", f"data.batch_size={options.batch}", "data.workers=0"]
    contrast = "contrast=null" if options.without_contrast else "contrast.start_step=0"
    return [*data, contrast, "model.pretrained=false", f"trainer.max_steps={STEPS}", "trainer.log_every=1000"]


def make_scenes(root: Path) -> None:
    """Two images of 1024x2048 with every class in blocks of 64 pixels."""
    generator = np.random.default_rng(0)
    for index in range(2):
        blocks = generator.integers(0, 19, (16, 32), dtype=np.uint8)
        labels = blocks.repeat(64, axis=0).repeat(64, axis=1)
        image = generator.integers(0, 256, (1024, 2048, 3), dtype=np.uint8)
        name = f"city_000000_{index:06d}"
        save(image, root / "leftImg8bit" / "train" / "city" / f"{name}_leftImg8bit.png")
        save(labels, root / "gtFine" / "train" / "city" / f"{name}_gtFine_labelTrainIds.png")


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, compress_level=0)


def batches(task: SegmentationTask) -> list[Batch]:
    data = task.training_data
    loader = training_loader(
        data.dataset,
        data.options,
        seed=data.seed,
        start_step=0,
        num_steps=STEPS,
        mean=task.segmentor.mean,
        std=task.segmentor.std,
    )
    return [task.transfer_batch_to_device(batch, torch.device("cpu"), 0) for batch in loader]


def train(task: SegmentationTask, chosen: list[Batch]) -> dict[str, object]:
    """Whole training steps: forward, every loss, backward, optimiser, memory."""
    optimizer = task.configure_optimizers()["optimizer"]
    seconds, losses = [], []
    for step, batch in enumerate(chosen):
        begin = time.process_time()
        loss, parts = task.loss_of(batch, step=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.process_time() - begin)
        losses.append({name: float(value) for name, value in parts.items()})
        print(f"step {step}: {seconds[-1]:.1f} s, {losses[-1]}", flush=True)
    if not all(torch.isfinite(parameter).all() for parameter in task.parameters()):
        raise SystemExit("a weight is not finite")
    return {"seconds": seconds, "losses": losses}


def peak_mib() -> float:
    """Most memory that the process ever held in RAM, libraries included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE


if __name__ == "__main__":
    main()
