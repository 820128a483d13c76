"""A whole call on fake CUDA tensors, with no GPU: no value is looked at, nothing crosses between host and GPU."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pixelcontrast.contrast import MemoryOptions, PixelContrast

CLASSES = 5


class Crossings(TorchDispatchMode):
    """Notes the operations that copy between host and GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, _: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        result = function(*arguments, **(named or {}))
        tensors = [each for each in tree_leaves((arguments, named, result)) if isinstance(each, Tensor)]
        if "copy" in str(function) and len({each.device.type for each in tensors}) > 1:
            self.seen.append(str(function))
        return result


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (2**36, 2**36))
    with FakeTensorMode(), torch.device("cuda:0"):
        yield


def call(contrast: PixelContrast) -> Tensor:
    labels = torch.zeros(2, 32, 32, dtype=torch.int64)
    return contrast(torch.zeros(2, 16, 8, 8, dtype=torch.bfloat16), labels, torch.zeros(2, CLASSES, 8, 8))


@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize("mining", ["semi_hard", "hardest", "random", "all"])
@pytest.mark.parametrize("projection", ["sampled", "dense", "none"])
def test_a_step_waits_for_nothing(projection: str, mining: str) -> None:
    contrast = PixelContrast(
        16, CLASSES, memory=MemoryOptions(pixels_per_class=9, regions_per_class=7), projection=projection, mining=mining
    )
    contrast._labels_checked = True
    with Crossings() as crossings:
        loss = call(contrast)
        figures = contrast.statistics
    assert loss.device.type == "cuda"
    assert figures
    assert crossings.seen == []


@pytest.mark.usefixtures("on_gpu")
def test_the_first_call_looks_at_the_labels() -> None:
    with pytest.raises(DynamicOutputShapeException):
        call(PixelContrast(16, CLASSES))


@pytest.mark.usefixtures("on_gpu")
def test_a_crossing_would_be_seen() -> None:
    with Crossings() as crossings:
        torch.zeros(3, device="cpu").to("cuda:0")
    assert crossings.seen == ["aten._to_copy.default"]
