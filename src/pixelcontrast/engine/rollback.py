"""Going back to where a training step began, before its optimiser changed anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixelcontrast.contrast import MemoryBank
from pixelcontrast.contrast.undo import MemoryMark, mark, take_back


@dataclass(frozen=True)
class StepStart:
    """What a step's forward passes change, as it was before them: statistics, counters, memory, random generators.

    Weights are not in it, for the optimiser alone changes those. Keeping it copies some hundred small tensors and the
    rows of the memory that the step can overwrite, and waits for nothing.

    Attributes:
        buffers: Of all modules.
        memory: What the step can overwrite of the memory, if there is one.
        generators: State of torch's generators, as `generator_states` gives it.
    """

    buffers: tuple[Tensor, ...]
    memory: MemoryMark | None
    generators: dict[str, Tensor]

    @classmethod
    def of(cls, task: nn.Module, memory: MemoryBank | None, *, images: int, batches: int) -> StepStart:
        """Keep the state before a step of so many batches of so many images on this rank."""
        buffers = tuple(buffer.clone() for buffer in task.buffers())
        kept = None if memory is None else mark(memory, images=images, calls=batches)
        return cls(buffers, kept, generator_states())

    @torch.no_grad()
    def restore(self, task: nn.Module, memory: MemoryBank | None) -> None:
        """Bring statistics, counters and memory back; the generators stay where they are."""
        for buffer, kept in zip(task.buffers(), self.buffers, strict=True):
            buffer.copy_(kept)
        if memory is not None and self.memory is not None:
            take_back(memory, self.memory)


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
