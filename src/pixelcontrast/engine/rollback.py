"""Going back to where a training step began, before its optimiser changed anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixelcontrast.contrast import MemoryBank
from pixelcontrast.contrast.undo import MemoryMark, mark, take_back
from pixelcontrast.engine.random_state import torch_state


@dataclass(frozen=True)
class StepStart:
    """What a step's forward passes change, as it was before them: statistics, counters, memories, random generators.

    Weights are not in it, for the optimiser alone changes those. Keeping it copies some hundred small tensors and the
    rows of the memories that the step can overwrite, and waits for nothing.

    Attributes:
        buffers: Of all modules.
        memories: What the step can overwrite of each memory.
        generators: State of torch's generators, as `torch_state` gives it.
    """

    buffers: tuple[Tensor, ...]
    memories: tuple[MemoryMark, ...]
    generators: dict[str, Tensor]

    @classmethod
    def of(cls, task: nn.Module, memories: Sequence[MemoryBank], *, images: int, batches: int) -> StepStart:
        """Keep the state before a step of so many batches of so many images on this rank."""
        now = tuple(task.buffers())
        buffers = tuple(torch.empty_like(buffer) for buffer in now)
        _copy(now, into=buffers)
        marks = tuple(mark(memory, images=images, calls=batches) for memory in memories)
        return cls(buffers, marks, torch_state())

    @torch.no_grad()
    def restore(self, task: nn.Module, memories: Sequence[MemoryBank]) -> None:
        """Bring statistics, counters and memories back; the generators stay where they are."""
        _copy(self.buffers, into=tuple(task.buffers()))
        for memory, kept_rows in zip(memories, self.memories, strict=True):
            take_back(memory, kept_rows)


@torch.no_grad()
def _copy(values: Sequence[Tensor], *, into: Sequence[Tensor]) -> None:
    """Copy tensors, all of one kind in a few launches: HRNet-W48 has 918 buffers."""
    kinds: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
    for value, place in zip(values, into, strict=True):
        places, of_kind = kinds.setdefault((value.dtype, value.device), ([], []))
        places.append(place)
        of_kind.append(value)
    for places, of_kind in kinds.values():
        torch._foreach_copy_(places, of_kind)
