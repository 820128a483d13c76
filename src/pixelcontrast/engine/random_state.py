"""The state of every global random generator, as plain values and tensors that a checkpoint may hold."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelcontrast.engine.ranks import gathered


def seed_all(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """State of the generators of Python, numpy and torch, on the CPU and on this process's GPU."""
    name, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {"python": random.getstate(), "numpy": (name, [int(key) for key in keys], *rest)}
    return state | torch_state()


def set_random_state(state: dict[str, Any]) -> None:
    """Go on with the generators where `random_state` saw them; a GPU that was not there then is left alone."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    set_torch_state(state)


def torch_state() -> dict[str, Tensor]:
    """State of torch's generators, on the CPU and on this process's GPU."""
    state = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_torch_state(state: Mapping[str, Any]) -> None:
    """Go on with torch's generators where `torch_state` saw them; a GPU that was not there then is left alone."""
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def gathered_random_states() -> list[dict[str, Any]]:
    """The states of all ranks, in their order; every rank must ask."""
    return gathered([random_state()])
