"""What the engine needs to know of a recipe, so that it need not know the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pixelcontrast.contrast import ContrastOptions
from pixelcontrast.data import DataSet
from pixelcontrast.engine.options import SGD, AdamW, Constant, Cosine, Poly, TrainerOptions
from pixelcontrast.engine.protocol import EvaluationOptions
from pixelcontrast.losses import DenseTerm
from pixelcontrast.nn.options import ModelOptions


@runtime_checkable
class RunOptions(Protocol):
    """The sections of a run; `recipe.Recipe` has them."""

    @property
    def seed(self) -> int:
        """Decides first weights, data stream, dropout and what contrast draws."""

    @property
    def model(self) -> ModelOptions:
        """The network."""

    @property
    def data(self) -> DataSet:
        """The data set and how it is loaded."""

    @property
    def loss(self) -> Sequence[DenseTerm]:
        """Dense terms of the objective."""

    @property
    def contrast(self) -> ContrastOptions | None:
        """Pixel contrast; None trains with the dense terms alone."""

    @property
    def optimizer(self) -> SGD | AdamW:
        """The optimiser."""

    @property
    def schedule(self) -> Poly | Cosine | Constant:
        """The learning rate over the steps."""

    @property
    def trainer(self) -> TrainerOptions:
        """How long and on what."""

    @property
    def evaluation(self) -> EvaluationOptions:
        """How the validation split is scored."""
