"""A criterion whose number of channels is not known yet: its parameters exist, their shapes do not."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from pixelcontrast.contrast.criterion import PixelContrast
from pixelcontrast.contrast.options import ContrastOptions
from pixelcontrast.nn.projection import ProjectionHead


class LazyContrast(nn.Module):
    """Stands in for `PixelContrast` until the features are seen.

    Its parameters and its count of steps have the criterion's names and order, and `materialize` makes a criterion that
    holds the very same parameters, so that an optimiser may be given them at once.

    Args:
        num_classes: As `PixelContrast` takes it.
        options: Of the criterion.
        seed: Of the criterion.
    """

    step: Tensor

    def __init__(self, num_classes: int, options: ContrastOptions, *, seed: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.options = options
        self.seed = seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        if options.projection != "none":
            pattern = ProjectionHead(1, 1, norm=options.projection_norm)
            self.head = _blank(pattern)

    def materialize(self, in_channels: int, device: torch.device) -> PixelContrast:
        """Make the criterion, with this module's parameter objects in it."""
        criterion = PixelContrast.from_options(in_channels, self.num_classes, self.options, seed=self.seed)
        criterion.to(device).train(self.training)
        criterion.step.copy_(self.step)
        waiting = dict(self.named_parameters())
        for name, drawn in list(criterion.named_parameters()):
            parameter = waiting[name]
            assert isinstance(parameter, UninitializedParameter)
            parameter.materialize(drawn.shape, device=device, dtype=drawn.dtype)
            with torch.no_grad():
                parameter.copy_(drawn)
            owner, _, leaf = name.rpartition(".")
            setattr(criterion.get_submodule(owner), leaf, parameter)
        return criterion


class _Blank(nn.Module):
    """A module of parameters without shapes, which a state dict neither holds nor misses."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:  # noqa: FBT001
        return

    def _load_from_state_dict(self, *arguments: Any) -> None:
        return


def _blank(pattern: nn.Module) -> nn.Module:
    blank = _Blank()
    for name, parameter in pattern.named_parameters(recurse=False):
        waiting = cast(nn.Parameter, UninitializedParameter(requires_grad=parameter.requires_grad))
        blank.register_parameter(name, waiting)
    for name, child in pattern.named_children():
        blank.add_module(name, _blank(child))
    return blank
