"""The criterion that reads its features off a model by forward hooks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.contrast.averaging import agree, averaged_parameters
from pixelcontrast.contrast.checks import check_label_range, check_tensor
from pixelcontrast.contrast.criterion import PixelContrast
from pixelcontrast.contrast.lazy import LazyContrast
from pixelcontrast.contrast.options import ContrastOptions
from pixelcontrast.contrast.recording import ModeOf, Recorder
from pixelcontrast.contrast.taps import Tap, as_map, find_module, unwrapped
from pixelcontrast.contrast.targets import (
    cell_labels,
    check_sigmoid_labels,
    confident,
    contrast_classes,
    one_class_a_pixel,
)
from pixelcontrast.ops.hashing import mix


class AttachedContrast(nn.Module):
    """Pixel contrast on the outputs of some modules of a model; made by `attach`.

    It is no part of the model: the model's parameters and state dict stay as they are. Its own parameters (the
    projections) must be given to the optimiser, its own state dict (projections, memory) belongs in the training
    checkpoint. It follows the device of the features, and the mode of the model: under `model.eval()` the loss is
    computed and no state changes. Under `torch.distributed` its gradients are averaged over ranks.

    A copy of the model (`copy.deepcopy`, an EMA) feeds nothing; a copy of both together, pickled too, works on its own.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Sequence[Tap],
        num_classes: int,
        *,
        options: ContrastOptions,
        multi_label: bool = False,
        sparse_labels: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        inner = unwrapped(model)
        modules = [find_module(inner, tap.module) for tap in taps]
        self.taps = tuple(taps)
        self.num_classes = num_classes
        self.options = options
        self.multi_label = multi_label
        self.sparse_labels = sparse_labels
        sigmoid = contrast_classes(num_classes, multi_label=multi_label) > num_classes
        if sigmoid and 0 <= options.ignore_index <= num_classes:
            raise ValueError(f"ignore_index must be no class (0..{num_classes}), got {options.ignore_index}; use 255")
        device = next((parameter.device for parameter in inner.parameters()), torch.device("cpu"))
        self.criteria = nn.ModuleList(self._criterion(i, tap, seed, device) for i, tap in enumerate(taps))
        self._calls = 0
        self._checked = False
        self._agreed = False
        self._mode = ModeOf(inner)
        self._recorders = tuple(Recorder(tap.module, tap.pick, self._mode) for tap in taps)
        self._handles = [m.register_forward_hook(hook) for m, hook in zip(modules, self._recorders, strict=True)]
        self._handles.append(inner.register_forward_pre_hook(self._mode))
        self.register_load_state_dict_pre_hook(_materialize_from)  # type: ignore[no-untyped-call]

    def forward(
        self,
        labels: Tensor,
        logits: Tensor,
        *,
        confidence: Tensor | None = None,
        min_confidence: float | None = None,
    ) -> Float[Tensor, ""]:
        """Compute the weighted loss in nats, summed over taps, for the model's last forward pass.

        Args:
            labels: Class ids [b *image] or [b 1 *image], at any size; [b k *image] of 0 and 1 if multi-label.
            logits: The model's, [b num_classes *any]; only the class they predict is used.
            confidence: Of the labels, one number a pixel, [b *image] or [b 1 *image]; for pseudo-labels.
            min_confidence: Pixels of less confidence are ignored.

        Returns:
            The loss; before `start_step`, when nothing of it is computed, a zero without a graph: add it to another
            loss.

        Raises:
            ValueError: If the model did not run since the last call, or twice, or shapes, devices or labels do not fit;
                the values of the labels are looked at in the first call in training.
        """
        outputs = self._recorded()
        labels, logits = self._read(labels, logits, outputs)
        labels = confident(labels, confidence, min_confidence, ignore_index=self.options.ignore_index)
        maps = [as_map(output, tap, tuple(labels.shape[1:])) for output, tap in zip(outputs, self.taps, strict=True)]
        self._settle(maps)
        weight = self._advance()
        total = torch.zeros((), device=logits.device)
        for criterion, tap, features in zip(self.criteria, self.taps, maps, strict=True):
            if weight * tap.weight > 0:
                total = total + weight * tap.weight * self._loss(criterion, features, labels, logits)
        return total

    @property
    def statistics(self) -> dict[str, Tensor]:
        """Figures of the last call, see `PixelContrast.statistics`; with several taps under "module/figure".

        Where one module is tapped several times, under "module[pick]/figure".
        """
        if len(self.taps) == 1:
            return cast(PixelContrast, self.criteria[0]).statistics if self._settled(0) else {}
        modules = [tap.module for tap in self.taps]
        names = [tap.module if modules.count(tap.module) == 1 else f"{tap.module}[{tap.pick}]" for tap in self.taps]
        return {
            f"{tap}/{name}": value
            for i, tap in enumerate(names)
            if self._settled(i)
            for name, value in cast(PixelContrast, self.criteria[i]).statistics.items()
        }

    def detach(self) -> None:
        """Take the hooks off the model, which is then as it was; off a copy not, where they do nothing any more.

        Calling it twice does no harm.
        """
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for recorder in self._recorders:
            recorder.active = False
            recorder.clear()

    @contextmanager
    def paused(self) -> Generator[None]:
        """Within it, forward passes of the model are not for the loss: `with contrast.paused(): model(other)`."""
        kept = [vars(recorder).copy() for recorder in self._recorders]
        try:
            yield
        finally:
            for recorder, state in zip(self._recorders, kept, strict=True):
                vars(recorder).update(state)

    def get_extra_state(self) -> Tensor:
        """Number of calls in training, which `start_step` and `ramp_steps` count."""
        return torch.tensor(self._calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Set the number of calls in training."""
        self._calls = int(state)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_handles": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for recorder in self._recorders:
            recorder.active = True

    def _criterion(self, index: int, tap: Tap, seed: int, device: torch.device) -> nn.Module:
        options = self.options if tap.memory == "same" else replace(self.options, memory=tap.memory)
        seed = mix(seed, index) if index else seed
        classes = contrast_classes(self.num_classes, multi_label=self.multi_label)
        if tap.in_channels is None:
            return LazyContrast(classes, options, seed=seed)
        return PixelContrast.from_options(tap.in_channels, classes, options, seed=seed).to(device)

    def _settled(self, index: int) -> bool:
        return isinstance(self.criteria[index], PixelContrast)

    def _recorded(self) -> list[Tensor]:
        try:
            if not all(recorder.active for recorder in self._recorders):
                raise ValueError("contrast is detached from the model; call pixelcontrast.attach again")
            return [recorder.take() for recorder in self._recorders]
        finally:
            for recorder in self._recorders:
                recorder.clear()

    def _read(self, labels: Tensor, logits: Tensor, outputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Labels and logits as one class a pixel; the first call in training looks at the values."""
        for output, tap in zip(outputs, self.taps, strict=True):
            _check_match(output, labels, logits, tap)
        ids, scores = one_class_a_pixel(
            labels,
            logits,
            num_classes=self.num_classes,
            multi_label=self.multi_label,
            ignore_index=self.options.ignore_index,
        )
        if not self._checked and self._trains() and not torch.compiler.is_compiling():
            if self.num_classes == 1 or self.multi_label:
                check_sigmoid_labels(labels, ignore_index=self.options.ignore_index)
            else:
                check_label_range(ids, self.num_classes, ignore_index=self.options.ignore_index)
            self._checked = True
        return ids, scores

    def _settle(self, maps: list[Tensor]) -> None:
        """Make the criteria that waited for their channels, on the features' device; equal on all ranks that train."""
        with torch.inference_mode(False):  # what is made in a validation before training is to be trained
            for index, features in enumerate(maps):
                criterion = self.criteria[index]
                if isinstance(criterion, LazyContrast):
                    self._require_nothing_lost(criterion.options, self.taps[index])
                    self.criteria[index] = criterion.materialize(features.shape[1], features.device)
                elif cast(PixelContrast, criterion).step.device != features.device:
                    criterion.to(features.device)
        if not self._agreed and (self._trains() or torch.is_grad_enabled()):  # a frozen model may train contrast
            agree(self.criteria, self._calls, maps[0].device)
            self._agreed = True

    def _require_nothing_lost(self, options: ContrastOptions, tap: Tap) -> None:
        """Refuse to begin anew what has counted calls in training, which a state dict must have told."""
        if self._calls and (options.projection != "none" or options.memory is not None):
            raise ValueError(
                f"{self._calls} calls in training were loaded, but not the projection or the memory of '{tap.module}':"
                " torch.distributed.checkpoint and load_state_dict(strict=False) load only what is there already;"
                " give attach in_channels=, load the whole state dict with load_state_dict, or begin anew with"
                " set_extra_state(torch.tensor(0))"
            )

    def _trains(self) -> bool:
        return self.training and self._mode.training

    def _advance(self) -> float:
        """The weight of this call, which is counted in training."""
        training = self._trains()
        self.criteria.train(training)
        weight = cast(PixelContrast, self.criteria[0]).weight_at(self._calls)
        self._calls += training
        return weight

    def _loss(self, criterion: nn.Module, features: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        labels = cell_labels(
            labels,
            tuple(features.shape[2:]),
            num_classes=contrast_classes(self.num_classes, multi_label=self.multi_label),
            ignore_index=self.options.ignore_index,
            sparse=self.sparse_labels,
        )
        loss: Tensor = torch.func.functional_call(criterion, averaged_parameters(criterion), (features, labels, logits))
        return loss


def _check_match(output: Tensor, labels: Tensor, logits: Tensor, tap: Tap) -> None:
    for name, value in (("labels", labels), ("logits", logits)):
        check_tensor(name, value)
        if value.device != output.device:
            raise ValueError(
                f"{name} are on {value.device}, the features of '{tap.module}' on {output.device}; pass"
                f" {name}.to('{output.device}')"
            )
    if not (output.shape[0] == labels.shape[0] == logits.shape[0]):
        raise ValueError(
            f"'{tap.module}' saw a batch of {output.shape[0]}, labels have {labels.shape[0]} and logits"
            f" {logits.shape[0]}; pass those of the last forward pass, and tap a module that keeps images apart"
        )


def _materialize_from(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Take the channels that criteria wait for from a state dict that is about to be loaded."""
    contrast = cast(AttachedContrast, module)
    for index, criterion in enumerate(contrast.criteria):
        rows = state.get(f"{prefix}criteria.{index}.memory.rows")
        weight = state.get(f"{prefix}criteria.{index}.head.hidden.weight", rows)
        if isinstance(criterion, LazyContrast) and weight is not None:
            contrast.criteria[index] = criterion.materialize(weight.shape[1], weight.device)
