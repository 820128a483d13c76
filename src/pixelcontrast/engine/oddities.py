"""What a recipe may ask for, and probably does not mean."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pixelcontrast.engine.assembly import is_on_cpu
from pixelcontrast.engine.run_options import RunOptions


def oddities(recipe: RunOptions) -> Iterator[str]:
    """Yield, in a line each, what is lawful and does nothing, or is slow on this machine."""
    contrast, warmup, steps = recipe.contrast, recipe.schedule.warmup_steps, recipe.trainer.max_steps
    if contrast is not None and contrast.weight == 0:
        yield "contrast.weight is 0, so contrast is never computed"
    elif contrast is not None and contrast.start_step >= steps:
        yield f"contrast never begins: contrast.start_step is {contrast.start_step}, of trainer.max_steps {steps}"
    if warmup >= steps:
        yield f"the warm-up does not end: schedule.warmup_steps is {warmup}, of trainer.max_steps {steps}"
    if recipe.trainer.precision == "bf16" and is_on_cpu(recipe.trainer) and _emulates_bfloat16():
        yield (
            "trainer.precision is bf16, which a CPU without AVX-512 emulates: steps take several times as long as in"
            " float32; set trainer.precision=32"
        )


def _emulates_bfloat16() -> bool:
    """Of an x86 CPU; of others nothing is known here."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"
