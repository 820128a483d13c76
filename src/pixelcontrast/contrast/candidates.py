"""Which modules of a model contrast can attach to: one forward pass on an example tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixelcontrast.contrast.recording import describe, entries_of, is_map, pick_tensor
from pixelcontrast.contrast.taps import Layout, Tap, grids_of, unwrapped
from pixelcontrast.nn.modes import in_eval_mode

# Dropouts are better attached to before them; what a softmax returns, such as attention weights, are no features.
_PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Softmax, nn.Softmax2d, nn.LogSoftmax)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A module whose output is a map of features.

    Attributes:
        tap: How to attach to it.
        shape: Of its output on the example.
        stride: Pixels of the image for one cell, in each dimension.
        order: When the module finished within the forward pass, from 0.
        feeds_logits: Whether the logits are made of it, with gradients; an auxiliary head's maps are not such.
    """

    tap: Tap
    shape: tuple[int, ...]
    stride: tuple[float, ...]
    order: int
    feeds_logits: bool


def find_candidates(model: nn.Module, example: Any, *, num_classes: int) -> list[Candidate]:
    """Find modules that contrast can attach to, best first, by one forward pass in eval mode.

    Best is a map that the logits are made of, with more channels than classes, at stride 4 to 8, where it is fine
    enough for small objects and not costly, and of those the one nearest to the logits: the paper attaches to the
    features that the classifier reads.

    Args:
        model: Left as it was.
        example: A tensor, a tuple of arguments, or a dict of keywords.
        num_classes: Channels of the logits.

    Raises:
        ValueError: If the example holds no image [b c *image], or no module returns a map.
    """
    model = unwrapped(model)
    arguments, keywords = _call_of(example)
    batch, *image = _image_shape([*arguments, *keywords.values()])
    outputs: dict[int, tuple[str, Tensor, int]] = {}
    order = iter(range(10**9))

    def record(name: str, output: Any) -> None:
        try:
            tensor = pick_tensor(output, None, name)
        except ValueError:
            return  # several tensors, or none
        # a container returns the very tensor of its last part: one entry, under the shorter name
        outputs[id(tensor)] = (name, tensor, next(order))

    nodes = _graph_of(_logits(_run(model, arguments, keywords, record), num_classes))
    found = []
    for name, tensor, position in outputs.values():
        feeds = not nodes or tensor.grad_fn in nodes
        candidate = _candidate(name, tensor, tuple(image), position, feeds_logits=feeds)
        if candidate is not None and tensor.shape[0] == batch:  # not the windows of an image, folded into the batch
            found.append(candidate)
    if not found:
        raise ValueError(
            f"no module of the model returns a map of features for {describe(example)}; name one"
            " with at=, and its layout"
        )
    return sorted(found, key=lambda candidate: _rank(candidate, num_classes))


def best_candidate(model: nn.Module, example: Any, *, num_classes: int, most: int = 10) -> Tap:
    """Print the candidates with shape and stride, best first, and return the first.

    Raises:
        ValueError: If there is no example to find them on.
    """
    if example is None:
        raise ValueError(
            "expected at=, the name of the module to attach to, got none; pass it, or example=images to have candidates"
            " found by one forward pass"
        )
    found = find_candidates(model, example, num_classes=num_classes)
    width = max(len(candidate.tap.module) for candidate in found[:most])
    print(f"contrast can attach to (best first; {len(found)} modules in all):")
    for candidate in found[:most]:
        stride = " x ".join(f"{side:g}" for side in candidate.stride)
        extra = "" if candidate.tap.layout == "auto" else f'  layout="{candidate.tap.layout}"'
        extra += f"  grid={candidate.tap.grid}" if candidate.tap.grid else ""
        print(f"  {candidate.tap.module:{width}}  {list(candidate.shape)}  stride {stride}{extra}")
    print(f"attached to '{found[0].tap.module}'; choose another with at=")
    return found[0].tap


def _run(model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], record: Any) -> Any:
    handles = [
        module.register_forward_hook(lambda _, inputs, output, name=name: record(name, output))
        for name, module in model.named_modules()
        if name and not isinstance(module, _PASSING)
    ]
    try:
        with in_eval_mode(model), torch.enable_grad():  # the graph tells what the logits are made of
            return model(*arguments, **keywords)
    finally:
        for handle in handles:
            handle.remove()


def _logits(output: Any, num_classes: int) -> Tensor | None:
    """The first map of the output that has a channel for each class, or the first map; None without one."""
    if isinstance(output, Tensor):
        return output
    maps = [value for _, value in entries_of(output) if is_map(value)]
    return next((value for value in maps if value.shape[1] == num_classes), maps[0] if maps else None)


def _graph_of(logits: Tensor | None) -> set[Any]:
    """Every operation that the logits are made by; empty where it cannot be told, as for a frozen model."""
    nodes: set[Any] = set()
    waiting = [] if logits is None or logits.grad_fn is None else [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node not in nodes:
            nodes.add(node)
            waiting += [before for before, _ in node.next_functions if before is not None]
    return nodes


def _call_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, dict):
        return (), example
    return (tuple(example), {}) if isinstance(example, tuple | list) else ((example,), {})


def _image_shape(values: list[Any]) -> tuple[int, ...]:
    """Batch and spatial size of the first image."""
    for value in values:
        if is_map(value):
            return (value.shape[0], *value.shape[2:])
    raise ValueError("example must hold an image [b c *image] of floating point, got none; pass a batch as in training")


def _candidate(
    name: str, features: Tensor, image: tuple[int, ...], order: int, *, feeds_logits: bool
) -> Candidate | None:
    """Read the output in the way that keeps the image's proportions best; None where no way does."""
    ways = []
    for layout, grid in _readings(features, image):
        stride = tuple(side / max(cells, 1) for side, cells in zip(image, grid, strict=True))
        if min(grid) > 1 and min(stride) >= 1 and max(stride) / min(stride) < 1.5:
            ways.append((max(stride) / min(stride), layout, grid, stride))
    if not ways:
        return None
    _, layout, grid, stride = min(ways, key=lambda way: way[0])
    tap = Tap(module=name, layout=layout, grid=grid if layout == "tokens" else None)
    return Candidate(tap=tap, shape=tuple(features.shape), stride=stride, order=order, feeds_logits=feeds_logits)


def _readings(features: Tensor, image: tuple[int, ...]) -> Iterator[tuple[Layout, tuple[int, ...]]]:
    if features.ndim == len(image) + 2:
        yield "auto", tuple(features.shape[2:])
        yield "channels_last", tuple(features.shape[1:-1])
    elif features.ndim == 3 and len(image) == 2:
        for grid in grids_of(features.shape[1], image):
            yield "tokens", grid


def _rank(candidate: Candidate, num_classes: int) -> tuple[bool, bool, int, int]:
    channels = candidate.shape[1 if candidate.tap.layout == "auto" else -1]
    finest = min(candidate.stride)
    distance = 0 if 4 <= finest <= 8 else 1 if finest <= 16 else 2
    return not candidate.feeds_logits, channels <= num_classes, distance, -candidate.order
