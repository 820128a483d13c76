"""What the words of `trainer.precision` mean outside of Lightning's loop."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Where the forward pass of a training step runs: autocast to 16 bits, or nothing for "32"."""
    dtype = _AUTOCAST.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype, cache_enabled=False)
