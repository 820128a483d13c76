"""A training step kept whole, for `pixelcontrast replay` to run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelcontrast.data import IGNORE_INDEX
from pixelcontrast.engine.checkpoints import WholeCheckpointIO
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.rollback import StepStart
from pixelcontrast.errors import RunError
from pixelcontrast.nn.weights import load_plain
from pixelcontrast.types import Batch


@dataclass(frozen=True)
class KeptStep:
    """All that one step depends on beside the recipe: tensors and plain values.

    Attributes:
        step: Its number, from 0.
        batches: Image, labels and names of each batch of this rank.
        generators: State of torch's generators at the step's start, as `torch_state` gives it.
        network: Weights and batch statistics of the segmentor at the step's start.
        contrast: State of the criteria by their number, memories included; empty without contrast.
        class_names: By class id.
        palette: By class id.
        precision: As in a recipe.
        scale: What the loss was multiplied by before the backward pass.
    """

    step: int
    batches: list[dict[str, Any]]
    generators: dict[str, Tensor]
    network: dict[str, Tensor]
    contrast: dict[str, Tensor]
    class_names: list[str]
    palette: list[list[int]]
    precision: str
    scale: float

    @classmethod
    def of(
        cls,
        task: SegmentationTask,
        batches: Sequence[Batch],
        start: StepStart,
        step: int,
        precision: str,
        scale: float,
    ) -> KeptStep:
        """The step of a task that stands where the step began."""
        criteria = task.criteria.state_dict()
        return cls(
            step=step,
            batches=[{"image": b.image.cpu(), "labels": b.labels.cpu(), "names": list(b.names)} for b in batches],
            generators=start.generators,
            network={name: value.cpu() for name, value in task.segmentor.state_dict().items()},
            contrast={name: value.cpu() for name, value in criteria.items()},
            class_names=list(task.segmentor.class_names),
            palette=[list(color) for color in task.segmentor.palette],
            precision=precision,
            scale=scale,
        )

    def images(self) -> list[Batch]:
        """The batches, as training was given them."""
        return [Batch(batch["image"], batch["labels"], tuple(batch["names"])) for batch in self.batches]


def save_kept_step(kept: KeptStep, path: Path) -> None:
    """Write a step, whole or not at all.

    Raises:
        OSError, RunError: If it cannot be written.
    """
    content = {field.name: getattr(kept, field.name) for field in fields(kept)}
    WholeCheckpointIO().save_checkpoint(content, path)


def load_kept_step(path: Path) -> KeptStep:
    """Read a step; code inside the file is never run.

    Raises:
        RunError: If there is no such file, or it is none that `save_kept_step` wrote.
    """
    content = load_plain(path)
    try:
        kept = KeptStep(**content)
        _check(kept)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise RunError(f"{path} is no step that a training kept, or is damaged: {error}") from error
    return kept


def _check(kept: KeptStep) -> None:
    """Raise ValueError or TypeError unless the fields are what their annotations say."""
    for name, kind in _KINDS.items():
        if not isinstance(getattr(kept, name), kind):
            raise TypeError(f"{name} is a {type(getattr(kept, name)).__name__}")
    tensors = [kept.generators.values(), kept.network.values(), kept.contrast.values()]
    if not all(isinstance(value, Tensor) for values in tensors for value in values):
        raise TypeError("something else than tensors where tensors are expected")
    if "torch" not in kept.generators or not kept.batches or kept.precision not in ("32", "bf16", "fp16"):
        raise ValueError("a part of it is missing")
    count = len(kept.class_names)
    for batch in kept.images():
        image, labels = batch.image, batch.labels
        if image.ndim != 4 or labels.shape != (image.shape[0], *image.shape[2:]):
            raise ValueError(f"a batch of shapes {tuple(image.shape)} and {tuple(labels.shape)}")
        if bool(((labels < 0) | ((labels >= count) & (labels != IGNORE_INDEX))).any()):
            raise ValueError(f"labels that are none of its {count} classes")


_KINDS = {
    "step": int, "batches": list, "generators": dict, "network": dict, "contrast": dict, "class_names": list,
    "palette": list, "precision": str, "scale": float,
}  # fmt: skip
