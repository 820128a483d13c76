"""Options of the memory and of the criterion: their names, meanings and defaults have their home here."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch

Projection = Literal["dense", "sampled", "none"]
Storage = Literal["device", "cpu"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """What the memory keeps of each class.

    Attributes:
        pixels_per_class: Pixel embeddings kept, the latest ones. 0: none.
        regions_per_class: Region means kept, the latest ones. 0: none.
        pixels_per_region: Random pixels that enter from every class of every image.
        dtype: Of the stored rows; bfloat16 halves the size.
        storage: "device", or "cpu" for host memory (pinned where there is a GPU), which costs a transfer at every step.
        candidates_per_class: Most pixels that one rank sends of a class at one step. None: all of them.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    pixels_per_class: int = 5000
    regions_per_class: int = 1000
    pixels_per_region: int = 10
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    storage: Storage = "device"
    candidates_per_class: int | None = None

    def __post_init__(self) -> None:
        check_memory(
            self.pixels_per_class,
            self.regions_per_class,
            self.pixels_per_region,
            self.candidates_per_class,
            self.storage,
        )
        _one_of("dtype", self.dtype, tuple(_DTYPES))

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of the stored rows."""
        return _DTYPES[self.dtype]

    def num_bytes(self, num_classes: int, embedding_dim: int) -> int:
        """Planned size of the memory in bytes: rows, and a label and a time stamp for each."""
        rows = num_classes * (self.pixels_per_class + self.regions_per_class) + 1
        return rows * (embedding_dim * self.torch_dtype.itemsize + 16)


@dataclass(frozen=True, kw_only=True)
class ExtraMap:
    """One map more of the backbone that contrast attaches to, with a projection of its own.

    Attributes:
        map: Which one, from 0 for the highest resolution; negative counts from the end.
        weight: What its loss is multiplied by, beside the weight of contrast as a whole.
        memory: Whether it has a memory of its own, of the same capacity; false leaves it the batch alone.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    map: int
    weight: float = 1.0
    memory: bool = True

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight must be positive, got {self.weight}; leave the map out to train without it")


