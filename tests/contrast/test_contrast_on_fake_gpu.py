"""Whole calls on a GPU that is not there: no value is looked at, and nothing crosses between host and GPU."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from fake_gpu import Crossings, fake_gpu
from pixelcontrast.contrast import AttachedContrast, MemoryOptions, PixelContrast, attach

CLASSES = 5
MEMORY = MemoryOptions(pixels_per_class=9, regions_per_class=7)
PROJECTIONS = ("sampled", "dense", "none")


def call(contrast: PixelContrast) -> Tensor:
    labels = torch.zeros(2, 32, 32, dtype=torch.int64)
    return contrast(torch.zeros(2, 16, 8, 8, dtype=torch.bfloat16), labels, torch.zeros(2, CLASSES, 8, 8))


@pytest.mark.parametrize("mining", ["semi_hard", "hardest", "random", "all"])
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_step_waits_for_nothing(projection: str, mining: str) -> None:
    with fake_gpu():
        contrast = PixelContrast(16, CLASSES, memory=MEMORY, projection=projection, mining=mining)
        contrast._labels_checked = True
        with Crossings() as crossings:
            loss = call(contrast)
            figures = contrast.statistics
    assert loss.device.type == "cuda"
    assert figures
    assert crossings.seen == []


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("kind", ["one_label", "sparse_labels", "multi_label", "binary"])
def test_an_attached_step_waits_for_nothing(kind: str, projection: str) -> None:
    classes = 1 if kind == "binary" else CLASSES
    options: dict[str, Any] = {} if kind in {"binary", "one_label"} else {kind: True}
    with fake_gpu():
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, stride=4), torch.nn.Conv2d(16, classes, 1))
        contrast: AttachedContrast = attach(
            model, at="0", num_classes=classes, in_channels=16, memory=MEMORY, projection=projection, **options
        )
        contrast._checked = contrast.criteria[0]._labels_checked = True
        several = (CLASSES,) if kind == "multi_label" else ()
        labels = torch.zeros(2, *several, 32, 32, dtype=torch.int64)
        with Crossings() as crossings:
            loss = contrast(labels, model(torch.zeros(2, 3, 32, 32)))
    assert loss.device.type == "cuda"
    assert crossings.seen == []


def test_the_first_call_looks_at_the_labels() -> None:
    with fake_gpu(), pytest.raises(DynamicOutputShapeException):
        call(PixelContrast(16, CLASSES))


def test_a_crossing_would_be_seen() -> None:
    with fake_gpu(), Crossings() as crossings:
        torch.zeros(3, device="cpu").to("cuda:0")
    assert crossings.seen == ["aten._to_copy.default"]
