"""One line of the recipe sends metrics to a service; without its package, the message says what to install."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lightning.pytorch import loggers
from lightning.pytorch.loggers import CSVLogger

from pixelcontrast.engine.logging import require_logger, service_loggers
from pixelcontrast.errors import RecipeError
from pixelcontrast.recipe.root import Recipe
from training_runs import metrics_of, run, shortened


class Fake(CSVLogger):
    """Stands in for a service: keeps what it was told."""

    made: list[dict[str, Any]] = []
    logged: list[tuple[int, set[str]]] = []

    def __init__(self, **told: Any) -> None:
        super().__init__(told.get("save_dir", "."))
        self.made.append(told)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((step or 0, set(metrics)))

    def save(self) -> None:
        """Nothing to write."""


@pytest.fixture(params=["wandb", "mlflow"])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType(request.param)
    module.__spec__ = ModuleSpec(request.param, None)
    monkeypatch.setitem(sys.modules, request.param, module)
    monkeypatch.setattr(loggers, {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}[request.param], Fake)
    monkeypatch.setattr(Fake, "made", [])
    monkeypatch.setattr(Fake, "logged", [])
    return request.param


def test_metrics_go_to_the_service_and_to_the_run_folder(recipe: Recipe, tmp_path: Path, service: str) -> None:
    run(shortened(recipe, max_steps=2, evaluate_every=1, logger=service), tmp_path / "run")
    (made,) = Fake.made
    assert {made.get("name"), made.get("run_name")} == {None, f"{tmp_path.name}/run"}
    assert {made.get("project"), made.get("experiment_name")} == {None, "pixelcontrast"}
    keys = set().union(*(names for _, names in Fake.logged))
    assert {"loss", "loss/cross_entropy", "loss/contrast", "val/mIoU"} <= keys
    assert len(metrics_of(tmp_path / "run")) == 3
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_missing_package_is_named_before_anything_is_written(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(RecipeError, match="trainer.logger: 'wandb' needs .* pip install wandb"):
        run(shortened(recipe, logger="wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_is_the_default_and_none_is_none(tmp_path: Path) -> None:
    assert [type(each) for each in service_loggers("tensorboard", tmp_path)] == [loggers.TensorBoardLogger]
    assert service_loggers("none", tmp_path) == []
    require_logger("none")
