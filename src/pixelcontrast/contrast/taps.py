"""Where contrast attaches to a model: a module's name, and how to read what the module returns as a map of features."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from math import isfinite, isqrt, prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.contrast.options import MemoryOptions
from pixelcontrast.contrast.recording import DATA_PARALLEL, Pick

Layout = Literal["auto", "channels_first", "channels_last", "tokens"]


@dataclass(frozen=True, kw_only=True)
class Tap:
    """One place of a model, for `attach(model, at=[Tap(...), ...])`.

    Attributes:
        module: Name of the module as `model.named_modules()` gives it.
        weight: What this tap's loss is multiplied by in the sum over taps.
        in_channels: Of the features. None: taken from the first forward pass.
        pick: Index or key of the tensor where the module returns several; a tuple for nested containers.
        layout: "channels_first" [b c *grid], "channels_last" [b *grid c], "tokens" [b n c]; "auto" takes three
            dimensions as tokens where the labels have two spatial dimensions or more, anything else as channels first.
        grid: Height and width (depth first, in volumes) of the tokens, row by row; more tokens than that are taken to
            be class or register tokens at the front.
        memory: What this tap remembers of earlier steps. "same": what `attach` was given.
    """

    module: str
    weight: float = 1.0
    in_channels: int | None = None
    pick: Pick | None = None
    layout: Layout = "auto"
    grid: tuple[int, ...] | None = None
    memory: MemoryOptions | Literal["same"] | None = "same"

    def __post_init__(self) -> None:
        known = ("auto", "channels_first", "channels_last", "tokens")
        if self.layout not in known:
            raise ValueError(f"layout must be one of {', '.join(known)}, got '{self.layout}'")
        if not (isfinite(self.weight) and self.weight >= 0):
            raise ValueError(
                f"a tap's weight must be finite and not negative, got {self.weight} at '{self.module}'; leave it out"
            )
        if self.in_channels is not None and self.in_channels < 1:
            raise ValueError(f"in_channels must be positive, got {self.in_channels} at '{self.module}'")


def unwrapped(model: nn.Module) -> nn.Module:
    """The model within DistributedDataParallel and torch.compile, whose modules have the names the user knows.

    Raises:
        ValueError: If it is in nn.DataParallel, whose replicas one loss cannot see.
    """
    while True:
        if isinstance(model, nn.DataParallel):
            raise ValueError(DATA_PARALLEL)
        inner = getattr(model, "_orig_mod", None)  # of torch.compile
        if isinstance(model, nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def find_module(model: nn.Module, name: str) -> nn.Module:
    """Return the module of that name.

    Raises:
        ValueError: If there is none; it lists the nearest names.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    modules.pop("", None)
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(name, modules, n=5, cutoff=0.4)
    last = name.rsplit(".", maxsplit=1)[-1]
    near += [other for other in modules if last and other.rsplit(".", maxsplit=1)[-1] == last and other not in near][:3]
    listed = ", ".join(f"'{other}'" for other in near or list(modules)[-5:])
    raise ValueError(
        f"the model has no module '{name}'; {'near names' if near else 'its last modules'}: {listed}."
        " Leave `at` out and pass example=images to see where contrast can attach"
    )


def as_map(features: Float[Tensor, "b *any"], tap: Tap, image: tuple[int, ...]) -> Float[Tensor, "b c *grid"]:
    """Bring a tapped output to [b c *grid].

    Args:
        features: As the module returned them.
        tap: How to read them.
        image: Spatial size of the labels.

    Raises:
        ValueError: If they have no spatial grid, or not as many dimensions as the labels.
    """
    layout = tap.layout
    if layout == "auto":
        layout = "tokens" if features.ndim == 3 and len(image) > 1 else "channels_first"
    if layout == "tokens":
        features = _token_map(features, tap, image)
    elif features.ndim != len(image) + 2 or prod(features.shape[1:-1]) * prod(features.shape[2:]) == 0:
        raise ValueError(
            f"'{tap.module}' returns {list(features.shape)}, but labels with {len(image)} spatial dimensions need"
            f" [b c{' n' * len(image)}]: it has no spatial grid to match; tap a module before pooling or flattening,"
            ' or state layout="tokens" and grid=(height, width) for a sequence [b n c]'
        )
    elif layout == "channels_last":
        features = features.movedim(-1, 1)
    elif tap.layout == "auto":
        _check_proportions(features, tap, image)
    if prod(features.shape[2:]) == 1 < prod(image):
        raise ValueError(
            f"'{tap.module}' returns one position an image, {list(features.shape)}: it has no spatial grid; tap a"
            " module before the pooling"
        )
    return features


def grids_of(num_tokens: int, image: tuple[int, ...], *, most_prefix: int = 8) -> list[tuple[int, ...]]:
    """Grids (height, width) in the image's proportions that leave at most `most_prefix` of the tokens over."""
    height, width = image
    found: list[tuple[int, ...]] = []
    for prefix in range(most_prefix + 1):
        rows = isqrt(max(num_tokens - prefix, 0) * height // width)
        for candidate in (rows, rows + 1):
            columns = (num_tokens - prefix) // max(candidate, 1)
            same = candidate * columns == num_tokens - prefix and candidate * width == columns * height
            if same and columns and (candidate, columns) not in found:
                found.append((candidate, columns))
    return found


def _token_map(features: Tensor, tap: Tap, image: tuple[int, ...]) -> Tensor:
    if features.ndim != 3:
        raise ValueError(f"tokens must be [b n c], got {list(features.shape)} from '{tap.module}'; set another layout")
    num = features.shape[1]
    if tap.grid is None:
        guesses = grids_of(num, image) if len(image) == 2 else []
        hint = f", perhaps {guesses[0]}" if guesses else ""
        raise ValueError(
            f"'{tap.module}' returns a sequence {list(features.shape)}, whose spatial grid is not known; state"
            f" grid=(height, width) of its {num} tokens{hint}, or tap a module that returns a map"
        )
    prefix = num - prod(tap.grid)
    if prefix < 0 or len(tap.grid) != len(image):
        raise ValueError(
            f"grid={tap.grid} does not fit the {num} tokens of '{tap.module}' and labels of size {image};"
            " state the height and width of the token grid"
        )
    tokens = features[:, prefix:].movedim(-1, 1)
    return tokens.reshape(*tokens.shape[:2], *tap.grid)


def _check_proportions(features: Tensor, tap: Tap, image: tuple[int, ...]) -> None:
    """Channels-last maps pass for channels-first ones but for their proportions."""
    if len(image) == 2 and _skew(features.shape[2:], image) > 2 and _skew(features.shape[1:-1], image) < 1.25:
        raise ValueError(
            f"'{tap.module}' returns {list(features.shape)} for labels of size {image}: this looks like"
            ' [b height width c]; pass layout="channels_last", or "channels_first" if it is not'
        )


def _skew(grid: tuple[int, ...], image: tuple[int, ...]) -> float:
    strides = [side / cells for side, cells in zip(image, grid, strict=True)]
    return max(strides) / min(strides)
