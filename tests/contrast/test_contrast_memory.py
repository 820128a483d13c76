"""Laws of the memory."""

import copy
import inspect
import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from operator_log import OperatorLog
from pixelcontrast import MemoryBank, MemoryOptions, PixelSet
from pixelcontrast.contrast import budget
from pixelcontrast.contrast.memory import pixel_rows
from pixelcontrast.contrast.rings import class_ranks, ring_slots
from pixelcontrast.errors import UserError
from pixelcontrast.ops.regions import unit_length
from reference.memory import LoopMemory


def one_direction_per_class(labels: Tensor, num_classes: int) -> Tensor:
    """Embeddings [b num_classes *grid] that say which class each pixel has."""
    return torch.nn.functional.one_hot(labels.clamp(0, num_classes - 1), num_classes).movedim(-1, 1).float()


def candidate_sets(generator: torch.Generator, images: int, num_classes: int, pixels: int) -> tuple[PixelSet, PixelSet]:
    """Regions (one per image and class, some absent) and pixels with random labels, some of no class."""
    present = torch.rand(images, num_classes, generator=generator) < 0.6
    regions = torch.arange(num_classes).expand(images, -1).where(present, -1).flatten()
    labels = torch.randint(-1, num_classes + 1, (pixels,), generator=generator)
    return tuple(PixelSet(torch.rand(len(x), 3, generator=generator) + 0.1, x) for x in (regions, labels))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    num_classes=st.integers(1, 4),
    capacities=st.tuples(st.integers(0, 5), st.integers(0, 7)),
    calls=st.integers(1, 6),
)
def test_rings_equal_their_loop_twin(seed: int, num_classes: int, capacities: tuple[int, int], calls: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"regions_per_class": capacities[0], "pixels_per_class": capacities[1]}
    bank, twin = MemoryBank(num_classes, 3, **sizes), LoopMemory(num_classes, **sizes)
    for _ in range(calls):
        sets = candidate_sets(generator, 2, num_classes, 11)
        bank.store(*sets)
        for kind, rows in enumerate(sets):
            twin.store(kind, zip(map(tuple, rows.embeddings.tolist()), rows.labels.tolist(), strict=True))
    keys = bank.keys()
    assert keys.labels.tolist() == twin.labels()
    assert [tuple(row) for row in keys.embeddings.tolist()] == [row or (0.0,) * 3 for row in twin.rows()]


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(-2, 4), max_size=40), capacity=st.integers(0, 6), cursor=st.integers(0, 5))
def test_no_two_rows_of_a_call_go_to_one_slot(labels: list[int], capacity: int, cursor: int) -> None:
    """Of two writes to one place a GPU may do either last."""
    ranked = class_ranks(torch.tensor(labels, dtype=torch.int64), 3)
    slots = ring_slots(ranked, torch.full((3,), cursor % max(capacity, 1)), capacity)
    for c in range(3):
        used = slots[(ranked.labels == c) & (slots >= 0)].tolist()
        assert len(used) == len(set(used)) == min(capacity, labels.count(c))


@pytest.mark.parametrize("calls", [1, 3, 40])
def test_every_filled_row_carries_the_class_of_its_slot(calls: int) -> None:
    """One direction per class: any mistake of place, cursor or label shows as a wrong direction."""
    num_classes = 5
    bank = MemoryBank(num_classes, num_classes, pixels_per_class=23, regions_per_class=7, pixels_per_region=4)
    for _ in range(calls):
        labels = torch.randint(0, num_classes, (3, 6, 7))
        labels[torch.rand(labels.shape) < 0.2] = 255
        bank.enqueue(one_direction_per_class(labels, num_classes), labels)
    keys = bank.keys()
    filled = keys.labels >= 0
    assert torch.equal(keys.embeddings.argmax(dim=1)[filled], keys.labels[filled])
    assert torch.equal(keys.embeddings[filled].norm(dim=1), torch.ones(int(filled.sum())))
    assert torch.equal(
        keys.labels.reshape(num_classes, 30).where(filled.reshape(num_classes, 30), 0).amax(1), torch.arange(5)
    )
    if calls == 40:
        assert filled.all()


