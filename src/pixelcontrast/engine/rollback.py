"""Going back to where a training step began, before its optimiser changed anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixelcontrast.contrast import MemoryBank
from pixelcontrast.contrast.undo import MemoryMark, mark, take_back


@dataclass(frozen=True)
class StepStart:
    """What a step's forward passes change, as it was before them: statistics, counters, memories, random generators.

    Weights are not in it, for the optimiser alone changes those. Keeping it copies some hundred small tensors and the
    rows of the memories that the step can overwrite, and waits for nothing.

    Attributes:
        buffers: Of all modules.
        memories: What the step can overwrite of each memory.
        generators: State of torch's generators, as `generator_states` gives it.
    """

    buffers: tuple[Tensor, ...]
    memories: tuple[MemoryMark, ...]
    generators: dict[str, Tensor]

    @classmethod
    def of(cls, task: nn.Module, memories: Sequence[MemoryBank], *, images: int, batches: int) -> StepStart:
        """Keep the state before a step of so many batches of so many images on this rank."""
        buffers = tuple(buffer.clone() for buffer in task.buffers())
        marks = tuple(mark(memory, images=images, calls=batches) for memory in memories)
        return cls(buffers, marks, generator_states())

    @torch.no_grad()
    def restore(self, task: nn.Module, memories: Sequence[MemoryBank]) -> None:
        """Bring statistics, counters and memories back; the generators stay where they are."""
        for buffer, kept in zip(task.buffers(), self.buffers, strict=True):
            buffer.copy_(kept)
        for memory, kept_rows in zip(memories, self.memories, strict=True):
            take_back(memory, kept_rows)


def generator_states() -> dict[str, Tensor]:
    """State of the generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_generators(states: dict[str, Any]) -> None:
    """Go on from the state that `generator_states` gave, as far as this machine has the devices."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
