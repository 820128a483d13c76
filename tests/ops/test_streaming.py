"""The streaming loss: equal to the dense one, with a gradient that is ready before backward, in little memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelcontrast.ops import contrast_key_sets, pixel_contrast_loss, selection, streaming
from pixelcontrast.ops.selection import Rule
from pixelcontrast.types import PixelSet


def unit(rows: int, d: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return F.normalize(torch.randn(rows, d, dtype=dtype), dim=1)


@pytest.fixture(params=["cpu", "any device"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows of a CPU, and those whose shapes depend on no value."""
    if request.param == "any device":
        monkeypatch.setattr(streaming, "stream_on_cpu", streaming._stream_anywhere)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("order", ["random", "by class", "two runs by class", "large and small classes"])
@pytest.mark.parametrize("num_classes", [1, 2, 30])
def test_gradient_equals_that_of_the_dense_form(order: str, num_classes: int) -> None:
    n, batch_rows, memory_rows = 25, 40, 2500
    labels = torch.randint(-1, num_classes, (memory_rows,))
    if order == "large and small classes":
        labels = (torch.rand(memory_rows).square() * (num_classes + 1)).long().sub(1).sort().values
    if order == "by class":
        labels = labels.sort().values
    if order == "two runs by class":
        labels = torch.cat([part.sort().values for part in labels.chunk(2)])
    anchors, batch, memory = unit(n).requires_grad_(), unit(batch_rows).requires_grad_(), unit(memory_rows)
    anchor_labels, batch_labels = torch.randint(-1, num_classes, (n,)), torch.randint(-1, num_classes, (batch_rows,))
    own_key = torch.randint(-1, batch_rows + memory_rows, (n,))
    temperature = torch.tensor(0.07, dtype=torch.float64, requires_grad=True)
    inputs = (anchors, batch, temperature)
    streamed = contrast_key_sets(
        anchors, anchor_labels, PixelSet(batch, batch_labels), PixelSet(memory, labels),
        temperature=temperature, own_key=own_key, mining="all",
    )  # fmt: skip
    dense = pixel_contrast_loss(
        anchors, anchor_labels, torch.cat([batch, memory]), torch.cat([batch_labels, labels]),
        temperature=temperature, own_key=own_key, implementation="dense",
    )  # fmt: skip
    torch.testing.assert_close(streamed, dense)
    gradients = torch.autograd.grad(3 * streamed, inputs), torch.autograd.grad(3 * dense, inputs)
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-9)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("label", [0, 1], ids=["of the other class", "of its class"])
@pytest.mark.parametrize("own", [0, 599, 600, 1199])
def test_an_own_key_at_the_edge_of_a_window_is_left_out(own: int, label: int) -> None:
    anchor, keys, key_labels = unit(1), unit(1200), torch.arange(2).repeat_interleave(600)
    anchor_label = torch.tensor([label if own >= 600 else 1 - label])
    streamed, dense = (
        pixel_contrast_loss(
            anchor, anchor_label, keys, key_labels, own_key=torch.tensor([own]), implementation=implementation
        )
        for implementation in ("streaming", "dense")
    )
    torch.testing.assert_close(streamed, dense)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("num_classes", [6, 60], ids=["50 rows each", "5 rows each"])
def test_anchors_among_themselves_equal_the_dense_form(num_classes: int) -> None:
    anchors, labels = unit(300).requires_grad_(), torch.randint(-1, num_classes, (300,))
    own_key = torch.arange(300)
    losses = [
        pixel_contrast_loss(anchors, labels, anchors, labels, own_key=own_key, implementation=implementation)
        for implementation in ("streaming", "dense")
    ]
    gradients = [torch.autograd.grad(loss, anchors)[0] for loss in losses]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("operator", ["stream", "contrast_mined"])
def test_gradients_lie_in_memory_as_a_compiler_is_told(operator: str) -> None:
    anchors, batch = unit(6), unit(10).T.contiguous().T
    labels, seed = torch.arange(10) % 3, torch.tensor(5)
    arguments = [anchors, labels[:6], batch, labels, unit(10), labels, torch.tensor(0.1, dtype=torch.float64), None]
    options: dict[str, Any] = {"gradient": True, "batch_gradient": True, "triton": False}
    if operator == "contrast_mined":
        arguments.append(seed)
        options |= Rule("semi_hard", 3, 4, 0.5).arguments()
    run = getattr(torch.ops.pixelcontrast, operator)
    torch.library.opcheck(run, tuple(arguments), options, test_utils=("test_faketensor",))


def test_keys_may_change_between_forward_and_backward() -> None:
    anchors, labels = unit(20).requires_grad_(), torch.arange(20) % 3
    memory, memory_labels = unit(3000), torch.arange(3000) % 3
    for mining in ("all", "semi_hard"):
        gradients = []
        for overwrite in (False, True):
            stored = PixelSet(memory.clone(), memory_labels.clone())
            batch = PixelSet(anchors.clone(), labels.clone())
            loss = contrast_key_sets(anchors, labels, batch, stored, mining=mining)
            if overwrite:
                stored.embeddings.fill_(9.0)
                stored.labels.fill_(0)
            gradients.append(torch.autograd.grad(loss, anchors)[0])
        assert torch.equal(*gradients)


