"""What the keys do to the gradient of pixel contrast at the features of a trained network.

    python benchmarks/gradients.py RUN [RUN ...]

RUN is a run folder of `pixelcontrast train` with contrast. Its network and projection, as its newest checkpoint has
them, meet the run's next batches with five kinds of keys, equal anchors for all:

    in_batch                the anchors themselves, as in the loss: gradients flow into both sides of a pair
    detached                the same keys, but no gradient flows into them
    pixels, regions, both   beside the anchors a memory of 512 pixels, 64 regions, or both, a class

Memories are filled with earlier batches by the same weights, so nothing in them is stale. Given for each: the length of
the gradient, relative to in_batch, and the cosine of its angle to that of in_batch and to that of cross entropy.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from measure import write
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, interpolate

from pixelcontrast import MemoryOptions, PixelContrast
from pixelcontrast.engine.checkpoints import newest_whole_checkpoint, step_of
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.training import build_task
from pixelcontrast.recipe.root import Recipe, load
from pixelcontrast.types import Batch, PixelSet

RESULTS = Path(__file__).parent / "results"
FILLING, MEASURED = 35, 10  # batches; common classes turn a memory of 512 pixels over in seven
MEMORIES = {
    "in_batch": None,
    "detached": None,
    "pixels": MemoryOptions(pixels_per_class=512, regions_per_class=0),
    "regions": MemoryOptions(pixels_per_class=0, regions_per_class=64),
    "both": MemoryOptions(pixels_per_class=512, regions_per_class=64),
}


class DetachedKeys(PixelContrast):
    """Pixel contrast in which the keys of the batch are taken as given, as those of a memory are."""

    def _in_batch_keys(self, anchors: Tensor, labels: Tensor) -> tuple[PixelSet, Tensor]:
        keys, own_key = super()._in_batch_keys(anchors, labels)
        return PixelSet(keys.embeddings.detach(), keys.labels), own_key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--filling", type=int, default=FILLING, help="batches that fill the memories")
    parser.add_argument("--measured", type=int, default=MEASURED, help="batches whose gradients are measured")
    parser.add_argument("--output", type=Path, default=RESULTS / "gradients_cpu.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {str(run): measure(run, options.filling, options.measured) for run in options.runs}
    for run, figures in results.items():
        print(f"| {run} | length | relative | cosine to in_batch | cosine to cross entropy |\n|---|---|---|---|---|")
        for name, row in figures.items():
            print(f"| {name} | {' | '.join(f'{value:.4g}' for value in row.values())} |")
    write(options.output, {"filling": options.filling, "measured": options.measured, "runs": results})


def measure(run: Path, filling: int, measured: int) -> dict[str, dict[str, float]]:
    recipe = load(str(run / "recipe.yaml"), ["data.workers=0"])
    task, step = trained(run, recipe)
    criteria = {name: criterion_of(name, task, recipe) for name in MEMORIES}
    batches = task.training_data.loader(task.segmentor, start_step=step, num_steps=step + filling + measured)
    lengths, cosines, to_dense = defaultdict(list), defaultdict(list), defaultdict(list)
    for number, batch in enumerate(batches):
        gradients = gradients_of(task, criteria, batch, number)
        if number < filling:
            continue
        for name, gradient in gradients.items():
            lengths[name].append(float(gradient.norm()))
            cosines[name].append(float(cosine_similarity(gradient, gradients["in_batch"], dim=0)))
            to_dense[name].append(float(cosine_similarity(gradient, gradients["cross_entropy"], dim=0)))
    mean = statistics.fmean
    return {
        name: {
            "length": mean(lengths[name]),
            "relative": mean(lengths[name]) / mean(lengths["in_batch"]),
            "cosine_to_in_batch": mean(cosines[name]),
            "cosine_to_cross_entropy": mean(to_dense[name]),
        }
        for name in lengths
    }


def trained(run: Path, recipe: Recipe) -> tuple[SegmentationTask, int]:
    """The run's network and projection after its newest checkpoint, and the step of that."""
    checkpoint = newest_whole_checkpoint(run / "checkpoints")
    if checkpoint is None or recipe.contrast is None:
        raise SystemExit(f"{run}: expected a run with contrast and a checkpoint")
    task = build_task(recipe)
    task.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    return task.train(), step_of(checkpoint)


def criterion_of(name: str, task: SegmentationTask, recipe: Recipe) -> PixelContrast:
    """The run's criterion with the keys of that name."""
    kind = DetachedKeys if name == "detached" else PixelContrast
    options = replace(recipe.contrast, memory=MEMORIES[name])
    criterion = kind.from_options(task.contrast.in_channels, task.contrast.num_classes, options, seed=recipe.seed)
    criterion.head.load_state_dict(task.contrast.head.state_dict())
    return criterion


def gradients_of(
    task: SegmentationTask, criteria: dict[str, PixelContrast], batch: Batch, number: int
) -> dict[str, Tensor]:
    """Gradients at the features, flat; each call stores the batch in the memories."""
    with torch.autocast("cpu", torch.bfloat16, enabled=task.options.precision == "bf16"):
        output = task.segmentor(batch.image)
    logits = output.logits.float()
    dense = cross_entropy(interpolate(logits, batch.labels.shape[-2:], mode="bilinear"), batch.labels, ignore_index=255)
    gradients = {"cross_entropy": torch.autograd.grad(dense, output.features)[0].float()}
    features = output.features.detach().float().requires_grad_()
    for name, criterion in criteria.items():
        criterion.step.fill_(number)  # so that all have the same anchors
        gradients[name] = torch.autograd.grad(criterion(features, batch.labels, logits.detach()), features)[0]
    return {name: gradient.flatten() for name, gradient in gradients.items()}


if __name__ == "__main__":
    main()
