"""The memory: embeddings of earlier steps, kept class by class (Wang et al., ICCV 2021, section 3.3).

Deviation from the paper: it keeps one region row per training image; here a ring keeps the last ones, since images are
cropped at random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from pixelcontrast.contrast import ranks
from pixelcontrast.contrast.budget import check_room
from pixelcontrast.contrast.checks import check_map_of_embeddings
from pixelcontrast.contrast.options import MemoryOptions, Storage, check_memory
from pixelcontrast.contrast.rings import class_ranks, compact, overwrite, ring_slots
from pixelcontrast.ops.hashing import step_key
from pixelcontrast.ops.regions import region_means
from pixelcontrast.ops.resize import resize_labels
from pixelcontrast.ops.sampling import sample_regions
from pixelcontrast.types import PixelSet

_STATE = ("rows", "labels", "stamps", "cursors", "fill", "clock")


class MemoryBank(nn.Module):
    """Two rings per class, of region means and of pixels, in one tensor that is never copied.

    Rows lie class by class, a class's regions before its pixels; one more row at the end takes what is not to be
    stored, so that every write has one shape. The tensors are not registered as buffers: distributed training
    broadcasts buffers from rank 0 at every forward, which would overwrite the other ranks' memories. They follow
    `.to(device)`, `deepcopy` and `state_dict` all the same; their dtype stays as constructed whatever `.half()` or
    `.to(dtype)` is called.

    Args:
        num_classes: Classes 0..num_classes-1 are kept; any other id is not stored.
        embedding_dim: Length of a row.
        pixels_per_class: Capacity for pixels of each class; 0 for none.
        regions_per_class: Capacity for region means of each class; 0 for none.
        pixels_per_region: Random pixels that enter from each class of each image.
        dtype: Of the stored rows, of floating point.
        storage: "device", or "cpu" to keep the rows (not the rest) in host memory, pinned where there is a GPU;
            `enqueue` then waits for the device.
        candidates_per_class: Most pixels of a class that one rank sends the others in one call. None: all.
        gather_ranks: Whether every rank stores every rank's candidates. None: if there is more than one. All ranks must
            then call equally often, and no rank with more images than the largest of all first batches; with more on
            all of them, it is that batch. Under `torch.compile` all must have equally many.
        ignore_index: Label that is not stored though it may lie in 0..num_classes-1.
        seed: Of the choice of pixels.

    Raises:
        ValueError: If a number, `dtype` or `storage` is none that a memory can have.
        UserError: If the memory does not fit; it names the options to lower.
    """

    rows: Tensor
    labels: Tensor
    stamps: Tensor
    cursors: Tensor
    fill: Tensor
    clock: Tensor
    _most_images = 0  # that a rank has had in one call, as far as the ranks have told each other

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        pixels_per_class: int,
        regions_per_class: int,
        pixels_per_region: int = 10,
        dtype: torch.dtype = torch.float32,
        storage: Storage = "device",
        candidates_per_class: int | None = None,
        gather_ranks: bool | None = None,
        ignore_index: int = 255,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_memory(pixels_per_class, regions_per_class, pixels_per_region, candidates_per_class, storage)
        if num_classes < 1 or embedding_dim < 1:
            raise ValueError(f"num_classes and embedding_dim must be positive, got {num_classes} and {embedding_dim}")
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ValueError(f"dtype must be of floating point, such as torch.bfloat16, got {dtype!r}")
        self.num_classes = num_classes
        self.embedding_dim = embedding_dim
        self.capacities = (regions_per_class, pixels_per_class)
        self.pixels_per_region = pixels_per_region
        self.dtype = dtype
        self.storage = storage
        self.candidates_per_class = candidates_per_class
        self.gather_ranks = gather_ranks
        self.ignore_index = ignore_index
        self.seed = seed
        self._allocate(torch.get_default_device())

    @classmethod
    def from_options(
        cls,
        num_classes: int,
        embedding_dim: int,
        options: MemoryOptions,
        *,
        gather_ranks: bool | None = None,
        ignore_index: int = 255,
        seed: int = 0,
    ) -> MemoryBank:
        """Make the memory that the options describe."""
        return cls(
            num_classes,
            embedding_dim,
            pixels_per_class=options.pixels_per_class,
            regions_per_class=options.regions_per_class,
            pixels_per_region=options.pixels_per_region,
            dtype=options.torch_dtype,
            storage=options.storage,
            candidates_per_class=options.candidates_per_class,
            gather_ranks=gather_ranks,
            ignore_index=ignore_index,
            seed=seed,
        )

    def keys(self) -> PixelSet:
        """All rows and their labels, -1 in slots not filled yet: views, not copies, so they change with `enqueue`."""
        return PixelSet(self.rows[:-1], self.labels[:-1])

    @property
    def num_bytes(self) -> int:
        """Size of everything the memory holds, in bytes."""
        return sum(getattr(self, name).nbytes for name in _STATE)

    @property
    def age(self) -> Float[Tensor, " k"]:
        """Mean age of each class's filled rows, in calls of `enqueue`, 1 after the last; 0 for a class without rows."""
        shape = (self.num_classes, sum(self.capacities))
        filled = self.labels[:-1].reshape(shape) >= 0
        ages = (self.clock - self.stamps[:-1]).reshape(shape).where(filled, 0)
        mean: Tensor = ages.sum(dim=1) / filled.sum(dim=1).clamp(min=1)
        return mean

    @torch.no_grad()
    def enqueue(self, embeddings: Float[Tensor, "b d *grid"], labels: Integer[Tensor, "b *image"]) -> None:
        """Store `pixels_per_region` random pixels and the mean of every (image, class) region, over the oldest rows.

        Candidates enter in the order of their images; where a class has more of them than capacity, the last ones win.
        A row that is not finite, or is zero, is not stored.

        Args:
            embeddings: Unit vectors on a grid with one to three dimensions; detached here.
            labels: Class ids on the grid or at the size of the image, brought to the grid by the pixel at each centre.

        Raises:
            ValueError: If shapes do not fit, or labels are no integers.
        """
        check_map_of_embeddings(embeddings, labels, self.embedding_dim)
        labels = resize_labels(labels.long(), embeddings.shape[2:])
        regions = region_means(embeddings, labels, self.num_classes, ignore_index=self.ignore_index)
        positions, drawn, _ = self.sample(labels, self.pixels_per_region)
        self.store(regions, PixelSet(pixel_rows(embeddings, positions), drawn))

    def sample(
        self, labels: Integer[Tensor, "b *grid"], pixels_per_region: int, *, max_pixels: int | None = None
    ) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Draw this call's pixels of every region: see `sample_regions`."""
        return sample_regions(
            labels,
            num_classes=self.num_classes,
            pixels_per_region=pixels_per_region,
            max_pixels=max_pixels,
            ignore_index=self.ignore_index,
            seed=step_key(self.seed, self.clock),
            first_row=ranks.rank() * labels.numel() if self._gathers else 0,
        )

    @torch.no_grad()
    def store(self, regions: PixelSet, pixels: PixelSet) -> None:
        """Store rows as they are, in their order, those of all ranks if ranks are gathered. Counts as one call.

        Args:
            regions: One row per image and class, as `region_means` gives them.
            pixels: At most `pixels_per_region` of each class and image.
        """
        num_images = self._most_on_ranks(regions.labels.shape[0] // self.num_classes)
        caps = (num_images, self.candidates_per_class or num_images * self.pixels_per_region)
        for kind, candidates in enumerate((regions, pixels)):
            if self.capacities[kind]:
                self._write(self._gather(self._usable(candidates), min(caps[kind], self.capacities[kind])), kind)
        self.clock += 1

    def rows_of(self, kind: int, classes: Int[Tensor, "..."], slots: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """Where slots of classes' rings lie; kind 0 are the regions, 1 the pixels."""
        return classes * sum(self.capacities) + kind * self.capacities[0] + slots

    def _usable(self, rows: PixelSet) -> PixelSet:
        """Rows in the dtype of the memory; those that are not finite, or without a direction, lose their label."""
        precise = torch.promote_types(rows.embeddings.dtype, torch.float32)
        norms = torch.linalg.vector_norm(rows.embeddings, dim=1, dtype=precise)
        usable = torch.isfinite(norms) & (norms > 0)
        return PixelSet(rows.embeddings.to(self.dtype), rows.labels.where(usable, -1))

    @property
    def _gathers(self) -> bool:
        return ranks.world_size() > 1 if self.gather_ranks is None else self.gather_ranks and ranks.world_size() > 1

    def _most_on_ranks(self, num_images: int) -> int:
        """For how many images a rank's message has room: of equal size on all ranks, as their exchange demands.

        They ask each other once, and when a batch is larger than any before, so that no later step waits. A compiled
        graph does not ask: there all ranks have equally many.
        """
        if not self._gathers:
            return num_images
        if num_images > self._most_images and not torch.compiler.is_compiling():
            self._most_images = self._ask_ranks(num_images)
        return max(num_images, self._most_images)

    def _ask_ranks(self, num_images: int) -> int:
        filled = torch.cat([self.clock[None], self.cursors.flatten()])
        ranks.require_equal(filled, "memories (calls, or places in a ring)")
        return int(ranks.gather(torch.tensor([num_images], device=filled.device)).max())

    def _gather(self, rows: PixelSet, cap: int) -> PixelSet:
        if not self._gathers:
            return rows
        return ranks.gather_set(compact(rows, num_classes=self.num_classes, capacity=cap))

    def _write(self, rows: PixelSet, kind: int) -> None:
        capacity = self.capacities[kind]
        ranked = class_ranks(rows.labels, self.num_classes)
        slots = ring_slots(ranked, self.cursors[kind], capacity)
        spare = self.labels.shape[0] - 1
        targets = self.rows_of(kind, ranked.labels, slots).where(slots >= 0, spare)
        overwrite(self.rows, rows.embeddings[ranked.order], targets)
        self.labels.index_copy_(0, targets, ranked.labels.where(slots >= 0, -1))
        self.stamps.index_copy_(0, targets, self.clock.expand_as(targets))
        counts = ranked.counts[:-1]
        self.cursors[kind].copy_((self.cursors[kind] + counts) % capacity)
        self.fill[kind].copy_((self.fill[kind] + counts).clamp(max=capacity))

    def _allocate(self, device: torch.device) -> None:
        num_rows = self.num_classes * sum(self.capacities) + 1
        home = torch.device("cpu") if self.storage == "cpu" and device.type != "meta" else device
        self._check_room(home, num_rows)
        pinned = self.storage == "cpu" and home.type == "cpu" and torch.cuda.is_available()
        self.rows = torch.zeros(num_rows, self.embedding_dim, dtype=self.dtype, device=home, pin_memory=pinned)
        self.labels = torch.full((num_rows,), -1, device=device)
        self.stamps = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self.cursors = torch.zeros(2, self.num_classes, dtype=torch.int64, device=device)
        self.fill = torch.zeros(2, self.num_classes, dtype=torch.int64, device=device)
        self.clock = torch.zeros((), dtype=torch.int64, device=device)

    def _check_room(self, device: torch.device, num_rows: int) -> None:
        regions, pixels = self.capacities
        rows = f"{self.num_classes} classes x ({regions} regions + {pixels} pixels)"
        check_room(
            num_rows * self.embedding_dim * self.dtype.itemsize,
            device,
            what=f"a memory of {rows} x {self.embedding_dim}",
            advice='lower memory.pixels_per_class or memory.regions_per_class, or set memory.dtype="bfloat16"',
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MemoryBank:  # noqa: FBT001, FBT002
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        old, new = self.clock.device, fn(torch.empty(0, device=self.clock.device)).device
        if old.type == "meta" != new.type:
            self._allocate(new)
        elif old != new:
            if self.storage == "device":
                self._check_room(new, self.rows.shape[0])
                self.rows = self.rows.to(new)
            for name in _STATE[1:]:
                setattr(self, name, getattr(self, name).to(new))
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:  # noqa: FBT001
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in _STATE:
            destination[prefix + name] = getattr(self, name)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,  # noqa: FBT001
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        unexpected_keys += [key for key in state_dict if key.startswith(prefix) and key[len(prefix) :] not in _STATE]
        for name in _STATE:
            mine, key = getattr(self, name), prefix + name
            if key not in state_dict:
                missing_keys.append(key)
            elif state_dict[key].shape != mine.shape:
                error_msgs.append(
                    f"{key} must be {list(mine.shape)}, got {list(state_dict[key].shape)}: the checkpoint's memory"
                    " has other capacities or classes; train with the options it was made with"
                )
            elif mine.is_meta:
                error_msgs.append(f"{key} is on the meta device, which holds nothing; call to_empty(device=...) first")
            else:
                mine.copy_(state_dict[key])


def pixel_rows(embeddings: Float[Tensor, "b d *grid"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """Pick pixels by their flat position in batch and grid, at once; position -1 picks pixel 0.

    The backward pass writes one map of zeros for all rows together, not one for each, in the memory format of
    `embeddings`: gradients in two formats are added slowly.
    """
    positions = positions.clamp(min=0)
    if embeddings.ndim > 2 and embeddings.stride(1) == 1:  # channels last: rows as they lie
        return embeddings.movedim(1, -1).flatten(0, -2)[positions]
    pixels = embeddings.flatten(2)
    return pixels[positions // pixels.shape[2], :, positions % pixels.shape[2]]