def test_the_oldest_rows_are_gone_and_the_latest_are_there() -> None:
    bank = MemoryBank(2, 1, pixels_per_class=10, regions_per_class=3, pixels_per_region=2)
    labels = torch.tensor([[0, 0, 0], [1, 1, 255]])
    for call in range(1, 38):
        bank.enqueue(torch.full((2, 1, 3), float(call)), labels)
    keys = bank.keys()
    assert sorted(keys.embeddings[3:13, 0].tolist()) == [c for c in (33, 34, 35, 36, 37) for _ in range(2)]
    assert bank.fill.tolist() == [[3, 3], [10, 10]]
    assert torch.equal(keys.embeddings[:3, 0], torch.ones(3))  # a mean has unit length
    assert bank.age.tolist() == pytest.approx([(3 * 1 + 10 * 2 + 13) / 13 for _ in range(2)], abs=0.5)


def test_no_more_than_the_given_number_of_pixels_enters_from_a_region() -> None:
    bank = MemoryBank(3, 2, pixels_per_class=100, regions_per_class=0, pixels_per_region=10)
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[1, :, :4] = 1
    labels[1, 0, 0] = 2
    bank.enqueue(torch.ones(2, 2, 8, 8), labels)
    assert bank.fill[1].tolist() == [20, 10, 1]


def test_the_last_candidates_win() -> None:
    bank = MemoryBank(1, 1, pixels_per_class=2, regions_per_class=1, pixels_per_region=2)
    embeddings = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1).expand(3, 1, 4)
    bank.enqueue(embeddings, torch.zeros(3, 4, dtype=torch.int64))
    assert bank.keys().embeddings[1:].flatten().tolist() == [3.0, 3.0]


def test_pixels_are_taken_at_random_from_the_whole_region() -> None:
    bank = MemoryBank(1, 1, pixels_per_class=2000, regions_per_class=0)
    embeddings = torch.arange(1.0, 101.0).reshape(1, 1, 10, 10)
    for _ in range(200):
        bank.enqueue(embeddings, torch.zeros(1, 10, 10, dtype=torch.int64))
    counts = torch.bincount(bank.keys().embeddings[:, 0].long(), minlength=101)[1:]
    assert ((counts - 20) ** 2 / 18).sum() < 160


def test_labels_at_image_size_are_brought_to_the_grid() -> None:
    small = torch.randint(0, 3, (2, 4, 6))
    large = small.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    banks = [MemoryBank(3, 3, pixels_per_class=50, regions_per_class=5) for _ in range(2)]
    for bank, labels in zip(banks, (small, large), strict=True):
        bank.enqueue(one_direction_per_class(small, 3), labels)
    assert torch.equal(banks[0].rows, banks[1].rows)


@pytest.mark.parametrize("label", [-1, 3, 255, -100, 10_000])
def test_ids_that_are_no_class_are_not_stored(label: int) -> None:
    bank = MemoryBank(3, 2, pixels_per_class=4, regions_per_class=4)
    bank.enqueue(torch.ones(1, 2, 3, 3), torch.full((1, 3, 3), label))
    assert (bank.keys().labels == -1).all()
    assert not bank.rows.any()


def test_rows_without_a_direction_are_not_stored() -> None:
    bank = MemoryBank(1, 2, pixels_per_class=9, regions_per_class=1, pixels_per_region=9)
    embeddings = torch.ones(1, 2, 3)
    embeddings[0, :, 0] = 0
    embeddings[0, 0, 1] = torch.nan
    bank.enqueue(embeddings, torch.zeros(1, 3, dtype=torch.int64))
    keys = bank.keys()
    assert keys.labels.tolist() == [-1, 0] + [-1] * 8  # the mean met the NaN, one pixel is left
    assert torch.isfinite(bank.rows).all()


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (5, 0)])
def test_either_kind_may_be_absent(sizes: tuple[int, int]) -> None:
    bank = MemoryBank(3, 2, pixels_per_class=sizes[0], regions_per_class=sizes[1])
    bank.enqueue(torch.ones(2, 2, 4, 4), torch.randint(0, 3, (2, 4, 4)))
    assert bank.keys().embeddings.shape == (3 * sum(sizes), 2)
    assert (bank.keys().labels >= 0).sum() == 3 * (bool(sizes[0]) * 5 + bool(sizes[1]) * 2)
    assert bank.age.shape == (3,)


