"""Where the first number that is not finite arises in a training step: weights, modules, terms, gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.ops.resize import resize_labels
from pixelcontrast.types import Batch, SegmentationOutput

_SHOWN = 6


@dataclass(frozen=True)
class Seen:
    """Numbers at one place.

    Attributes:
        name: Of the module, as `named_modules` gives it, or of the parameter.
        kind: Class of the module, or `parameter`.
        largest: Largest magnitude among the finite numbers.
        finite: Share of the numbers that are finite, 0 to 1.
    """

    name: str
    kind: str
    largest: float
    finite: float

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}): largest {self.largest:.3g}, {100 * (1 - self.finite):.3g} % not finite"


@dataclass(frozen=True)
class Diagnosis:
    """What one batch's forward and backward pass showed, in the order in which it was computed.

    Attributes:
        weights: Parameters that were not finite before the step.
        modules: Outputs of modules up to the first one that is not finite, or all of them.
        terms: Value of each part of the loss.
        gradients: Parameters with gradients that are not finite, the first to get one first.
        classes: Names of the classes whose pixels or anchors are not finite, the most frequent first.
        names: Images of the batch.
    """

    weights: tuple[str, ...]
    modules: tuple[Seen, ...]
    terms: dict[str, float]
    gradients: tuple[str, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def module(self) -> Seen | None:
        """The first module whose output is not finite."""
        return self.modules[-1] if self.modules and self.modules[-1].finite < 1 else None

    @property
    def bad_terms(self) -> tuple[str, ...]:
        """Parts of the loss that are not finite."""
        values = {name: torch.tensor(value) for name, value in self.terms.items() if name != "loss"}
        return tuple(name for name, value in values.items() if not value.isfinite())

    @property
    def found(self) -> bool:
        """Whether anything was not finite."""
        return bool(self.weights or self.module or self.bad_terms or self.gradients)

    def text(self) -> str:
        """One line: the first place, the terms, the classes, the files."""
        parts = []
        if self.weights:
            parts.append(f"weights that were not finite before the step: {_few(self.weights)}")
        if self.module is not None:
            parts.append(f"first in the output of {self.module}")
        if self.bad_terms:
            parts.append("terms: " + ", ".join(f"{name} {self.terms[name]:g}" for name in self.bad_terms))
        if not (self.weights or self.module or self.bad_terms) and self.gradients:
            parts.append(f"the loss is finite, but not its gradient, first of {_few(self.gradients)}")
        if self.classes:
            parts.append(f"classes: {_few(self.classes)}")
        return "; ".join([*parts, f"files: {_few(self.names, most=32)}"])


def diagnose(
    task: SegmentationTask,
    batches: Sequence[Batch],
    *,
    step: int,
    class_names: Sequence[str],
    precision: Callable[[], AbstractContextManager[Any]],
    scale: float = 1.0,
) -> tuple[Diagnosis, ...]:
    """Run a step's batches forward and backward, up to the first that is not finite, and look at every number.

    The network runs as it is written, not compiled. Statistics, memory, generators and gradients change as in
    training; the caller sees to them.

    Args:
        task: Network, terms and criterion, in training mode.
        batches: Of one optimiser step, on the network's device.
        step: Number of the step.
        class_names: By class id.
        precision: Makes what a forward pass runs in: autocast, or nothing.
        scale: What the loss is multiplied by before the backward pass: the scaler's scale.

    Returns:
        One entry a batch that was run.
    """
    task.zero_grad(set_to_none=True)
    results = []
    for batch in batches:
        results.append(_look(task, batch, step, tuple(class_names), precision, scale / len(batches)))
        if results[-1].found:
            break
    return tuple(results)


def _look(
    task: SegmentationTask,
    batch: Batch,
    step: int,
    class_names: tuple[str, ...],
    precision: Callable[[], AbstractContextManager[Any]],
    scale: float,
) -> Diagnosis:
    weights = tuple(name for name, parameter in task.named_parameters() if not bool(parameter.isfinite().all()))
    outputs: list[SegmentationOutput] = []

    def network(image: Tensor) -> SegmentationOutput:
        output: SegmentationOutput = task.segmentor(image)
        output.logits.retain_grad()
        outputs.append(output)
        return output

    modules: list[Seen] = []
    gradients: list[str] = []
    with _watching_outputs(task, modules), _watching_gradients(task, gradients):
        with precision():
            loss, parts = task.loss_of(batch, step=step, network=network)
        (loss * scale).backward()  # type: ignore[no-untyped-call]
    bad = _classes(task, batch, outputs[0].logits, len(class_names))
    return Diagnosis(
        weights=weights,
        modules=tuple(modules),
        terms={name: float(value) for name, value in parts.items() if name.startswith("loss")},
        gradients=tuple(gradients),
        classes=tuple(class_names[i] for i in bad),
        names=batch.names,
    )


@contextmanager
def _watching_outputs(task: nn.Module, seen: list[Seen]) -> Iterator[None]:
    def watch(name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if not seen or seen[-1].finite == 1:  # what comes after the first follows from it
                seen.extend(_summary(name, type(module).__name__, _tensors(output)))

        return hook

    with ExitStack() as stack:
        for name, module in task.named_modules():
            if name:
                stack.enter_context(module.register_forward_hook(watch(name)))
        yield


@contextmanager
def _watching_gradients(task: nn.Module, found: list[str]) -> Iterator[None]:
    def watch(name: str) -> Any:
        def hook(parameter: Tensor) -> None:
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
                found.append(name)

        return hook

    with ExitStack() as stack:
        for name, parameter in task.named_parameters():
            if parameter.requires_grad:
                handle = parameter.register_post_accumulate_grad_hook(watch(name))  # type: ignore[no-untyped-call]
                stack.enter_context(handle)
        yield


@torch.no_grad()
def _summary(name: str, kind: str, tensors: Sequence[Tensor]) -> list[Seen]:
    if not tensors:
        return []
    numbers = torch.cat([tensor.flatten().float() for tensor in tensors])
    finite = numbers.isfinite()
    largest = float(numbers.abs().where(finite, 0).max()) if numbers.numel() else 0.0
    return [Seen(name, kind, largest, float(finite.double().mean()) if numbers.numel() else 1.0)]


def _tensors(output: Any) -> list[Tensor]:
    """The floating-point tensors of a module's output, whatever it is packed in."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if is_dataclass(output) and not isinstance(output, type):
        return _tensors([getattr(output, field.name) for field in fields(output)])
    if isinstance(output, dict):
        return _tensors(list(output.values()))
    return [each for inner in output for each in _tensors(inner)] if isinstance(output, list | tuple) else []


@torch.no_grad()
def _classes(task: SegmentationTask, batch: Batch, logits: Tensor, num_classes: int) -> list[int]:
    """Classes at the cells where logits or their gradients are not finite, and of the anchors that are not."""
    counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=batch.labels.device)
    labels = resize_labels(batch.labels, logits.shape[-2:])
    for values in (logits, logits.grad):
        if values is not None:
            counts += _counted(labels[~values.isfinite().all(1)], num_classes)
    record = task.contrast.last_call if task.contrast is not None else None
    if record is not None:
        counts += _counted(record.labels[~record.anchors.isfinite().all(1)], num_classes)
    order = counts[:-1].argsort(descending=True, stable=True).tolist()
    return [i for i in order if counts[i] > 0]


def _counted(labels: Tensor, num_classes: int) -> Tensor:
    known = (labels >= 0) & (labels < num_classes)
    return torch.bincount(labels.where(known, num_classes), minlength=num_classes + 1)


def _few(names: Sequence[str], most: int = _SHOWN) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