def test_the_memory_gets_no_gradient() -> None:
    anchors, labels = unit(6).requires_grad_(), torch.arange(6) % 2
    memory = unit(10).requires_grad_()
    loss = contrast_key_sets(anchors, labels, None, PixelSet(memory, torch.arange(10) % 2), mining="all")
    loss.backward()
    assert memory.grad is None
    assert anchors.grad is not None


def test_second_derivatives_are_refused_clearly() -> None:
    anchors, labels = unit(6).requires_grad_(), torch.arange(6) % 2
    loss = pixel_contrast_loss(anchors, labels, unit(9), torch.arange(9) % 2, implementation="streaming")
    (gradient,) = torch.autograd.grad(loss, anchors, create_graph=True)
    with pytest.raises(RuntimeError, match=r'pixel_contrast_loss\(..., implementation="dense"\) for second'):
        gradient.sum().backward()


def test_without_gradient_nothing_is_stored_and_the_loss_is_the_same() -> None:
    anchors, labels, keys, key_labels = unit(6), torch.arange(6) % 2, unit(9), torch.arange(9) % 2
    plain = pixel_contrast_loss(anchors, labels, keys, key_labels, implementation="streaming")
    with torch.no_grad():
        evaluated = pixel_contrast_loss(anchors.requires_grad_(), labels, keys, key_labels, implementation="streaming")
    assert not evaluated.requires_grad
    assert torch.equal(plain, evaluated)


@pytest.mark.parametrize("temperature", [0.02, 0.1])
def test_float32_errors_are_at_most_twice_those_of_the_dense_form(temperature: float) -> None:
    anchors, labels, keys, key_labels = unit(60, 64), torch.arange(60) % 5, unit(6000, 64), torch.arange(6000) % 5

    def run(dtype: torch.dtype, implementation: str) -> tuple[Tensor, Tensor]:
        query = anchors.to(dtype).requires_grad_()
        loss = pixel_contrast_loss(
            query, labels, keys.to(dtype), key_labels, temperature=temperature, implementation=implementation
        )
        return loss.detach().double(), torch.autograd.grad(loss, query)[0].double()

    exact = run(torch.float64, "dense")
    dense, streamed = run(torch.float32, "dense"), run(torch.float32, "streaming")
    for truth, plain, other in zip(exact, dense, streamed, strict=True):
        rounding = truth.abs().max() * torch.finfo(torch.float32).eps
        assert (other - truth).norm() <= 2 * (plain - truth).norm() + rounding


def test_a_bfloat16_memory_is_used_as_it_is_stored() -> None:
    anchors, labels = unit(10, dtype=torch.float32).requires_grad_(), torch.arange(10) % 3
    memory, memory_labels = unit(2000).bfloat16(), torch.arange(2000) % 3
    for mining in ("all", "semi_hard"):
        losses = [
            contrast_key_sets(anchors, labels, None, PixelSet(stored, memory_labels), mining=mining)
            for stored in (memory, memory.float())
        ]
        assert torch.equal(*losses)
        assert losses[0].dtype == torch.float32


@pytest.mark.parametrize(("mining", "limit"), [("all", 20), ("semi_hard", 20)])
def test_peak_memory_is_far_below_one_matrix_of_similarities(
    mining: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "CHUNK_BYTES", 4 << 20)  # so that a small problem has many chunks
    n, m, d = 1024, 20_000, 16
    anchors, labels = unit(n, d, torch.float32).requires_grad_(), torch.arange(n) % 19
    memory, memory_labels = unit(m, d, torch.float32), (torch.arange(m) % 19).sort().values
    batch = PixelSet(anchors, labels)
    stored = PixelSet(memory, memory_labels)
    options = {"own_key": torch.arange(n), "mining": mining, "positives_per_anchor": 64, "negatives_per_anchor": 64}
    peak = peak_of(lambda: contrast_key_sets(anchors, labels, batch, stored, **options).backward())
    assert 1 << 20 < peak < limit << 20
    assert n * m * 4 > 78 << 20


@pytest.mark.slow
@pytest.mark.parametrize(("mining", "megabytes"), [("all", 32), ("semi_hard", 128)])
def test_peak_memory_at_full_size(mining: str, megabytes: int) -> None:
    """1024 anchors, 190,000 keys, 256-d: the dense form holds gigabytes."""
    anchors, labels = unit(1024, 256, torch.float32).requires_grad_(), torch.arange(1024) % 19
    stored = PixelSet(unit(190_000, 256, torch.float32), (torch.arange(190_000) % 19).sort().values)
    peak = peak_of(lambda: contrast_key_sets(anchors, labels, None, stored, mining=mining).backward())
    assert 1_000_000 < peak < 1_000_000 * megabytes


def peak_of(function: Callable[[], object]) -> int:
    """Most bytes held beyond what was held before the call; the second one, for the first allocates what stays."""
    function()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(profile_memory=True, activities=activities, acc_events=True) as profile:
        function()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).cumsum(0)
    return int(held.max())