def test_a_step_neither_copies_nor_moves_the_memory() -> None:
    bank = MemoryBank(4, 16, pixels_per_class=20_000, regions_per_class=2000)
    address = bank.rows.data_ptr()
    labels = torch.randint(0, 4, (2, 8, 8))
    with OperatorLog() as log:
        bank.enqueue(unit_length(torch.randn(2, 16, 8, 8)), labels)
        keys = bank.keys()
    assert keys.embeddings.data_ptr() == bank.rows.data_ptr() == address
    assert log.largest < bank.rows.nbytes / 50


def test_the_number_of_operators_depends_neither_on_images_nor_on_classes() -> None:
    counts = set()
    for images, num_classes in ((1, 2), (4, 2), (2, 50)):
        bank = MemoryBank(num_classes, 4, pixels_per_class=30, regions_per_class=30)
        with OperatorLog() as log:
            bank.enqueue(torch.ones(images, 4, 6, 6), torch.randint(0, num_classes, (images, 6, 6)))
        counts.add(log.num_calls)
    assert len(counts) == 1


def filled_bank(**options: object) -> MemoryBank:
    bank = MemoryBank(3, 4, pixels_per_class=13, regions_per_class=5, **options)  # type: ignore[arg-type]
    for _ in range(3):
        bank.enqueue(unit_length(torch.randn(2, 4, 5, 5)), torch.randint(0, 3, (2, 5, 5)))
    return bank


def test_the_state_survives_a_file_of_plain_tensors() -> None:
    bank, other, buffer = filled_bank(), filled_bank(), io.BytesIO()
    torch.save(bank.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    more, labels = unit_length(torch.randn(2, 4, 5, 5)), torch.randint(0, 3, (2, 5, 5))
    for each in (bank, other):
        each.enqueue(more, labels)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in bank.state_dict().items())


