"""Pixel contrast for a model as it is: what it needs of the features is seen by forward hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from torch import nn

from pixelcontrast.contrast.attached import AttachedContrast
from pixelcontrast.contrast.candidates import best_candidate
from pixelcontrast.contrast.options import CRITERION_OPTIONS, ContrastOptions, MemoryOptions, Projection
from pixelcontrast.contrast.recording import Pick
from pixelcontrast.contrast.taps import Layout, Tap


def attach(  # noqa: D417
    model: nn.Module,
    *,
    num_classes: int,
    at: str | Tap | Sequence[str | Tap] | None = None,
    in_channels: int | None = None,
    pick: Pick | None = None,
    layout: Layout = "auto",
    grid: tuple[int, ...] | None = None,
    example: Any = None,
    multi_label: bool = False,
    sparse_labels: bool = False,
    weight: float = 1.0,
    start_step: int = 0,
    ramp_steps: int = 0,
    embedding_dim: int = 256,
    temperature: float = 0.1,
    final_temperature: float | None = None,
    temperature_steps: int = 0,
    anchors_per_class: int = 50,
    hard_anchor_ratio: float = 0.5,
    anchor_groups: Literal["class", "image_class"] = "class",
    max_anchors: int = 1024,
    mining: Literal["semi_hard", "hardest", "random", "all"] = "semi_hard",
    positives_per_anchor: int = 1024,
    negatives_per_anchor: int = 2048,
    in_batch_keys: bool = True,
    projection: Projection = "dense",
    projection_norm: Literal["none", "batch"] = "none",
    region_pixels: int = 64,
    max_region_pixels: int = 16384,
    memory: MemoryOptions | None = None,
    gather_ranks: bool | None = None,
    gather_keys: bool = False,
    triton: bool = False,
    ignore_index: int = 255,
    seed: int = 0,
) -> AttachedContrast:
    """Add pixel contrast to a model in an existing training loop.

        contrast = pixelcontrast.attach(model, at="decode_head.linear_fuse", num_classes=11)
        optimizer = torch.optim.SGD([*model.parameters(), *contrast.parameters()], lr=0.01)
        logits = model(images)
        loss = cross_entropy(logits, labels) + contrast(labels, logits)

    Args:
        model: Any module, also within DistributedDataParallel or torch.compile; attach before its first compiled pass.
        num_classes: Channels of the logits; 1 for binary tasks with a sigmoid (labels 0 and 1).
        at: Name of the module whose output contrast attaches to, or `Tap`s, or several. None: the best candidate on
            `example`; the candidates are printed.
        in_channels: Of that output. None: taken from the first forward pass; the parameters are there at once.
        pick: Index or key, where the module returns several tensors.
        layout: Of the output, see `Tap`.
        grid: Of the output if it is a sequence of tokens, see `Tap`.
        example: What to call the model with to find candidates: a tensor, a tuple of arguments, or a dict of keywords.
        multi_label: Whether a pixel may have several labels: labels [b k *image] of 0 and 1, logits of sigmoids.
        sparse_labels: Whether a cell of the features' grid takes the id of any labelled pixel in it (scribbles,
            points), instead of the one at its centre.
        weight: What the sum over taps is multiplied by.
        start_step: Number of calls in training before contrast begins; until then the loss is zero and costs nothing.
        seed: Of all that is drawn at random while training; the projection's first weights come from torch's generator.

    All other arguments are those of `ContrastOptions`, with the same meanings and defaults.

    Raises:
        ValueError: If the module is not found, the model is in nn.DataParallel, or an option is out of its range.
        UserError: If the memory does not fit.
    """
    given = locals()
    if num_classes < 1:
        raise ValueError(f"num_classes must be positive, got {num_classes}; it is the number of channels of the logits")
    names = (*CRITERION_OPTIONS, "weight", "start_step", "ramp_steps")
    if at is None:
        at = best_candidate(model, example, num_classes=num_classes)
    entries = list(at) if isinstance(at, Sequence) and not isinstance(at, str) else [at]
    for entry in entries:
        if not isinstance(entry, str | Tap):
            raise ValueError(
                f"at must be the name of a module, a Tap, or a list of these, got a {type(entry).__name__}; names are"
                " those of model.named_modules()"
            )
    ofname = {"in_channels": in_channels, "pick": pick, "grid": grid, "layout": None if layout == "auto" else layout}
    stated = {name: value for name, value in ofname.items() if value is not None}
    if stated and (len(entries) != 1 or isinstance(entries[0], Tap)):
        raise ValueError(
            f"{', '.join(stated)} describes one module given by its name; with several, write"
            " at=[Tap(module=..., ...), ...] with these in each Tap"
        )
    if not entries:
        raise ValueError("at must name at least one module, got none; leave it out to have one found on example=")
    return AttachedContrast(
        model,
        [entry if isinstance(entry, Tap) else Tap(module=entry, **cast(Any, stated)) for entry in entries],
        num_classes,
        options=ContrastOptions(**{name: given[name] for name in names}),
        multi_label=multi_label,
        sparse_labels=sparse_labels,
        seed=seed,
    )
