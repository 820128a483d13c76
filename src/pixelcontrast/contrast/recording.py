"""What a forward hook keeps of a tapped module's output until the loss asks for it."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Pick = int | str | tuple[int | str, ...]


class ModeOf:
    """In which mode a model is. A forward pre-hook of the model, by which a copy finds the one copied with it.

    The mode of the tapped module says less: a frozen part of a model in training is in eval mode.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        self._model = None if model is None else weakref.ref(model)

    @property
    def training(self) -> bool:
        """Whether it is in training mode; so is a model that is not known yet, or no more."""
        model = self._model() if self._model is not None else None
        return model is None or model.training

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        """Learn which model it is, if that is not known."""
        if self._model is None:
            self._model = weakref.ref(module)

    def __getstate__(self) -> dict[str, Any]:
        return {"_model": None}


class Pass(NamedTuple):
    """What a forward pass left: a module's output, whether gradients were enabled, and the output's version if watched.

    A reentrant checkpoint runs a module without gradients and gives its output some afterwards.
    """

    output: Tensor
    enabled: bool
    version: int | None

    @property
    def can_train(self) -> bool:
        """Whether gradients reach what made the output."""
        return self.enabled and self.output.requires_grad


class Recorder:
    """A forward hook that remembers the last output of its module, of training passes and of others apart.

    It computes nothing, so that what is recomputed under gradient checkpointing and what is traced by a compiler stay
    as they are. Forward passes that run during a backward pass (recomputation) are not recorded. Under `torch.compile`
    the last forward pass counts; otherwise two training passes before one loss are told by `again`.

    A deep or pickled copy records nothing, and holds nothing, until the criterion that was copied with it claims it.

    Attributes:
        name: Of the module, for messages.
        pick: Which entry of the output is taken, see `pick_tensor`.
        mode: Of the model that the module is a part of.
        live: The last forward pass in training mode with gradients enabled.
        still: The last one after it in eval mode, or without gradients.
        again: Whether a training pass came before the one of `live`, without a loss or a backward pass between.
    """

    def __init__(self, name: str, pick: Pick | None, mode: ModeOf) -> None:
        self.name = name
        self.pick = pick
        self.mode = mode
        self.active = True
        self.clear()

    def clear(self) -> None:
        """Forget what was recorded."""
        self.live: Pass | None = None
        self.still: Pass | None = None
        self.again = False
        self._awaited = False

    def take(self) -> Tensor:
        """Return the output that the loss is about, and forget it.

        Raises:
            ValueError: If the module did not run since the last time, or ran twice, or without gradients although they
                are enabled here.
        """
        meant = self._meant()
        again = self.again and meant is self.live
        self.clear()
        if meant is not None and meant.version is not None and meant.output._version != meant.version:
            warnings.warn(
                f"what '{self.name}' returned was changed in place afterwards, as by ReLU(inplace=True): contrast takes"
                " what it has become. If its own output is meant, set inplace=False there",
                stacklevel=2,
            )
        if meant is None:
            raise ValueError(
                f"expected a forward pass of the model before the loss, but '{self.name}' has not run since the last"
                " one; call logits = model(images), then contrast(labels, logits) once. If you did, this module is not"
                " used in that pass, or the model is a copy, or was compiled and run before it was attached to"
                " (torch.compiler.reset() helps)"
            )
        if torch.is_grad_enabled() and not meant.can_train:
            raise ValueError(
                f"'{self.name}' ran without gradients, so that contrast could not train it; call the model outside of"
                " torch.no_grad, tap a module that has trainable parameters at or before it, and checkpoint with"
                " use_reentrant=False"
            )
        if again and torch.is_grad_enabled():
            raise ValueError(
                f"'{self.name}' ran twice before one loss, so that it is not clear which features are meant; call"
                " contrast(labels, logits) after each forward pass, wrap passes without contrast in torch.no_grad()"
                " or contrast.paused(), and tap a module that one pass uses once"
            )
        return meant.output

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Record the output of a forward pass."""
        compiling = torch.compiler.is_compiling()
        if not self.active or (not compiling and torch._C._current_graph_task_id() != -1):
            return  # the latter: recomputation within a backward pass
        if getattr(module, "_is_replica", False):
            raise ValueError(DATA_PARALLEL)
        features = pick_tensor(output, self.pick, self.name)
        enabled = torch.is_grad_enabled()
        watched = enabled and not compiling and not features.is_inference()
        this = Pass(features, enabled, features._version if watched else None)
        if not enabled or not (compiling or self.mode.training):
            self.still = this
            return
        if not compiling:
            self._watch(features)
        self.live, self.still = this, None

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        copied = _inactive(self.name, self.pick, copy.deepcopy(self.mode, memo))
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> tuple[Callable[..., Recorder], tuple[str, Pick | None, ModeOf]]:
        return _inactive, (self.name, self.pick, self.mode)

    def _meant(self) -> Pass | None:
        """The pass that a loss in the mode of now is about: what came in another mode meanwhile does not count."""
        in_training = self.mode.training and torch.is_grad_enabled()
        return (self.live or self.still) if in_training else (self.still or self.live)

    def _watch(self, features: Tensor) -> None:
        self.again = self.again or self._awaited
        self._awaited = True
        if features.requires_grad:
            features.register_hook(self._used)  # type: ignore[no-untyped-call]

    def _used(self, gradient: Tensor) -> None:
        """A backward pass reached the features: the step they belong to is over."""
        self._awaited = False


DATA_PARALLEL = (
    "nn.DataParallel runs copies of the model in threads, so that one loss cannot see the features of all of them;"
    " use torch.nn.parallel.DistributedDataParallel (torchrun), or one device"
)


def pick_tensor(output: Any, pick: Pick | None, name: str) -> Tensor:
    """Take a tensor out of what a module returns: a tensor, tuple, list, dict or dataclass-like mapping (ModelOutput).

    Args:
        output: Of the module.
        pick: Index or key; a tuple of them goes into nested containers. None: the output must be a tensor, or hold
            exactly one of floating point with three dimensions or more.
        name: Of the module, for messages.

    Raises:
        ValueError: If there is no such entry, or it is no tensor, or without `pick` there is not exactly one.
    """
    if pick is not None:
        return _entry(output, pick, name)
    if isinstance(output, Tensor):
        return output
    found = [key for key, value in entries_of(output) if is_map(value)]
    if len(found) == 1:
        return _entry(output, found[0], name)
    raise ValueError(
        f"'{name}' returns {describe(output)}; say which one to take with pick=, an index or a key (a tuple of them for"
        " nested ones)"
    )


def describe(output: Any) -> str:
    """Type and shapes of what a module returns, for messages."""
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)}"
    entries = [f"{key!r}: {_shape(value)}" for key, value in entries_of(output)]
    return f"a {type(output).__name__}" + (" of " + ", ".join(entries) if entries else "")


def _entry(output: Any, pick: Pick, name: str) -> Tensor:
    chosen = output
    for key in pick if isinstance(pick, tuple) else (pick,):
        entries = dict(entries_of(chosen))
        size = len(entries)
        if isinstance(key, int) and isinstance(chosen, Mapping) and -size <= key < size:
            key = list(entries)[key]
        elif isinstance(key, int) and key < 0:
            key += size
        if key not in entries:
            raise ValueError(
                f"'{name}' returns {describe(output)}, which has no entry pick={pick!r}; pick one of these"
            )
        chosen = entries[key]
    if not isinstance(chosen, Tensor):
        raise ValueError(f"pick={pick!r} of '{name}' must be a tensor, got {describe(chosen)}; pick a tensor")
    return chosen


def entries_of(output: Any) -> list[tuple[int | str, Any]]:
    """What a mapping, a dataclass or a sequence holds, with its keys, names or indices; nothing of anything else."""
    if isinstance(output, Mapping):
        return list(output.items())
    if is_dataclass(output) and not isinstance(output, type):
        return [(field.name, getattr(output, field.name)) for field in fields(output)]
    if isinstance(output, Sequence) and not isinstance(output, str):
        return list(enumerate(output))
    return []


def is_map(value: Any) -> bool:
    """Whether a value can be a map of features or a sequence of them: floating point, three dimensions or more."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 3


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _inactive(name: str, pick: Pick | None, mode: ModeOf) -> Recorder:
    recorder = Recorder(name, pick, mode)
    recorder.active = False
    return recorder
