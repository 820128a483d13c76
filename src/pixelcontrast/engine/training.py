"""From a recipe to a run folder: build, train, evaluate, and write the deployed weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from pixelcontrast.contrast import ContrastOptions, MemoryBank, PixelContrast
from pixelcontrast.data import LabelSpace
from pixelcontrast.engine.assembly import callbacks_of, quiet_third_parties, require_machine, trainer_of
from pixelcontrast.engine.averaging import AverageWeights
from pixelcontrast.engine.checkpoints import step_of
from pixelcontrast.engine.endings import end_of_rank, how_to_go_on, told_plainly
from pixelcontrast.engine.logging import drop_from, require_logger
from pixelcontrast.engine.module import SegmentationTask, TrainingData
from pixelcontrast.engine.oddities import oddities
from pixelcontrast.engine.random_state import seed_all
from pixelcontrast.engine.ranks import share_buffers
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.engine.run_options import RunOptions
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import require_labelled, score_split
from pixelcontrast.engine.sharding import WholeCopy
from pixelcontrast.engine.stopping import StopSignals
from pixelcontrast.errors import RecipeError, Stopped
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.hashing import mix

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
    for term in recipe.loss:
        weights = getattr(term, "class_weights", None)
        if weights is not None and len(weights) != space.num_classes:
            raise RecipeError(
                f"loss {term.name}: class_weights must have a factor for each of {space.num_classes} classes "
                f"({', '.join(space.names)}), got {len(weights)}"
            )
    torch.manual_seed(mix(recipe.seed, _WEIGHTS))
    try:
        segmentor = Segmentor(
            model, space.num_classes, bands=recipe.data.bands, class_names=space.names, palette=space.palette
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
            Also if the disk is full, or another process of the run has ended.
        Stopped: If a signal told it to stop; everything needed to go on is saved.
    """
    folder = RunFolder(run_dir)
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    say = (console if first else Console(quiet=True)).print
    if resume and folder.scores.exists():
        say(f"{run_dir} is done: nothing to resume.")
        return Scores.load(folder.scores)
    quiet_third_parties()
    require_logger(recipe.trainer.logger)
    require_machine(recipe)
    task = build_task(recipe)
    require_labelled(recipe.data.open("val"), f"{recipe.data.name} val")  # shows before the training, not after
    # the other ranks find the folder as the first makes it
    with folder.begun(recipe_text, say, resume=resume) if first else nullcontext():
        checkpoint = folder.resume_point(say) if resume else None
        if first:
            describe(task, recipe, console)
        seed_all(mix(recipe.seed, _DROPOUT))
        with StopSignals() as signals, told_plainly(folder), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the labels of this batch hold 0 and")  # WarnOfMasks knows classes.yaml
            return _train_and_score(recipe, task, folder, checkpoint, signals, console)


def _train_and_score(
    recipe: RunOptions,
    task: SegmentationTask,
    folder: RunFolder,
    checkpoint: Path | None,
    signals: StopSignals,
    console: Console,
) -> Scores:
    decay = recipe.trainer.ema_decay
    averaging = None if decay is None else AverageWeights(task.segmentor, decay=decay)
    deployed = _deployed(task, averaging, sharded=recipe.trainer.strategy == "fsdp")
    # The average comes first, so that the others see that of their own step.
    callbacks: list[Callback] = [averaging] if averaging is not None else []
    callbacks += callbacks_of(recipe, folder, deployed, signals, console)
    start_step = step_of(checkpoint) if checkpoint else 0
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        for lines in (folder.metrics, folder.speed, folder.incidents):
            drop_from(start_step, lines)
    trainer = trainer_of(recipe, folder, callbacks, start_step=start_step)
    try:
        trainer.fit(task, ckpt_path=checkpoint, weights_only=True)
        signals.stop_if_agreed()
        return _deploy(deployed(), recipe, folder, trainer, signals)
    except Stopped as stop:
        if trainer.is_global_zero:
            console.print(how_to_go_on(folder, trainer, signals), highlight=False, soft_wrap=True)
        raise end_of_rank(stop, trainer) from None
    except SystemExit as end:  # how Lightning ends after a second SIGINT
        raise KeyboardInterrupt from end


def _deployed(task: SegmentationTask, averaging: AverageWeights | None, *, sharded: bool) -> Callable[[], Segmentor]:
    """Asks for the network that is evaluated and deployed, as it is at that moment, the same on all ranks."""
    copy = WholeCopy(task.segmentor) if sharded and averaging is None else None

    def ask() -> Segmentor:
        network = averaging.network if averaging is not None else task.segmentor
        if copy is not None:
            network = copy.refreshed()
        share_buffers(network)
        return network

    return ask


def _deploy(
    network: Segmentor, recipe: RunOptions, folder: RunFolder, trainer: L.Trainer, signals: StopSignals
) -> Scores:
    """Write the weights, then what they score: a run is done once it has its scores."""
    if trainer.is_global_zero:
        network.save_pretrained(folder.path)
    device = trainer.strategy.root_device  # the trainer leaves the network on the CPU
    scores = score_split(
        network.to(device),
        recipe.data,
        "val",
        device=device,
        step=trainer.global_step,
        protocol=recipe.evaluation,
        folder=folder,
        signals=signals,
    )
    if trainer.is_global_zero:
        scores.save(folder.scores)
    return scores


def describe(task: SegmentationTask, recipe: RunOptions, console: Console) -> None:
    """Print what will be trained, before it is: sizes in millions and megabytes, what contrast adds, what is odd."""
    network = sum(parameter.numel() for parameter in task.segmentor.parameters())
    console.print(f"network: {network / 1e6:.2f} M parameters, {task.segmentor.num_classes} classes")
    if task.contrast is None:
        console.print("contrast: off (cross entropy alone)")
    else:
        extra = sum(parameter.numel() for parameter in task.criteria.parameters())
        banks = [module for module in task.criteria.modules() if isinstance(module, MemoryBank)]
        size = sum(bank.num_bytes for bank in banks) / 1e6
        console.print(f"contrast: {extra / 1e6:.2f} M parameters, memory of {size:.1f} MB; neither is deployed")
    for reason in oddities(recipe):
        console.print(f"warning: {reason}")
