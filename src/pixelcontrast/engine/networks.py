"""A trained network from where it lies: a run folder, an exported folder, or a file of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pixelcontrast.data import DataSet
from pixelcontrast.engine.checkpoints import step_of
from pixelcontrast.engine.run_folder import EvaluationFolder, RunFolder
from pixelcontrast.engine.scores import Scores
from pixelcontrast.errors import RunError
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.nn.weights import CONFIG_FILE, WEIGHTS_FILE, load_weights, read_checkpoint

_TRAINED_AS = "segmentor."  # what a training checkpoint puts before the names of the network's weights


def load_network(source: Path, *, untrained: Callable[[], Segmentor] | None = None) -> Segmentor:
    """Load a trained network, in eval mode.

    Args:
        source: A folder with weights.safetensors and config.json, as training and export leave it; or a file of
            weights: .safetensors, .pth with nothing but tensors, or a checkpoint of a training (.ckpt), of which the
            weights of its last step are taken, not their average.
        untrained: Makes the network that such a file's weights are for, if it is known; not needed for a folder, nor
            for weights.safetensors with config.json beside it.

    Raises:
        RunError: If there is no such file or folder, or its weights are of another network.
    """
    if source.is_dir() or not source.exists():
        return Segmentor.from_pretrained(RunFolder(source).require_weights())
    if source.name == WEIGHTS_FILE and (source.parent / CONFIG_FILE).is_file():
        return Segmentor.from_pretrained(source.parent)
    if source.suffix not in (".safetensors", ".pth", ".pt", ".ckpt"):
        raise RunError(f"expected a folder or a file of weights (.safetensors, .pth, .pt, .ckpt), got {source}")
    if untrained is None:
        exported = source.suffix == ".safetensors" and (source.parent / CONFIG_FILE).is_file()
        rename = f", or call it {WEIGHTS_FILE}, to which {CONFIG_FILE} belongs" if exported else ""
        raise RunError(
            f"{source} holds weights alone, and there is no recipe.yaml beside it that says of what network; name the "
            f"recipe they were trained by, --recipe NAME{rename}"
        )
    segmentor = untrained()
    state = read_checkpoint(source)
    own = {key.removeprefix(_TRAINED_AS): value for key, value in state.items() if key.startswith(_TRAINED_AS)}
    load_weights(segmentor, own or state, source=str(source))
    return segmentor.eval()


def untrained_network(model: ModelOptions, data: DataSet) -> Segmentor:
    """The network that a file of weights is for; no pretrained weights are looked for."""
    model, space = replace(model, pretrained=False), data.label_space
    return Segmentor(model, space.num_classes, bands=data.bands, class_names=space.names, palette=space.palette)


def recipe_beside(source: Path) -> Path | None:
    """The recipe.yaml of the run that a folder or a file of weights belongs to; None if there is none."""
    folders = (source,) if source.is_dir() else (source.parent, source.parent.parent)
    return next((path for path in (RunFolder(folder).recipe for folder in folders) if path.is_file()), None)


def steps_trained(source: Path) -> int:
    """Optimiser steps of a network's training; 0 if nothing beside it says so."""
    scores = RunFolder(source if source.is_dir() else source.parent).scores
    return step_of(source) or (Scores.load(scores).step if scores.is_file() else 0)


def evaluation_beside(source: Path, name: str) -> EvaluationFolder:
    """Where an evaluation of a network is kept: below `evaluations/` in its folder."""
    if source.is_dir():
        return RunFolder(source).evaluation(name)
    return RunFolder(source.parent).evaluation(f"{source.stem}-{name}")
