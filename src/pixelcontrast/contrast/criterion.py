"""Pixel contrast as a criterion one adds to a training loop (Wang et al., ICCV 2021, arXiv:2101.11939)."""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from pixelcontrast.contrast import ranks
from pixelcontrast.contrast.checks import check_label_range, check_shapes, check_sizes, warn_of_ignored_class
from pixelcontrast.contrast.memory import MemoryBank, pixel_rows
from pixelcontrast.contrast.options import CRITERION_OPTIONS, ContrastOptions, MemoryOptions, Projection
from pixelcontrast.contrast.statistics import StepRecord, effective_rank, is_collapsed, step_statistics
from pixelcontrast.nn.projection import ProjectionHead
from pixelcontrast.ops.contrast import contrast_key_sets
from pixelcontrast.ops.hashing import mix, step_key
from pixelcontrast.ops.regions import region_means, region_means_of_rows, unit_length
from pixelcontrast.ops.resize import resize_labels
from pixelcontrast.ops.sampling import sample_anchors
from pixelcontrast.types import PixelSet

ANCHORS, MINING, MEMORY = range(3)  # streams of randomness
_JUDGED_ROWS = 2**15  # of the memory, evenly spaced: they tell of a collapse as well as all do


class PixelContrast(nn.Module):
    """Pull pixels of one class together and push classes apart, within the batch and against a memory of earlier ones.

    The criterion holds the projection head, whose parameters the optimiser must be given, and the memory. Nothing of it
    is needed after training. In eval mode the loss is computed and no state changes.

        contrast = PixelContrast(in_channels=720, num_classes=19, memory=MemoryOptions())
        loss = cross_entropy(logits, labels) + contrast(features, labels, logits)

    Args:
        in_channels: Of the features.
        num_classes: Classes are 0..num_classes-1.
        seed: Of the anchors, the mining and the memory's choices; with equal seeds every rank draws alike.

    All other arguments are those of `ContrastOptions`, with the same meanings and defaults.

    On several ranks wrap it in DistributedDataParallel, as the model is, so that its projection is one on all of them.

    Raises:
        ValueError: If an option is out of its range.
        UserError: If the memory does not fit.
    """

    step: Tensor

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
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
    ) -> None:
        given = locals()
        super().__init__()
        self._setup(
            in_channels, num_classes, ContrastOptions(**{name: given[name] for name in CRITERION_OPTIONS}), seed
        )

    @classmethod
    def from_options(
        cls, in_channels: int, num_classes: int, options: ContrastOptions, *, seed: int = 0
    ) -> PixelContrast:
        """Make the criterion that the options describe, its weight's schedule included."""
        criterion = cls.__new__(cls)
        nn.Module.__init__(criterion)
        criterion._setup(in_channels, num_classes, options, seed)
        return criterion

    def _setup(self, in_channels: int, num_classes: int, options: ContrastOptions, seed: int) -> None:
        check_sizes(in_channels, num_classes)
        warn_of_ignored_class(num_classes, ignore_index=options.ignore_index, stacklevel=4)
        if options.triton and torch.cuda.is_available() and importlib.util.find_spec("triton") is None:
            raise ValueError("triton=True needs the package triton, which is not installed; use triton=False")
        self.options = options
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.seed = seed
        self.head = None
        if options.projection != "none":
            self.head = ProjectionHead(in_channels, options.embedding_dim, norm=options.projection_norm)
        self.memory = None
        if options.memory is not None:
            self.memory = MemoryBank.from_options(
                num_classes,
                in_channels if options.projection == "none" else options.embedding_dim,
                options.memory,
                gather_ranks=options.gather_ranks,
                ignore_index=options.ignore_index,
                seed=mix(seed, MEMORY),
            )
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._record: StepRecord | None = None
        self._labels_checked = False

    def forward(
        self,
        features: Float[Tensor, "b c *grid"],
        labels: Integer[Tensor, "b *image"],
        logits: Float[Tensor, "b k *any"],
    ) -> Float[Tensor, ""]:
        """Compute the unweighted loss in nats; in training mode, then store this batch's embeddings in the memory.

        Args:
            features: The map that contrast attaches to, with one to three spatial dimensions.
            labels: Class ids at any size; each pixel of the features' grid takes the id at its centre.
            logits: Of the segmentation head, at any size; only their argmax is used.

        Returns:
            Mean over the anchors that have a positive; a zero attached to the graph if none has.

        Raises:
            ValueError: If shapes do not fit or, at the first call in training, labels hold ids that are neither classes
                nor `ignore_index`. Later calls ignore such ids.
        """
        check_shapes(features, labels, logits, in_channels=self.in_channels, num_classes=self.num_classes)
        self._check_moment(labels)
        labels, predictions = (
            resize_labels(x, features.shape[2:]) for x in (labels.long(), logits.detach().argmax(dim=1))
        )
        positions, anchor_labels = self._sample(labels, predictions)
        pixels = self._project(features) if self.options.projection == "dense" else features
        rows = pixel_rows(pixels, positions)  # where there is no anchor, those of the first pixel
        anchors = self._embed(rows.where((positions >= 0)[:, None], 0))
        loss = self._compare(anchors, anchor_labels, predictions.flatten()[positions] != anchor_labels)
        if self.training:
            self._remember(pixels.detach(), labels)
            self.step += 1
        return loss

    def weight_at(self, step: int) -> float:
        """What to multiply the loss by at a training step; at 0.0, do not call the criterion at all."""
        options = self.options
        if step < options.start_step:
            return 0.0
        return options.weight * min(1.0, (step - options.start_step + 1) / max(options.ramp_steps, 1))

    @property
    def statistics(self) -> dict[str, Tensor]:
        """Figures of the last call, detached, computed when they are read; empty before the first call.

        0-d tensors: `loss`, unweighted; `chance_level` and `floor`, what it is where all similarities are equal, and at
        the regular simplex of `num_classes` classes (with fewer among the keys it can fall below), for as many
        negatives as were used; the numbers of `anchors` and of `anchors_without_positives`; `hard_anchor_share`, of
        the anchors that were predicted wrongly; of the anchors among each other the mean cosines
        `positive_similarity` and `negative_similarity`, `alignment` (mean squared distance of positive pairs) and
        `uniformity` (arXiv:2005.10242). One entry a class, with a memory only: `memory_fill` (share of the slots) and
        `memory_age` (mean, in calls). Reading does not wait for the device.
        """
        if self._record is None:
            return {}
        figures = step_statistics(
            self._record,
            mining=self.options.mining,
            negatives_per_anchor=self.options.negatives_per_anchor,
            in_batch_keys=self.options.in_batch_keys,
        )
        if self.memory is not None:
            figures["memory_fill"] = self.memory.fill.sum(dim=0) / max(sum(self.memory.capacities), 1)
            figures["memory_age"] = self.memory.age
        return figures

    @property
    def last_call(self) -> StepRecord | None:
        """What the last call left behind, detached; None before the first call.

        Its fields: loss, anchors (embeddings), labels (of the anchors, -1 where there is none), hard (predicted
        wrongly), key_counts (keys of each class), temperature.
        """
        return self._record

    def effective_rank(self) -> Float[Tensor, ""]:
        """Of the last call's anchors: how many directions they use; near 1 means collapse. Costs an eigendecomposition.

        Raises:
            ValueError: Before the first call.
        """
        record = self._last()
        return effective_rank(record.anchors, record.labels)

    def has_collapsed(self) -> bool:
        """Whether the last call's anchors share one direction though their classes differ; waits for the device.

        Raises:
            ValueError: Before the first call.
        """
        record = self._last()
        return bool(is_collapsed(record.anchors, record.labels, num_classes=self.num_classes))

    def memory_has_collapsed(self) -> bool:
        """Whether the rows of the memory share one direction though their classes differ; waits for the device."""
        if self.memory is None:
            return False
        keys = self.memory.keys()
        every = max(1, keys.labels.shape[0] // _JUDGED_ROWS)
        rows = keys.embeddings[::every].to(keys.labels.device)  # from the host, where storage is "cpu"
        return bool(is_collapsed(rows, keys.labels[::every], num_classes=self.num_classes))

    def _last(self) -> StepRecord:
        if self._record is None:
            raise ValueError(
                "expected a call of the criterion before its figures are asked for, got none; call it first"
            )
        return self._record

    def _sample(self, labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
        options = self.options
        return sample_anchors(
            labels,
            predictions,
            num_classes=self.num_classes,
            anchors_per_class=options.anchors_per_class,
            hard_anchor_ratio=options.hard_anchor_ratio,
            group=options.anchor_groups,
            max_anchors=options.max_anchors,
            ignore_index=options.ignore_index,
            seed=step_key(self.seed, self.step, ANCHORS),
        )

    def _project(self, pixels: Tensor) -> Tensor:
        return pixels if self.head is None else self.head.project(pixels)

    def _embed(self, rows: Tensor) -> Tensor:
        """Rows as picked, from the projected map or from the features, made embeddings of float32 at least."""
        return unit_length(self._project(rows) if self.options.projection == "sampled" else rows)

    def _temperature(self) -> Float[Tensor, ""]:
        options = self.options
        temperature = torch.full((), options.temperature, device=self.step.device)
        if options.final_temperature is None:
            return temperature
        done = (self.step / options.temperature_steps).clamp(max=1)
        return temperature + done * (options.final_temperature - options.temperature)

    def _compare(self, anchors: Tensor, labels: Tensor, hard: Tensor) -> Tensor:
        """Eq. 3 of the anchors against each other and the memory."""
        options, own_key, batch, stored = self.options, None, None, None
        counts = torch.zeros(self.num_classes, dtype=torch.int64, device=labels.device)
        if options.in_batch_keys:
            batch, own_key = self._in_batch_keys(anchors, labels)
            counts = counts.index_add(0, batch.labels.clamp(min=0), (batch.labels >= 0).long())
        if self.memory is not None:
            stored = self.memory.keys()
            counts = counts + self.memory.fill.sum(dim=0)
        temperature = self._temperature()
        loss = contrast_key_sets(
            anchors,
            labels,
            batch,
            stored,
            temperature=options.temperature if options.final_temperature is None else temperature,
            own_key=own_key,
            mining=options.mining,
            positives_per_anchor=options.positives_per_anchor,
            negatives_per_anchor=options.negatives_per_anchor,
            seed=step_key(self.seed, self.step, MINING),
            implementation="triton" if options.triton and anchors.is_cuda else "auto",
        )
        self._record = StepRecord(loss.detach(), anchors.detach(), labels, hard, counts, temperature)
        return loss

    def _in_batch_keys(self, anchors: Tensor, labels: Tensor) -> tuple[PixelSet, Tensor]:
        own_key = torch.arange(anchors.shape[0], device=anchors.device)
        if not (self.options.gather_keys and self.training) or ranks.world_size() == 1:  # in eval a rank may be alone
            return PixelSet(anchors, labels), own_key
        gathered = PixelSet(ranks.gather_with_gradient(anchors), ranks.gather(labels))
        return gathered, own_key + ranks.rank() * anchors.shape[0]

    @torch.no_grad()
    def _remember(self, pixels: Tensor, labels: Tensor) -> None:
        """Store pixels and region means of this batch, from the whole projected map or from a sample of each region."""
        memory, options = self.memory, self.options
        if memory is None:
            return
        if options.projection != "sampled":
            positions, drawn, _ = memory.sample(labels, memory.pixels_per_region)
            means = region_means(pixels, labels, self.num_classes, ignore_index=options.ignore_index, normalize=True)
            memory.store(means, PixelSet(self._embed(pixel_rows(pixels, positions)), drawn))
            return
        most = max(options.region_pixels, memory.pixels_per_region)
        positions, drawn, rank = memory.sample(labels, most, max_pixels=options.max_region_pixels)
        rows = self._embed(pixel_rows(pixels, positions))
        image = positions.clamp(min=0) // labels[0].numel()
        regions = (image * self.num_classes + drawn).where(drawn >= 0, -1)
        means = region_means_of_rows(rows, regions, num_images=labels.shape[0], num_classes=self.num_classes)
        memory.store(means, PixelSet(rows, drawn.where(rank < memory.pixels_per_region, -1)))

    def _check_moment(self, labels: Tensor) -> None:
        """Refuse a pass within a backward pass, and look at the labels of the first call in training."""
        if torch.compiler.is_compiling():
            return
        if self.training and torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                "pixel contrast ran again within a backward pass, as under torch.utils.checkpoint, where its memory has"
                " gone on; checkpoint the network, and call the criterion outside of it"
            )
        if self.training and not self._labels_checked:
            check_label_range(labels, self.num_classes, ignore_index=self.options.ignore_index)
            self._labels_checked = True
