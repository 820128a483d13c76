"""Laws of the options: one set of names and defaults."""

import dataclasses
import importlib.util
import inspect
from collections.abc import Callable

import pytest
import torch
from jaxtyping import TypeCheckError

from pixelcontrast import ContrastOptions, MemoryOptions, PixelContrast
from pixelcontrast.contrast import preset
from pixelcontrast.contrast.options import CRITERION_OPTIONS


def test_the_criterion_takes_every_option_with_the_same_default() -> None:
    parameters = inspect.signature(PixelContrast).parameters
    fields = {field.name: field.default for field in dataclasses.fields(ContrastOptions)}
    assert set(parameters) == {"in_channels", "num_classes", "seed", *CRITERION_OPTIONS}
    assert {name: parameters[name].default for name in CRITERION_OPTIONS} == {n: fields[n] for n in CRITERION_OPTIONS}
    assert set(fields) - set(CRITERION_OPTIONS) == {"weight", "start_step", "ramp_steps", "extra_maps"}


def test_keywords_and_options_make_the_same_criterion() -> None:
    by_keywords = PixelContrast(4, 3, temperature=0.2, mining="all", memory=MemoryOptions(pixels_per_class=3))
    options = ContrastOptions(temperature=0.2, mining="all", memory=MemoryOptions(pixels_per_class=3))
    assert PixelContrast.from_options(4, 3, options).options == by_keywords.options == options


@pytest.mark.parametrize("cls", [ContrastOptions, MemoryOptions])
def test_every_option_is_documented(cls: type) -> None:
    assert cls.__doc__ is not None
    for field in dataclasses.fields(cls):
        assert f"\n    {field.name}: " in inspect.cleandoc(cls.__doc__)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
        ({"temperature": float("inf")}, "temperature must be positive and finite, got inf"),
        ({"final_temperature": -1.0, "temperature_steps": 3}, "final_temperature must be positive"),
        ({"final_temperature": 0.2}, "set both or neither"),
        ({"weight": -1.0}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"weight": float("inf")}, "weight must be finite"),
        ({"memory": {"pixels_per_class": 5}}, "memory"),
        ({"hard_anchor_ratio": 1.1}, "0..1, got 1.1"),
        ({"projection": "sampled", "projection_norm": "batch"}, 'use projection="dense"'),
        ({"in_batch_keys": False}, "no keys"),
        ({"in_batch_keys": False, "gather_keys": True, "memory": MemoryOptions()}, "gather_keys"),
        ({"anchors_per_class": 0}, "anchors_per_class must be at least 1, got 0"),
        ({"start_step": -1}, "start_step"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeCheckError), match="^(?s:.)*" + message.replace(".", r"\.")):
        ContrastOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels_per_class": -1}, "pixels_per_class must be at least 0"),
        ({"pixels_per_region": 0}, "pixels_per_region"),
    ],
)
def test_wrong_memory_options_say_what_was_expected(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ContrastOptions(mining="semihard"), "mining"),  # type: ignore[arg-type]
        (lambda: ContrastOptions(projection="sparse"), "projection"),  # type: ignore[arg-type]
        (lambda: ContrastOptions(anchor_groups="image"), "anchor_groups"),  # type: ignore[arg-type]
        (lambda: MemoryOptions(dtype="float64"), "dtype"),  # type: ignore[arg-type]
        (lambda: MemoryOptions(storage="disk"), "storage"),  # type: ignore[arg-type]
        (lambda: preset("mine"), "preset|name"),  # type: ignore[arg-type]
    ],
)
def test_unknown_words_are_refused_by_name(make: Callable[[], object], name: str) -> None:
    # the run-time type checker of the tests speaks first where it is on
    with pytest.raises((ValueError, TypeCheckError), match=name):
        make()


def test_the_paper_s_memory_has_the_paper_s_size() -> None:
    """float32, 256-d: 0.64 GB for Cityscapes and 34 GB for ADE20K with 10 N pixels and N regions of each class."""
    memory = preset("paper").memory
    assert memory is not None
    rows = 19 * 2975 * 11
    assert memory.num_bytes(19, 256) == pytest.approx(rows * 256 * 4, rel=0.02)
    assert preset("paper", training_images=100).memory == MemoryOptions(pixels_per_class=1000, regions_per_class=100)


def test_presets_are_the_settings_they_name() -> None:
    paper, released = preset("paper"), preset("released")
    assert (paper.weight, paper.temperature, paper.mining, paper.anchor_groups) == (1.0, 0.1, "semi_hard", "class")
    assert (paper.positives_per_anchor, paper.negatives_per_anchor) == (1024, 2048)
    assert (released.weight, released.anchor_groups, released.max_anchors) == (0.1429, "image_class", 1024)
    assert released.memory is None
    assert released.mining == "all"


def test_the_weight_follows_its_schedule() -> None:
    options = ContrastOptions(weight=0.5, start_step=10, ramp_steps=4)
    criterion = PixelContrast.from_options(4, 3, options)
    weights = [criterion.weight_at(step) for step in (0, 9, 10, 11, 12, 13, 14, 10_000)]
    assert weights == [0, 0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    assert PixelContrast(4, 3).weight_at(0) == 1.0


def test_kernels_without_their_package_are_refused_where_they_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    PixelContrast(4, 3, triton=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="triton=True needs the package triton"):
        PixelContrast(4, 3, triton=True)
