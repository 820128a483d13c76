"""Lightning's trainer for a recipe: what happens around its steps, and on which devices they run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console

from pixelcontrast.contrast import ContrastOptions
from pixelcontrast.data.loader import require_shares
from pixelcontrast.engine.callbacks import EvaluateEvery, ShowProgress, WarnOfCollapse, WarnOfMasks
from pixelcontrast.engine.checkpoints import KeepCheckpoints, WholeCheckpointIO
from pixelcontrast.engine.continuity import KeepProvenance
from pixelcontrast.engine.live import LiveView
from pixelcontrast.engine.logging import KeepMetrics, service_loggers
from pixelcontrast.engine.measuring import MeasureSpeed
from pixelcontrast.engine.numbers import WatchNumbers
from pixelcontrast.engine.options import TrainerOptions
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.run_options import RunOptions
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import score_split
from pixelcontrast.engine.sharding import ShardedStrategy
from pixelcontrast.engine.spikes import WatchSpikes
from pixelcontrast.engine.stopping import StopAtStep, StopSignals
from pixelcontrast.engine.unreadable import WatchUnreadable
from pixelcontrast.errors import RecipeError
from pixelcontrast.nn.segmentor import Segmentor

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def callbacks_of(
    recipe: RunOptions, folder: RunFolder, deployed: Callable[[], Segmentor], signals: StopSignals, console: Console
) -> list[Callback]:
    """Everything that happens around a step, in its order.

    A step's line is written and everything that watches it has seen it before its checkpoint is saved; its evaluation
    comes after, so that a kill in it costs no step.
    """
    options = recipe.trainer
    callbacks: list[Callback] = [
        KeepProvenance(folder.provenance, console, recipe.data),
        KeepMetrics(folder.metrics, every=options.log_every),
        WarnOfMasks(recipe.data.label_space.names, console),
        *_watchers(recipe, folder, console),
    ]
    keep = KeepCheckpoints(folder.checkpoints, every=options.checkpoint_every, keep=options.keep_checkpoints)
    callbacks.append(keep)
    if options.evaluate_every is not None:

        def evaluate(step: int) -> Scores:
            network, protocol = deployed(), recipe.evaluation
            device = next(network.parameters()).device
            return score_split(
                network, recipe.data, "val", device=device, step=step, protocol=protocol, signals=signals
            )

        every = options.evaluate_every
        callbacks.append(EvaluateEvery(evaluate, every=every, metrics=folder.metrics, console=console))
    if options.live_images and options.logger == "tensorboard":
        images, pixels = options.live_images, options.live_pixels
        callbacks.append(LiveView(deployed, recipe.data, images=images, pixels=pixels, every=options.evaluate_every))
    title = "cross entropy" if recipe.contrast is None else "with contrast"
    images = recipe.data.batch_size * options.accumulate
    callbacks.append(MeasureSpeed(folder.speed, images_per_step=images, every=options.log_every))
    callbacks.append(ShowProgress(console, batch_size=images, title=title, every=options.log_every))
    callbacks.append(StopAtStep(signals, keep))
    return callbacks


def _watchers(recipe: RunOptions, folder: RunFolder, console: Console) -> list[Callback]:
    """What looks whether all is well."""
    options = recipe.trainer
    watchers: list[Callback] = [WarnOfCollapse(console, every=10 * options.log_every)]
    if options.non_finite != "ignore":
        watchers.append(WatchNumbers(folder, policy=options.non_finite, precision=options.precision, console=console))
    if recipe.data.on_error == "skip":
        watchers.append(WatchUnreadable(folder.incidents, most=recipe.data.max_unreadable, console=console))
    if options.spike_factor is not None:
        watchers.append(
            WatchSpikes(folder.incidents, factor=options.spike_factor, every=options.log_every, console=console)
        )
    return watchers


def trainer_of(recipe: RunOptions, folder: RunFolder, callbacks: list[Callback], *, start_step: int) -> L.Trainer:
    """Lightning's trainer, as the recipe wants it."""
    options = recipe.trainer
    return L.Trainer(
        **_machine(recipe),
        max_steps=options.max_steps,
        max_epochs=-1,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.gradient_clip,
        sync_batchnorm=options.sync_batch_norm and not is_on_cpu(options),  # torch has it for GPUs only
        log_every_n_steps=options.log_every,
        logger=service_loggers(options.logger, folder.path, start_step=start_step),
        callbacks=callbacks,
        plugins=[WholeCheckpointIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


def require_machine(recipe: RunOptions) -> None:
    """Refuse what this machine, or the way the processes were started, cannot do.

    Raises:
        RecipeError: If there is no such accelerator, or it cannot compute in the precision; if the batch does not
            divide among the ranks; or if torchrun started another number of processes than the recipe has devices:
            each would train alone, in one folder.
    """
    options = recipe.trainer
    if options.precision == "fp16" and is_on_cpu(options):
        raise RecipeError("trainer.precision: fp16 is for GPUs, and this run is on a CPU; set bf16 or 32")
    started, ranks = int(os.environ.get("WORLD_SIZE", "1")), _ranks(options)
    if torch.distributed.is_torchelastic_launched() and started != ranks:
        raise RecipeError(
            f"torchrun started {started} processes, but trainer.num_nodes x trainer.devices is {options.num_nodes} x "
            f"{ranks // options.num_nodes}; set trainer.devices to the number of processes on a machine"
        )
    require_shares(recipe.data.batch_size, ranks)
    try:
        L.Trainer(**_machine(recipe), logger=False, enable_checkpointing=False)
    except (ValueError, RuntimeError, MisconfigurationException) as error:  # which say themselves what is amiss
        raise RecipeError(f"trainer: {error}") from error


def _machine(recipe: RunOptions) -> dict[str, Any]:
    options = recipe.trainer
    return {
        "accelerator": options.accelerator,
        "devices": _devices(options),
        "num_nodes": options.num_nodes,
        "strategy": _strategy(options, recipe.contrast),
        "precision": _PRECISIONS[options.precision],
    }


def is_on_cpu(options: TrainerOptions) -> bool:
    """Whether a run computes on the CPU, asked for or for want of another device."""
    return options.accelerator == "cpu" or (options.accelerator == "auto" and not torch.accelerator.is_available())


def _devices(options: TrainerOptions) -> int | Literal["auto"]:
    """As asked for; "auto" are all GPUs, or one CPU."""
    return 1 if options.devices == "auto" and is_on_cpu(options) else options.devices


def _ranks(options: TrainerOptions) -> int:
    devices = _devices(options)
    return options.num_nodes * (max(torch.cuda.device_count(), 1) if devices == "auto" else devices)


def _strategy(options: TrainerOptions, contrast: ContrastOptions | None) -> Any:
    ranks = _ranks(options)
    if ranks == 1:
        return "auto"
    if options.strategy == "fsdp":
        return ShardedStrategy(num_ranks=ranks)
    # Before contrast starts, and with a weight of 0, its projection takes no part in the loss.
    idle = contrast is not None and (contrast.start_step > 0 or contrast.weight == 0)
    return DDPStrategy(find_unused_parameters=idle)


def quiet_third_parties() -> None:
    """Keep what Lightning says of every run, and what a run of ours brings about on purpose, from the terminal."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The loader starts at the run's own step and has few workers by choice of the recipe.
    for message in (
        ".*does not have many workers.*",
        ".*ended before the epoch ended.*",
        ".*across ranks is zero.*",  # a run that was killed after its last step
        ".*no `val_dataloader`.*",
        ".*smaller than the logging interval.*",  # a run of few steps, or what is left of one
        ".*isinstance.*treespec.*",
    ):
        warnings.filterwarnings("ignore", message)
