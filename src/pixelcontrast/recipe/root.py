"""The root of all options: what a run is made of. YAML only mirrors it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pixelcontrast.contrast import ContrastOptions
from pixelcontrast.data import IGNORE_INDEX, DataSet
from pixelcontrast.engine.options import SGD, Optimizer, Poly, Schedule, TrainerOptions
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.errors import RecipeError, did_you_mean
from pixelcontrast.losses import CrossEntropy, DenseTerm
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.recipe.kinds import known_names, plain
from pixelcontrast.recipe.schema import schema as schema_of
from pixelcontrast.recipe.sources import SUFFIXES, Source, find, resolve
from pixelcontrast.recipe.text import write
from pixelcontrast.recipe.validate import validate


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run's result.

    Attributes:
        seed: Of first weights, of the order and augmentation of images, and of what contrast draws.
        model: The network.
        data: The data set and how it is fed to training.
        loss: Dense terms of the objective, added up by their weights.
        contrast: Pixel contrast; null trains with the dense terms alone.
        optimizer: What turns gradients into steps.
        schedule: The learning rate over the run, as a factor of the optimizer's.
        trainer: Length, precision, devices, and how often is evaluated and saved.
        evaluation: How an image is predicted when the network is scored.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    seed: int = 0
    model: ModelOptions = ModelOptions()
    data: DataSet
    loss: tuple[DenseTerm, ...] = (CrossEntropy(),)
    contrast: ContrastOptions | None = None
    optimizer: Optimizer = SGD()
    schedule: Schedule = Poly()
    trainer: TrainerOptions = TrainerOptions()
    evaluation: EvaluationOptions = EvaluationOptions()

    def __post_init__(self) -> None:
        names = [term.name for term in self.loss]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"loss must list at least one term, and each only once, got {names}")
        if self.contrast is not None and self.contrast.ignore_index != IGNORE_INDEX:
            raise ValueError(
                f"contrast.ignore_index must be {IGNORE_INDEX}, as which every data set's unlabelled pixels are read, "
                f"got {self.contrast.ignore_index}; leave it out"
            )


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: Name of a shipped recipe, or the path of a .yaml file.
        overrides: `a.b=value` each, in order.

    Raises:
        RecipeError: With one line for each thing that is wrong, and the nearest valid name.
    """
    return _validated(find(name_or_path), overrides)


def parse(text: str, overrides: Sequence[str] = (), *, name: str = "recipe") -> Recipe:
    """Read a recipe from YAML text; relative bases start from the working directory.

    Raises:
        RecipeError: As `load` does; `name` is what messages call the text.
    """
    return _validated(Source(name, None, text), overrides)


def load_data(name_or_path: str, overrides: Sequence[str] = ()) -> DataSet:
    """Read the data section of a recipe, or the options of a data set by its name alone.

    Args:
        name_or_path: Name of a data set, such as `camvid`; or of a recipe, as `load` takes it.
        overrides: `data.a=value` each, in order.

    Raises:
        RecipeError: As `load` does.
    """
    known = known_names(DataSet)
    if name_or_path in known:
        return parse(f"data: {name_or_path}", overrides, name=name_or_path).data
    try:
        return load(name_or_path, overrides).data
    except RecipeError as error:
        if "/" in name_or_path or name_or_path.endswith(SUFFIXES):
            raise
        near = did_you_mean(name_or_path, known) or f" Known are {', '.join(known)}."
        raise RecipeError(f"no data set is called '{name_or_path}'.{near}") from error


def dump(recipe: Recipe) -> str:
    """Fully resolved YAML, every default written out: `parse(dump(recipe)) == recipe`."""
    return write(plain(recipe))


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe file."""
    return schema_of(Recipe)


def _validated(source: Source, overrides: Sequence[str]) -> Recipe:
    document = resolve(source, Recipe, overrides=overrides)
    return validate(Recipe, document.tree, places=document.places, source=source.name)