@dataclass(frozen=True, kw_only=True)
class ContrastOptions:
    """Everything pixel contrast is told, apart from the number of channels, the number of classes and the seed.

    Attributes:
        weight: What the loss is multiplied by in the objective (lambda).
        start_step: Training step at which contrast begins; before it, nothing of it is computed.
        ramp_steps: Steps over which the weight then rises linearly. 0: at once.
        embedding_dim: Length of an embedding; under projection "none" it is the number of channels.
        temperature: Divides the similarities.
        final_temperature: Reached linearly after `temperature_steps` calls in training. None: constant.
        temperature_steps: Calls in training over which the temperature changes.
        anchors_per_class: Most anchors of a group of pixels.
        hard_anchor_ratio: Share of a group's anchors kept for pixels that are predicted wrongly, 0 to 1.
        anchor_groups: "class": all pixels of a class in the batch (the paper); "image_class": those in one image (the
            authors' released code).
        max_anchors: Most anchors in all.
        mining: How each anchor's keys are chosen: "semi_hard", "hardest", "random", or "all" for no choice.
        positives_per_anchor: Most positives of an anchor (K+), without effect on "all".
        negatives_per_anchor: Most negatives of an anchor (K-), without effect on "all".
        in_batch_keys: Whether the step's anchors are each other's keys, beside those in memory.
        projection: "dense" projects the whole map; "sampled" only the pixels that are used; "none" takes the features
            as the embeddings.
        projection_norm: "none", or "batch" for a batch normalisation in the projection head, with "dense" only.
        region_pixels: Most pixels of a region that its mean is taken over under "sampled", where the memory's
            `pixels_per_region` is not more.
        max_region_pixels: Most pixels of all regions together under "sampled", on each rank.
        memory: What is kept from earlier steps. None: nothing.
        gather_ranks: Whether the memory takes the candidates of every rank. None: yes if there is more than one.
        gather_keys: Whether the in-batch keys are those of every rank, with gradients to all of them; in training.
        triton: Whether a GPU mines and computes the loss by the Triton kernels, which no benchmark has yet shown to
            win; without effect on a CPU.
        ignore_index: Label of pixels that are never used.
        extra_maps: Maps of the backbone that contrast attaches to beside the one it names (multi-scale contrast, the
            idea of Pissas et al., ECCV 2022); for recipes, `attach` takes several taps instead.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    weight: float = 1.0
    start_step: int = 0
    ramp_steps: int = 0
    embedding_dim: int = 256
    temperature: float = 0.1
    final_temperature: float | None = None
    temperature_steps: int = 0
    anchors_per_class: int = 50
    hard_anchor_ratio: float = 0.5
    anchor_groups: Literal["class", "image_class"] = "class"
    max_anchors: int = 1024
    mining: Literal["semi_hard", "hardest", "random", "all"] = "semi_hard"
    positives_per_anchor: int = 1024
    negatives_per_anchor: int = 2048
    in_batch_keys: bool = True
    projection: Projection = "dense"
    projection_norm: Literal["none", "batch"] = "none"
    region_pixels: int = 64
    max_region_pixels: int = 16384
    memory: MemoryOptions | None = None
    gather_ranks: bool | None = None
    gather_keys: bool = False
    triton: bool = False
    ignore_index: int = 255
    extra_maps: tuple[ExtraMap, ...] = ()

    def __post_init__(self) -> None:
        _at_least(0, start_step=self.start_step, ramp_steps=self.ramp_steps, temperature_steps=self.temperature_steps)
        _at_least(1, embedding_dim=self.embedding_dim, anchors_per_class=self.anchors_per_class)
        _at_least(1, max_anchors=self.max_anchors, region_pixels=self.region_pixels)
        _at_least(1, max_region_pixels=self.max_region_pixels)
        _at_least(1, positives_per_anchor=self.positives_per_anchor, negatives_per_anchor=self.negatives_per_anchor)
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(
                f"weight must be finite and not negative, got {self.weight}; use contrast: null to train without"
            )
        for name in ("temperature", "final_temperature"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}; 0.1 is the paper's")
        if not 0 <= self.hard_anchor_ratio <= 1:
            raise ValueError(f"hard_anchor_ratio must lie in 0..1, got {self.hard_anchor_ratio}")
        _one_of("anchor_groups", self.anchor_groups, ("class", "image_class"))
        _one_of("mining", self.mining, ("semi_hard", "hardest", "random", "all"))
        _one_of("projection", self.projection, ("dense", "sampled", "none"))
        _one_of("projection_norm", self.projection_norm, ("none", "batch"))
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.memory is not None and not isinstance(self.memory, MemoryOptions):
            raise ValueError(f"memory must be MemoryOptions(...) or None, got {self.memory!r}")
        if self.projection_norm == "batch" and self.projection != "dense":
            raise ValueError(
                f'projection_norm="batch" needs every pixel, got projection="{self.projection}"; use projection="dense"'
            )
        kept = 0 if self.memory is None else self.memory.pixels_per_class + self.memory.regions_per_class
        if not self.in_batch_keys and not kept:
            raise ValueError("in_batch_keys=False without a memory leaves no keys; set memory, or in_batch_keys=True")
        if self.gather_keys and not self.in_batch_keys:
            raise ValueError("gather_keys=True needs in_batch_keys=True, got False; set one of them")
        if (self.final_temperature is None) != (self.temperature_steps == 0):
            raise ValueError(
                "final_temperature and temperature_steps go together, got"
                f" {self.final_temperature} and {self.temperature_steps}; set both or neither"
            )


CRITERION_OPTIONS = tuple(
    field.name
    for field in fields(ContrastOptions)
    if field.name not in ("weight", "start_step", "ramp_steps", "extra_maps")
)
"""The options that `PixelContrast` takes as keywords: all but those that the objective applies."""


def preset(name: Literal["paper", "released"], *, training_images: int = 2975) -> ContrastOptions:
    """Options of the paper's full method, or of the setting its authors released code for.

    Args:
        name: "paper": anchors per class, semi-hard mining, memory of pixels and regions. "released": anchors per image
            and class, every in-batch key, no memory, the effective weight of the code.
        training_images: Of the data set, N: the paper keeps 10 N pixels and N regions of every class. Default:
            Cityscapes.
    """
    _one_of("preset", name, ("paper", "released"))
    if name == "paper":
        memory = MemoryOptions(pixels_per_class=10 * training_images, regions_per_class=training_images)
        return ContrastOptions(memory=memory)
    return ContrastOptions(
        weight=0.1429, start_step=5000, anchor_groups="image_class", anchors_per_class=100, mining="all", memory=None
    )


def check_memory(
    pixels_per_class: int,
    regions_per_class: int,
    pixels_per_region: int,
    candidates_per_class: int | None,
    storage: str,
) -> None:
    """Raise ValueError unless a memory can have these sizes and lie there."""
    _at_least(0, pixels_per_class=pixels_per_class, regions_per_class=regions_per_class)
    _at_least(1, pixels_per_region=pixels_per_region, candidates_per_class=candidates_per_class)
    _one_of("storage", storage, ("device", "cpu"))


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got '{value}'")
