"""The training step as a LightningModule: dense terms plus pixel contrast, each logged by its name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pixelcontrast.contrast import PixelContrast, gradient_norm_ratio
from pixelcontrast.data import DataSet
from pixelcontrast.data.loader import training_loader
from pixelcontrast.data.sources import SegmentationDataset
from pixelcontrast.engine.options import SGD, AdamW, Constant, Cosine, Poly, TrainerOptions
from pixelcontrast.engine.random_state import gathered_random_states, set_random_state
from pixelcontrast.engine.schedules import build_optimizer, learning_rate_factor
from pixelcontrast.engine.sharding import shard
from pixelcontrast.errors import DataError
from pixelcontrast.losses import DenseTerm
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.types import Batch, SegmentationOutput


@dataclass(frozen=True)
class TrainingData:
    """Where a run's samples come from.

    Attributes:
        dataset: The training split.
        options: The data section of the recipe.
        seed: With the number of a sample, decides which image it is and how it is augmented.
    """

    dataset: SegmentationDataset
    options: DataSet
    seed: int

    def loader(
        self, segmentor: Segmentor, *, num_steps: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> DataLoader[Batch]:
        """Batches of the steps `start_step` to `num_steps` - 1 for a network; see `training_loader`."""
        return training_loader(
            self.dataset,
            self.options,
            seed=self.seed,
            start_step=start_step,
            num_steps=num_steps,
            rank=rank,
            world_size=world_size,
            mean=segmentor.mean,
            std=segmentor.std,
        )


class SegmentationTask(L.LightningModule):
    """One training step of a segmentor, with pixel contrast or without.

    The k-th sample of a run depends on (seed, k) alone: the loader starts at the step that the run is at, and
    Lightning's own sampler and epoch bookkeeping have no say in it.
    """

    def __init__(
        self,
        segmentor: Segmentor,
        terms: Sequence[DenseTerm],
        contrast: PixelContrast | None,
        *,
        extra_contrast: Sequence[PixelContrast] = (),
        data: TrainingData | None,
        optimizer: SGD | AdamW,
        schedule: Poly | Cosine | Constant,
        trainer_options: TrainerOptions,
    ) -> None:
        super().__init__()
        self.segmentor = segmentor
        self.contrast = contrast
        self.extra_contrast = nn.ModuleList(extra_contrast)  # of `contrast.options.extra_maps`, in their order
        self.terms = tuple(terms)
        self._data = data
        self.optimizer_options = optimizer
        self.schedule = schedule
        self.options = trainer_options
        # Compiled for training alone: evaluation sees many sizes. A bound method is no submodule, so no name changes.
        self._network = torch.compile(segmentor.forward) if trainer_options.compile else segmentor.__call__
        self._random_state: dict[str, Any] | None = None
        self.figures: dict[str, Tensor] = {}  # of the last step, by name: means over its batches
        self.parts: dict[str, Tensor] = {}  # the terms of the last batch's loss, unweighted

    @property
    def criteria(self) -> nn.ModuleList:
        """The criterion of the map that contrast attaches to, and those of extra maps; empty without contrast."""
        return nn.ModuleList([] if self.contrast is None else [self.contrast, *self.extra_contrast])

    @property
    def training_data(self) -> TrainingData:
        """Where samples come from; a task that replays one step has none."""
        assert self._data is not None
        return self._data

    @training_data.setter
    def training_data(self, data: TrainingData) -> None:
        self._data = data

    def configure_model(self) -> None:
        """Share the parameters out over the ranks, if the recipe says so; the optimiser is made after it."""
        if self.device_mesh is None:
            return
        if self.options.sync_batch_norm and self.device_mesh.device_type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(self.segmentor)  # type: ignore[no-untyped-call]
        shard(self.segmentor, self.criteria, self.device_mesh["data_parallel"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step's loss; what it is made of is logged by name."""
        loss, parts = self.loss_of(batch, step=self.global_step)
        self.parts = {name: value for name, value in parts.items() if name.startswith("loss/")}
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        before = batch_idx % self.options.accumulate  # batches of this step
        means = {name: value for name, value in self.figures.items() if before and name in parts}
        parts |= {name: mean + (parts[name] - mean) / (before + 1) for name, mean in means.items()}
        self.figures = {}
        self.record({**parts, "lr": torch.tensor(rate)})
        return loss

    def record(self, figures: dict[str, Tensor]) -> None:
        """Add figures of the step in hand, 0-d each, to those that are logged, if it is."""
        self.figures |= figures
        number = self.global_step + 1
        if number % self.options.log_every == 0 or number >= self.options.max_steps:  # Lightning takes 2 ms for each
            self.log_dict(figures, batch_size=1)

    def loss_of(
        self, batch: Batch, *, step: int, network: Callable[[Tensor], SegmentationOutput] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the dense terms, and of pixel contrast from its start step on; and the parts by name.

        Args:
            batch: On the network's device.
            step: Number of the step.
            network: What to run in place of the segmentor's forward pass, which is compiled if the options say so.
        """
        output: SegmentationOutput = (network or self._network)(batch.image)
        parts = self._dense_parts(output, batch.labels)
        loss = torch.stack([weight * value for weight, value in parts.values()]).sum()
        logged = {name: value.detach() for name, (_, value) in parts.items()}
        weight = self.contrast.weight_at(step) if self.contrast is not None else 0.0
        if self.contrast is not None and weight > 0:  # off means not computed at all
            contrast_loss = weight * self.contrast(output.features, batch.labels, output.logits)
            logged["loss/contrast"] = contrast_loss.detach() / weight
            logged |= self._contrast_statistics(contrast_loss, loss, output.features, step=step)
            loss = loss + contrast_loss
            for extra, criterion in zip(self.contrast.options.extra_maps, self.extra_contrast, strict=True):
                extra_loss = criterion(output.maps[extra.map], batch.labels, output.logits)
                logged[f"loss/contrast_map_{extra.map}"] = extra_loss.detach()
                loss = loss + weight * extra.weight * extra_loss
        return loss, {"loss": loss.detach(), **logged}

    def _dense_parts(self, output: SegmentationOutput, labels: Tensor) -> dict[str, tuple[float, Tensor]]:
        parts: dict[str, tuple[float, Tensor]] = {}
        for term in self.terms:
            parts[f"loss/{term.name}"] = (term.weight, term(output.logits, labels))
            if output.auxiliary_logits is not None:
                weight = term.weight * self.options.auxiliary_weight
                parts[f"loss/auxiliary_{term.name}"] = (weight, term(output.auxiliary_logits, labels))
        return parts

    def _contrast_statistics(
        self, contrast_loss: Tensor, dense_loss: Tensor, features: Tensor, *, step: int
    ) -> dict[str, Tensor]:
        """Figures of the steps that are logged, per-class ones averaged; every tenth of them the costly ones too."""
        assert self.contrast is not None
        if (step + 1) % self.options.log_every:
            return {}
        figures = {name: value.float().mean() for name, value in self.contrast.statistics.items()}
        if (step + 1) % (10 * self.options.log_every) == 0:
            figures["effective_rank"] = self.contrast.effective_rank()
            if not self.options.compile:  # features and logits of one graph: no gradient leads from these to those
                figures["gradient_ratio"] = gradient_norm_ratio(contrast_loss, dense_loss, features)
        return {f"contrast/{name}": value for name, value in figures.items()}

    def configure_optimizers(self) -> Any:
        """Optimiser, and its schedule stepped once per optimiser step."""
        backbone = list(self.segmentor.backbone.parameters())
        known = {id(parameter) for parameter in backbone}
        head = [parameter for parameter in self.parameters() if id(parameter) not in known]
        optimizer = build_optimizer(self.optimizer_options, backbone=backbone, head=head)
        factor = learning_rate_factor(self.schedule, self.options.max_steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the run's present step to its last."""
        return self.training_data.loader(
            self.segmentor,
            start_step=self.global_step * self.options.accumulate,
            num_steps=self.options.max_steps * self.options.accumulate,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch without waiting for the copy."""
        image = batch.image.to(device, non_blocking=True)
        if self.options.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return replace(batch, image=image, labels=batch.labels.to(device, non_blocking=True))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the classes and the state of the random generators, and tell Lightning's loop what is true of ours.

        The batch in hand is done, and the loader of a resumed run starts at its step, so there is none to skip.
        """
        checkpoint["class_names"] = list(self.segmentor.class_names)
        checkpoint["random_states"] = gathered_random_states()
        loops = checkpoint["loops"]["fit_loop"]
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] = self.global_step  # the step that loggers are told
        progress = loops["epoch_loop.batch_progress"]
        progress["total"]["completed"] = progress["total"]["processed"]
        progress["current"] = dict.fromkeys(progress["current"], 0)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep this rank's state of the generators until training starts: setting up draws from them.

        Raises:
            DataError: If the data set has other classes now, or in another order.
        """
        now = list(self.segmentor.class_names)
        before = checkpoint.get("class_names", now)
        if before != now:
            pairs = itertools.zip_longest(before, now, fillvalue="not there")
            number, (was, became) = next((n, pair) for n, pair in enumerate(pairs) if len(set(pair)) > 1)
            raise DataError(
                f"the run was begun with {len(before)} classes, and the data set has {len(now)} now; class {number} was"
                f" '{was}', and is '{became}'. List the classes as they were, or begin a new run in another folder"
            )
        states, rank = checkpoint["random_states"], self.trainer.global_rank
        self._random_state = states[rank] if rank < len(states) else None

    def on_train_start(self) -> None:
        """Go on with the generators where the checkpoint left them."""
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None
