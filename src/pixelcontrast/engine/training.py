"""From a recipe to a run folder: build, train, evaluate, and write the deployed weights."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from pixelcontrast.contrast import ContrastOptions, MemoryBank, PixelContrast
from pixelcontrast.data import LabelSpace
from pixelcontrast.engine.averaging import AverageWeights
from pixelcontrast.engine.callbacks import EvaluateEvery, ShowProgress, WarnOfCollapse
from pixelcontrast.engine.checkpoints import KeepCheckpoints, WholeCheckpointIO, newest_whole_checkpoint, step_of
from pixelcontrast.engine.live import LiveView
from pixelcontrast.engine.logging import JsonLinesLogger, drop_from, require_logger, service_loggers
from pixelcontrast.engine.measuring import MeasureSpeed
from pixelcontrast.engine.module import SegmentationTask, TrainingData
from pixelcontrast.engine.numbers import WatchNumbers
from pixelcontrast.engine.options import TrainerOptions
from pixelcontrast.engine.provenance import append_provenance
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.run_options import RunOptions
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import score_split
from pixelcontrast.engine.spikes import WatchSpikes
from pixelcontrast.engine.unreadable import WatchUnreadable
from pixelcontrast.errors import RecipeError
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.hashing import mix

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
# One seed a purpose: what one part draws never shifts another's.
_WEIGHTS, _CONTRAST, _DATA, _DROPOUT = range(4)


def build_task(recipe: RunOptions) -> SegmentationTask:
    """Data, network and criterion of a recipe."""
    dataset = recipe.data.open("train")
    data = TrainingData(dataset, recipe.data, mix(recipe.seed, _DATA))
    return assemble(recipe, recipe.model, dataset.label_space, data)


def assemble(recipe: RunOptions, model: ModelOptions, space: LabelSpace, data: TrainingData | None) -> SegmentationTask:
    """Network and criterion of a recipe for the classes of `space`.

    The segmentor's first weights depend on the seed alone, so a run with contrast and one without start equal.
    """
    torch.manual_seed(mix(recipe.seed, _WEIGHTS))
    try:
        segmentor = Segmentor(
            model, len(space.names), bands=recipe.data.bands, class_names=space.names, palette=space.palette
        )
    except ValueError as error:
        raise RecipeError(f"model: {error}") from error
    torch.manual_seed(mix(recipe.seed, _CONTRAST))
    criteria = [] if recipe.contrast is None else _criteria(segmentor, recipe.contrast, seed=recipe.seed)
    if recipe.trainer.channels_last:
        segmentor.to(memory_format=torch.channels_last)
    return SegmentationTask(
        segmentor,
        recipe.loss,
        criteria[0] if criteria else None,
        extra_contrast=criteria[1:],
        data=data,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        trainer_options=recipe.trainer,
    )


def _criteria(segmentor: Segmentor, options: ContrastOptions, *, seed: int) -> list[PixelContrast]:
    """The criterion of the map that contrast attaches to, and one of each extra map."""
    seed, classes = mix(seed, _CONTRAST), segmentor.num_classes
    criteria = [PixelContrast.from_options(segmentor.feature_channels, classes, options, seed=seed)]
    for number, extra in enumerate(options.extra_maps, start=1):
        try:
            channels = segmentor.map_channels(extra.map)
            own = options if extra.memory else replace(options, memory=None)
        except ValueError as error:
            raise RecipeError(f"contrast.extra_maps.{number - 1}: {error}") from error
        criteria.append(PixelContrast.from_options(channels, classes, own, seed=mix(seed, number)))
    return criteria


def train(recipe: RunOptions, *, recipe_text: str, run_dir: Path, resume: bool, console: Console) -> Scores:
    """Train a recipe to its last step, evaluate, and write the deployed weights, scores and pictures.

    Args:
        recipe: What to train.
        recipe_text: The recipe, fully resolved, to be kept in the run folder.
        run_dir: The run folder; new or empty unless `resume`.
        resume: Go on from the newest whole checkpoint in the folder.
        console: Where progress and tables are shown.

    Returns:
        Scores on the validation split after the last step.

    Raises:
        UserError: If the folder, the recipe or the data cannot be used; before any step where it can be seen early.
    """
    folder = RunFolder(run_dir)
    if resume and folder.scores.exists():
        console.print(f"{run_dir} is done: nothing to resume.")
        return Scores.load(folder.scores)
    _quiet_third_parties()
    require_logger(recipe.trainer.logger)
    task = build_task(recipe)
    recipe.data.open("val")  # a missing split shows before the training, not after
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # the other ranks find the folder as the first makes it
    if first:
        folder.begin(recipe_text, resume=resume)
    checkpoint = folder.resume_point(console.print) if resume else None
    describe(task, console)
    decay = recipe.trainer.ema_decay
    averaging = None if decay is None else AverageWeights(task.segmentor, decay=decay)
    deployed = task.segmentor if averaging is None else averaging.network
    # The average comes first, so that the others see that of their own step.
    callbacks: list[Callback] = [averaging] if averaging is not None else []
    callbacks += _callbacks(recipe, folder, deployed, console)
    trainer = _trainer(recipe, folder, callbacks, start_step=step_of(checkpoint) if checkpoint else 0)
    if trainer.is_global_zero:
        append_provenance(folder.provenance)
    torch.manual_seed(mix(recipe.seed, _DROPOUT))
    try:
        trainer.fit(task, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # how Lightning ends after an interrupt
        newest = newest_whole_checkpoint(folder.checkpoints)
        console.print(
            f"stopped at step {trainer.global_step}; --resume goes on from step {step_of(newest) if newest else 0}"
        )
        raise KeyboardInterrupt from stop
    return _deploy(deployed, recipe, folder, trainer)


def describe(task: SegmentationTask, console: Console) -> None:
    """Print what will be trained, and what contrast adds, before it is: sizes in millions and megabytes."""
    network = sum(parameter.numel() for parameter in task.segmentor.parameters())
    console.print(f"network: {network / 1e6:.2f} M parameters, {task.segmentor.num_classes} classes")
    if task.contrast is None:
        console.print("contrast: off (cross entropy alone)")
        return
    extra = sum(parameter.numel() for parameter in task.criteria.parameters())
    banks = [module for module in task.criteria.modules() if isinstance(module, MemoryBank)]
    size = sum(bank.num_bytes for bank in banks) / 1e6
    console.print(f"contrast: {extra / 1e6:.2f} M parameters, memory of {size:.1f} MB; neither is deployed")


def _deploy(network: Segmentor, recipe: RunOptions, folder: RunFolder, trainer: L.Trainer) -> Scores:
    """Write the weights, then what they score: a run is done once it has its scores."""
    if trainer.is_global_zero:
        network.save_pretrained(folder.path)
    device = trainer.strategy.root_device  # the trainer leaves the network on the CPU
    step, protocol = trainer.global_step, recipe.evaluation
    scores = score_split(
        network.to(device), recipe.data, "val", device=device, step=step, protocol=protocol, folder=folder
    )
    if trainer.is_global_zero:
        scores.save(folder.scores)
    return scores


def _callbacks(recipe: RunOptions, folder: RunFolder, deployed: Segmentor, console: Console) -> list[Callback]:
    options = recipe.trainer
    callbacks: list[Callback] = []
    if options.evaluate_every is not None:

        def evaluate(step: int) -> Scores:
            device = next(deployed.parameters()).device
            return score_split(deployed, recipe.data, "val", device=device, step=step, protocol=recipe.evaluation)

        callbacks.append(EvaluateEvery(evaluate, every=options.evaluate_every, console=console))
    if options.live_images and options.logger == "tensorboard":
        images, pixels = options.live_images, options.live_pixels
        callbacks.append(LiveView(deployed, recipe.data, images=images, pixels=pixels, every=options.evaluate_every))
    title = "cross entropy" if recipe.contrast is None else "with contrast"
    images = recipe.data.batch_size * options.accumulate
    callbacks.append(MeasureSpeed(folder.speed, images_per_step=images, every=options.log_every))
    callbacks.append(WarnOfCollapse(console, every=10 * options.log_every))
    if options.non_finite != "ignore":
        callbacks.append(WatchNumbers(folder, policy=options.non_finite, precision=options.precision, console=console))
    if recipe.data.on_error == "skip":
        callbacks.append(WatchUnreadable(folder.incidents, most=recipe.data.max_unreadable, console=console))
    if options.spike_factor is not None:
        callbacks.append(
            WatchSpikes(folder.incidents, factor=options.spike_factor, every=options.log_every, console=console)
        )
    callbacks.append(ShowProgress(console, batch_size=images, title=title, every=options.log_every))
    callbacks.append(KeepCheckpoints(folder.checkpoints, every=options.checkpoint_every, keep=options.keep_checkpoints))
    return callbacks


def _trainer(recipe: RunOptions, folder: RunFolder, callbacks: list[Callback], *, start_step: int) -> L.Trainer:
    options = recipe.trainer
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        drop_from(start_step, folder.metrics)
        drop_from(start_step, folder.speed)
        drop_from(start_step, folder.incidents)
    services = service_loggers(options.logger, folder.path, start_step=start_step)
    try:
        return L.Trainer(
            accelerator=options.accelerator,
            devices=options.devices if options.accelerator != "cpu" or options.devices != "auto" else 1,
            num_nodes=options.num_nodes,
            strategy=_strategy(options, recipe.contrast),
            precision=_PRECISIONS[options.precision],  # type: ignore[arg-type]
            max_steps=options.max_steps,
            max_epochs=-1,
            accumulate_grad_batches=options.accumulate,
            gradient_clip_val=options.gradient_clip,
            sync_batchnorm=options.sync_batch_norm and not _on_cpu(options),  # torch has it for GPUs only
            log_every_n_steps=options.log_every,
            logger=[JsonLinesLogger(folder.metrics), *services],
            callbacks=callbacks,
            plugins=[WholeCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (ValueError, RuntimeError) as error:  # Lightning's own words say which accelerator or precision is amiss
        raise RecipeError(f"trainer: {error}") from error


def _on_cpu(options: TrainerOptions) -> bool:
    return options.accelerator == "cpu" or (options.accelerator == "auto" and not torch.accelerator.is_available())


def _strategy(options: TrainerOptions, contrast: ContrastOptions | None) -> Any:
    devices = max(torch.cuda.device_count(), 1) if options.devices == "auto" else options.devices
    if devices * options.num_nodes == 1:
        return "auto"
    # Before contrast starts, its projection takes no part in the loss.
    return DDPStrategy(find_unused_parameters=contrast is not None and contrast.start_step > 0)


def _quiet_third_parties() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The loader starts at the run's own step and has few workers by choice of the recipe.
    for message in (
        ".*does not have many workers.*",
        ".*ended before the epoch ended.*",
        ".*no `val_dataloader`.*",
        ".*isinstance.*treespec.*",
    ):
        warnings.filterwarnings("ignore", message)