def test_loading_reports_missing_unexpected_and_misshapen_state() -> None:
    bank = filled_bank()
    state = bank.state_dict()
    with pytest.raises(RuntimeError, match="Missing key.*rows"):
        bank.load_state_dict({name: value for name, value in state.items() if name != "rows"})
    with pytest.raises(RuntimeError, match="Unexpected key.*other"):
        bank.load_state_dict({**state, "other": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="other capacities or classes"):
        MemoryBank(3, 4, pixels_per_class=14, regions_per_class=5).load_state_dict(state)
    assert bank.load_state_dict({}, strict=False).missing_keys


def test_the_memory_is_no_buffer_and_no_parameter() -> None:
    bank = filled_bank()
    assert not list(bank.buffers())
    assert not list(bank.parameters())
    assert set(bank.state_dict()) == {"rows", "labels", "stamps", "cursors", "fill", "clock"}


def test_copies_are_independent() -> None:
    bank = filled_bank()
    twin = copy.deepcopy(bank)
    twin.enqueue(torch.ones(1, 4, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64))
    assert not torch.equal(twin.rows, bank.rows)


@pytest.mark.parametrize("cast", [torch.nn.Module.half, torch.nn.Module.double, torch.nn.Module.bfloat16])
def test_casting_a_module_leaves_the_memory_as_constructed(cast) -> None:  # type: ignore[no-untyped-def]
    bank = filled_bank()
    before = bank.rows.clone()
    cast(bank)
    assert bank.rows.dtype == torch.float32
    assert torch.equal(bank.rows, before)


def test_the_memory_follows_its_module_to_a_device() -> None:
    bank = MemoryBank(3, 4, pixels_per_class=13, regions_per_class=5).to("meta")
    assert bank.rows.device.type == bank.clock.device.type == "meta"
    with pytest.raises(RuntimeError, match=r"rows is on the meta device, which holds nothing; call to_empty"):
        bank.load_state_dict(filled_bank().state_dict())
    bank.to_empty(device="cpu")
    assert (bank.keys().labels == -1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_are_stored_in_the_asked_precision(dtype: torch.dtype) -> None:
    bank = filled_bank(dtype=dtype)
    rows = bank.keys().embeddings
    assert rows.dtype == dtype
    torch.testing.assert_close(
        rows.float().norm(dim=1)[bank.keys().labels >= 0].mean(), torch.tensor(1.0), atol=0.01, rtol=0
    )


def test_host_storage_holds_the_same_rows() -> None:
    torch.manual_seed(1)
    bank = filled_bank()
    torch.manual_seed(1)
    assert torch.equal(filled_bank(storage="cpu").rows, bank.rows)


def test_num_bytes_is_what_was_planned() -> None:
    options = MemoryOptions(pixels_per_class=50, regions_per_class=7, dtype="bfloat16")
    bank = MemoryBank.from_options(11, 32, options)
    assert bank.num_bytes == sum(x.nbytes for x in bank.state_dict().values())
    assert abs(bank.num_bytes - options.num_bytes(11, 32)) < 16 * 2 * 11 + 16
    assert options.num_bytes(11, 32) == (11 * 57 + 1) * (32 * 2 + 16)


def test_what_does_not_fit_names_the_options_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "available_bytes", lambda device: 2**30)
    with pytest.raises(UserError, match=r"31\.\d\d GiB, but 1\.00 GiB.*pixels_per_class.*regions_per_class.*bfloat16"):
        MemoryBank(150, 256, pixels_per_class=200_000, regions_per_class=20_000)


def test_free_memory_of_the_host_can_be_told() -> None:
    free = budget.available_bytes(torch.device("cpu"))
    assert free is None or free > 2**20
    assert budget.available_bytes(torch.device("meta")) is None


def test_wrong_shapes_are_named() -> None:
    bank = MemoryBank(2, 4, pixels_per_class=3, regions_per_class=3)
    with pytest.raises(ValueError, match=r"\[b, 4, \*grid\]"):
        bank.enqueue(torch.zeros(1, 5, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises((ValueError, TypeCheckError), match="dimensions"):
        bank.enqueue(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, dtype=torch.int64))
    enqueue = inspect.unwrap(MemoryBank.enqueue)  # run-time type checks would be first
    grid, ids = torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"embeddings must be \[b, 4, \*grid\], got \[1, 4\]"):
        enqueue(bank, grid[:, :, 0, 0], ids[:, 0, 0])
    with pytest.raises(ValueError, match=r"labels must hold a batch of at least one pixel, got \[1, 0, 2\]"):
        enqueue(bank, grid, ids[:, :0])
    with pytest.raises(ValueError, match="labels must be class ids, got torch.float32"):
        enqueue(bank, grid, ids.float())
    assert not bank.clock


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 0}, "must be positive, got 0 and 4"),
        ({"pixels_per_class": -1}, "pixels_per_class must be at least 0"),
        ({"candidates_per_class": 0}, "candidates_per_class must be at least 1"),
        ({"storage": "disk"}, "storage must be one of device, cpu"),
        ({"dtype": torch.int32}, "dtype must be of floating point, such as torch.bfloat16, got torch.int32"),
        ({"dtype": "bfloat16"}, "dtype must be of floating point, .* got 'bfloat16'"),
    ],
)
def test_sizes_that_no_memory_has_are_refused(change: dict[str, Any], message: str) -> None:
    sizes = {"num_classes": 2, "embedding_dim": 4, "pixels_per_class": 3, "regions_per_class": 3}
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(MemoryBank.__init__)(MemoryBank.__new__(MemoryBank), **(sizes | change))


def test_gradients_never_enter_the_memory() -> None:
    bank = MemoryBank(2, 4, pixels_per_class=3, regions_per_class=3)
    embeddings = torch.ones(1, 4, 2, 2, requires_grad=True)
    bank.enqueue(embeddings, torch.zeros(1, 2, 2, dtype=torch.int64))
    assert not bank.rows.requires_grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_picked_pixels_hand_their_gradient_back_in_the_layout_of_the_map(layout: torch.memory_format) -> None:
    pixels = torch.randn(2, 5, 3, 4).contiguous(memory_format=layout).requires_grad_()
    positions = torch.tensor([0, 13, 13, 23])
    rows = pixel_rows(pixels, positions)
    assert torch.equal(rows, torch.stack([pixels[p // 12, :, p % 12 // 4, p % 4] for p in positions]))

    weights = torch.randn_like(rows)
    (rows * weights).sum().backward()
    expected = torch.zeros(2, 5, 3, 4)
    for position, row in zip(positions, weights, strict=True):
        expected[position // 12, :, position % 12 // 4, position % 4] += row
    assert pixels.grad is not None
    assert torch.equal(pixels.grad, expected)
    (gradient,) = torch.autograd.grad(pixel_rows(pixels, positions), pixels, weights)
    assert gradient.is_contiguous(memory_format=layout)
