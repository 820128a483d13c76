"""Laws of the criterion: what it computes, what it changes, and what it refuses."""

import copy
import inspect
import io
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from operator_log import WAITING, OperatorLog
from pixelcontrast import ContrastOptions, MemoryOptions, PixelContrast, pixel_contrast_loss
from pixelcontrast.contrast.checks import check_label_range, check_tensor
from pixelcontrast.contrast.criterion import ANCHORS
from pixelcontrast.contrast.memory import pixel_rows
from pixelcontrast.ops import sample_anchors
from pixelcontrast.ops.hashing import step_key
from pixelcontrast.ops.regions import unit_length

MEMORY = MemoryOptions(pixels_per_class=30, regions_per_class=6, pixels_per_region=4)
PROJECTIONS = ["dense", "sampled", "none"]


def batch(
    num_classes: int = 4, *, images: int = 2, channels: int = 6, grid: tuple[int, ...] = (9, 8), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(images, channels, *grid, generator=generator)
    labels = torch.randint(0, num_classes, (images, *grid), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    return features, labels, torch.randn(images, num_classes, *grid, generator=generator)


def run(criterion: PixelContrast, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient at the features."""
    features, labels, logits = inputs
    features = features.clone().requires_grad_()
    loss = criterion(features, labels, logits)
    loss.backward()
    assert features.grad is not None
    return loss.detach(), features.grad


def test_the_loss_is_eq_3_of_the_sampled_anchors_against_each_other_and_the_memory() -> None:
    criterion = PixelContrast(6, 4, embedding_dim=5, mining="all", memory=MEMORY, anchors_per_class=7).double()
    for step in range(3):
        features, labels, logits = (x.double() if x.is_floating_point() else x for x in batch(seed=step))
        head, memory = copy.deepcopy(criterion.head), copy.deepcopy(criterion.memory)
        assert head is not None
        assert memory is not None
        positions, anchor_labels = sample_anchors(
            labels, logits.argmax(1), num_classes=4, anchors_per_class=7,
            seed=step_key(0, torch.tensor(step), ANCHORS),
        )  # fmt: skip
        features.requires_grad_()
        anchors = unit_length(pixel_rows(head.project(features), positions))
        keys = memory.keys()
        expected = pixel_contrast_loss(
            anchors, anchor_labels, torch.cat([anchors, keys.embeddings]), torch.cat([anchor_labels, keys.labels]),
            own_key=torch.arange(len(anchors)), implementation="dense",
        )  # fmt: skip
        gradients = torch.autograd.grad(expected, [features, head.hidden.weight])
        loss, gradient = run(criterion, features.detach(), labels, logits)
        assert criterion.head is not None
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(gradient, gradients[0])
        torch.testing.assert_close(criterion.head.hidden.weight.grad, gradients[1])
        criterion.zero_grad()


@pytest.mark.parametrize("mining", ["semi_hard", "hardest", "random", "all"])
@pytest.mark.parametrize("grid", [(60,), (9, 8), (4, 5, 3)])
def test_sampled_projection_equals_dense(mining: str, grid: tuple[int, ...]) -> None:
    """With no region above 64 pixels the memories are equal too, so every step is."""
    dense = PixelContrast(6, 4, embedding_dim=5, mining=mining, memory=MEMORY, anchors_per_class=7)  # type: ignore[arg-type]
    sampled = PixelContrast(
        6, 4, embedding_dim=5, mining=mining, memory=MEMORY, anchors_per_class=7, projection="sampled"
    )  # type: ignore[arg-type]
    sampled.load_state_dict(dense.state_dict())
    for step in range(3):
        a, b = (run(criterion, *batch(grid=grid, seed=step)) for criterion in (dense, sampled))
        torch.testing.assert_close(a[0], b[0])
        torch.testing.assert_close(a[1], b[1])
    assert dense.memory is not None
    assert sampled.memory is not None
    torch.testing.assert_close(dense.memory.rows, sampled.memory.rows)
    assert torch.equal(dense.memory.labels, sampled.memory.labels)


def test_sampled_region_means_are_close_to_the_whole_region_s() -> None:
    memory = MemoryOptions(pixels_per_class=0, regions_per_class=4)
    inputs = batch(2, images=1, grid=(64, 64))
    banks = []
    for projection in PROJECTIONS[:2]:
        torch.manual_seed(3)
        criterion = PixelContrast(6, 2, embedding_dim=5, memory=memory, projection=projection)  # type: ignore[arg-type]
        criterion(*inputs)
        assert criterion.memory is not None
        banks.append(criterion.memory.keys())
    assert torch.equal(banks[0].labels, banks[1].labels)
    cosines = (banks[0].embeddings * banks[1].embeddings).sum(dim=1)[banks[0].labels >= 0]
    assert cosines.min() > 0.8
    assert cosines.max() < 0.9999


def test_without_projection_the_features_are_normalised() -> None:
    criterion, scaled = (PixelContrast(6, 4, projection="none", mining="all") for _ in range(2))
    features, labels, logits = batch()
    torch.testing.assert_close(scaled(7 * features, labels, logits), criterion(features, labels, logits))
    assert not list(criterion.parameters())


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_eval_mode_computes_the_loss_and_changes_nothing(projection: str) -> None:
    criterion = PixelContrast(6, 4, embedding_dim=6, memory=MEMORY, projection=projection)  # type: ignore[arg-type]
    criterion(*batch())
    before = copy.deepcopy(criterion.state_dict())
    criterion.eval()
    loss, again = criterion(*batch(seed=1)), criterion(*batch(seed=1))
    assert torch.equal(loss, again)
    assert loss > 0
    assert all(torch.equal(value, before[name]) for name, value in criterion.state_dict().items())
    criterion.train()
    assert torch.equal(criterion(*batch(seed=1)), loss)


def train_steps(criterion: PixelContrast, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        optimizer.zero_grad()
        loss = criterion(*batch(seed=step))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("projection", PROJECTIONS[:2])
def test_ten_steps_equal_five_then_save_load_and_five(projection: str) -> None:
    def make() -> tuple[PixelContrast, torch.optim.Optimizer]:
        torch.manual_seed(7)
        options = {"final_temperature": 0.3, "temperature_steps": 8, "projection": projection}
        criterion = PixelContrast(6, 4, embedding_dim=5, memory=MEMORY, seed=11, **options)  # type: ignore[arg-type]
        return criterion, torch.optim.SGD(criterion.parameters(), lr=0.1, momentum=0.9)

    whole, first = make(), make()
    losses = train_steps(*whole, range(10))
    assert train_steps(*first, range(5)) == losses[:5]
    buffer = io.BytesIO()
    torch.save([x.state_dict() for x in first], buffer)
    buffer.seek(0)
    torch.manual_seed(99)
    second = make()
    for part, state in zip(second, torch.load(buffer, weights_only=True), strict=True):
        part.load_state_dict(state)
    assert train_steps(*second, range(5, 10)) == losses[5:]
    state = second[0].state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole[0].state_dict().items())


def test_every_micro_batch_enqueues() -> None:
    criterion = PixelContrast(6, 4, embedding_dim=5, memory=MEMORY)
    total = sum(criterion(*batch(seed=step)) for step in range(4))
    total.backward()  # type: ignore[union-attr]
    assert criterion.memory is not None
    assert int(criterion.memory.clock) == int(criterion.step) == 4
    assert criterion.memory.fill[0].tolist() == [6, 6, 6, 6]


@pytest.mark.parametrize("mining", ["semi_hard", "all"])
def test_enqueueing_before_backward_leaves_the_gradient_as_it_is(mining: str) -> None:
    """In eval mode nothing is enqueued between forward and backward; in training mode the memory is."""
    criterion = PixelContrast(6, 4, embedding_dim=5, memory=MEMORY, mining=mining)  # type: ignore[arg-type]
    for step in range(9):
        criterion(*batch(seed=step))
    criterion.eval()
    loss, gradient = run(criterion, *batch(seed=20))
    criterion.train()
    assert criterion.memory is not None
    before = criterion.memory.rows.clone()
    loss_in_training, gradient_in_training = run(criterion, *batch(seed=20))
    assert not torch.equal(criterion.memory.rows, before)
    assert torch.equal(loss, loss_in_training)
    assert torch.equal(gradient, gradient_in_training)


def test_ignored_pixels_have_no_influence() -> None:
    features, labels, logits = batch()
    criterion = PixelContrast(6, 4, embedding_dim=5, memory=MEMORY)
    twin = copy.deepcopy(criterion)
    noise = torch.where((labels == 255)[:, None], 100 * torch.randn_like(features), 0)
    loss, gradient = run(criterion, features, labels, logits)
    other, other_gradient = run(twin, features + noise, labels, logits + noise[:, :4])
    assert torch.equal(loss, other)
    assert torch.equal(gradient, other_gradient)
    assert not gradient[(labels == 255)[:, None].expand_as(gradient)].any()
    assert criterion.memory is not None
    assert twin.memory is not None
    assert torch.equal(criterion.memory.rows, twin.memory.rows)


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_features_give_a_float32_loss_near_the_exact_one(dtype: torch.dtype, projection: str) -> None:
    criterion = PixelContrast(6, 4, embedding_dim=6, memory=MEMORY, mining="all", projection=projection)  # type: ignore[arg-type]
    twin = copy.deepcopy(criterion)
    for step in range(3):
        features, labels, logits = batch(seed=step)
        exact, _ = run(twin, features, labels, logits)
        loss, gradient = run(criterion, features.to(dtype), labels, logits.to(dtype))
        assert loss.dtype == torch.float32
        assert gradient.dtype == dtype
        assert torch.isfinite(gradient).all()
        torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_autocast_lowers_the_projection_only(projection: str) -> None:
    criterion = PixelContrast(6, 4, embedding_dim=6, memory=MEMORY, mining="all", projection=projection)  # type: ignore[arg-type]
    twin = copy.deepcopy(criterion)
    exact, _ = run(twin, *batch())
    projected = []
    if criterion.head is not None:
        project = criterion.head.project
        criterion.head.project = lambda rows: projected.append(project(rows)) or projected[-1]  # type: ignore[method-assign, assignment, func-returns-value]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradient = run(criterion, *batch())
    assert {rows.dtype for rows in projected} == ({torch.bfloat16} if projection != "none" else set())
    assert loss.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)
    if projection == "none":
        assert torch.equal(loss, exact)


def test_separated_classes_in_half_precision_are_finite() -> None:
    labels = torch.randint(0, 4, (2, 8, 8))
    features = 100 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).half()
    criterion = PixelContrast(4, 4, projection="none", temperature=0.01, memory=MEMORY)
    for _ in range(3):
        loss, gradient = run(criterion, features, labels, torch.zeros(2, 4, 8, 8))
        assert 0 <= float(loss) < 1e-3
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("case", ["ignored", "one class", "one pixel", "one image", "zeros"])
def test_empty_cases_are_finite_and_attached_to_the_graph(case: str, projection: str) -> None:
    features, labels, logits = batch(images=1 if case == "one image" else 2)
    if case == "ignored":
        labels = torch.full_like(labels, 255)
    elif case == "one class":
        labels = torch.zeros_like(labels)
    elif case == "one pixel":
        labels = torch.zeros_like(labels)
        labels[1, 2, 3] = 3
    elif case == "zeros":
        features = torch.zeros_like(features)
    criterion = PixelContrast(6, 4, embedding_dim=6, memory=MEMORY, projection=projection)  # type: ignore[arg-type]
    for _ in range(3):
        loss, gradient = run(criterion, features, labels, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
        assert all(torch.isfinite(p.grad).all() for p in criterion.parameters() if p.grad is not None)
        if case in ("ignored", "one class"):
            assert float(loss) == 0
            assert not gradient.any()
    assert criterion.memory is not None
    filled = criterion.memory.fill.sum(dim=0).tolist()
    expected = {"ignored": [False] * 4, "one class": [True] + [False] * 3, "one pixel": [True, False, False, True]}
    if case in expected:
        assert [bool(count) for count in filled] == expected[case]
    assert all(torch.isfinite(figure).all() for figure in criterion.statistics.values())


def test_many_classes_with_a_large_memory() -> None:
    memory = MemoryOptions(pixels_per_class=4000, regions_per_class=1000)
    criterion = PixelContrast(8, 171, projection="none", memory=memory, mining="all", max_anchors=64)
    assert criterion.memory is not None
    keys = criterion.memory.keys()
    keys.embeddings.copy_(unit_length(torch.randn(171 * 5000, 8)))
    keys.labels.copy_(torch.arange(171).repeat_interleave(5000))
    labels = torch.arange(171).repeat(3)[:512].reshape(2, 16, 16)
    loss, gradient = run(criterion, torch.randn(2, 8, 16, 16), labels, torch.randn(2, 171, 16, 16))
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert int(criterion.statistics["anchors"]) == 64


@pytest.mark.slow
@pytest.mark.parametrize("mining", ["semi_hard", "hardest", "random"])
def test_many_classes_with_a_large_memory_mined(mining: str) -> None:
    memory = MemoryOptions(pixels_per_class=4000, regions_per_class=1000)
    criterion = PixelContrast(8, 171, projection="none", memory=memory, mining=mining)  # type: ignore[arg-type]
    assert criterion.memory is not None
    keys = criterion.memory.keys()
    keys.embeddings.copy_(unit_length(torch.randn(171 * 5000, 8)))
    keys.labels.copy_(torch.arange(171).repeat_interleave(5000))
    labels = torch.arange(171).repeat(3)[:512].reshape(2, 16, 16)
    loss, gradient = run(criterion, torch.randn(2, 8, 16, 16), labels, torch.randn(2, 171, 16, 16))
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("any_size", [(9, 8), (3, 4), (36, 31)])
def test_logits_and_labels_may_have_any_size(any_size: tuple[int, int]) -> None:
    features, labels, _ = batch()
    logits = torch.randn(2, 4, *any_size)
    large = labels.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    criterion = PixelContrast(6, 4, embedding_dim=5, memory=MEMORY)
    twin = copy.deepcopy(criterion)
    assert torch.equal(criterion(features, large, logits), twin(features, labels, logits))


def test_labels_of_any_integer_type_are_welcome() -> None:
    features, labels, logits = batch()
    criterion = PixelContrast(6, 4, embedding_dim=5)
    twin = copy.deepcopy(criterion)
    assert torch.equal(criterion(features, labels.to(torch.uint8), logits), twin(features, labels, logits))


def test_the_temperature_follows_its_schedule() -> None:
    scheduled = PixelContrast(6, 4, projection="none", temperature=0.1, final_temperature=0.5, temperature_steps=4)
    for step, temperature in enumerate([0.1, 0.2, 0.3, 0.4, 0.5, 0.5]):
        constant = PixelContrast(6, 4, projection="none", temperature=temperature)
        constant.step += step
        torch.testing.assert_close(scheduled(*batch(seed=step)), constant(*batch(seed=step)))


def test_seeds_choose_anchors() -> None:
    criteria = [PixelContrast(6, 4, projection="none", seed=seed, anchors_per_class=5) for seed in range(5)]
    assert len({float(criterion(*batch())) for criterion in criteria}) == 5


def test_the_memory_alone_can_be_the_keys() -> None:
    criterion = PixelContrast(6, 4, projection="none", in_batch_keys=False, memory=MEMORY)
    loss, gradient = run(criterion, *batch())
    assert float(loss) == 0
    assert not gradient.any()
    loss, gradient = run(criterion, *batch(seed=1))
    assert float(loss) > 0
    assert gradient.any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_memory_in_host_storage_or_low_precision_gives_nearly_the_same_loss(dtype: str) -> None:
    options = {"pixels_per_class": 30, "regions_per_class": 6, "pixels_per_region": 4}
    plain = PixelContrast(6, 4, projection="none", mining="all", memory=MemoryOptions(**options))
    memory = MemoryOptions(**options, dtype=dtype, storage="cpu")  # type: ignore[arg-type]
    other = PixelContrast(6, 4, projection="none", mining="all", memory=memory)
    for seed in range(4):
        torch.testing.assert_close(other(*batch(seed=seed)), plain(*batch(seed=seed)), rtol=0.01, atol=0.01)


def test_strange_labels_are_named_at_the_first_call_only() -> None:
    features, labels, logits = batch()
    criterion = PixelContrast(6, 4, embedding_dim=5)
    strange = labels.clone()
    strange[0, 0, :2] = torch.tensor([37, -1])
    with pytest.raises(ValueError, match=r"0\.\.3 or ignore_index=255, got the ids -1, 37; map them"):
        criterion(features, strange, logits)
    criterion.eval()(features, strange, logits)
    criterion.train()(features, labels, logits)
    ignored = strange.where((strange >= 0) & (strange < 4), 255)
    twin = copy.deepcopy(criterion)
    assert torch.equal(criterion(features, strange, logits), twin(features, ignored, logits))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 5, 8, 8), (2, 8, 8), (2, 4, 8, 8)), r"\[b, 6, \*grid\].*in_channels"),
        (((2, 6, 8, 8), (2, 8, 8), (2, 3, 8, 8)), "4 classes.*num_classes"),
        (((2, 6, 8, 8), (2, 8, 8), (2, 4, 8)), "agree in batch"),
        (((2, 6, 8, 8), (2, 64), (2, 4, 8, 8)), "agree in batch"),
        (((2, 6, 8, 8), (3, 8, 8), (2, 4, 8, 8)), "agree in batch|labels"),
    ],
)
def test_wrong_shapes_are_named(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    features, labels, logits = (torch.zeros(shape) for shape in shapes)
    with pytest.raises((ValueError, TypeCheckError), match=message):
        PixelContrast(6, 4, embedding_dim=5)(features, labels.long(), logits)


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        PixelContrast(0, 4)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_operators_depend_neither_on_images_nor_on_classes_and_never_wait(projection: str) -> None:
    counts = set()
    for images, num_classes in ((2, 3), (5, 3), (2, 60)):
        options = ContrastOptions(embedding_dim=6, memory=MEMORY, projection=projection)  # type: ignore[arg-type]
        criterion = PixelContrast.from_options(6, num_classes, options)
        inputs = batch(num_classes, images=images, grid=(16, 16))
        inputs[0].requires_grad_()
        criterion(*inputs)  # checks the labels once
        with OperatorLog() as log:
            loss = criterion(*inputs)
            loss.backward()
        counts.add(log.num_calls)
        assert not WAITING & set(log.counts)
    assert len(counts) == 1


def test_deep_copies_train_apart() -> None:
    criterion = PixelContrast(6, 4, embedding_dim=5, memory=MEMORY)
    criterion(*batch())
    twin = copy.deepcopy(criterion)
    twin(*batch(seed=1))
    assert int(criterion.step) == 1
    assert int(twin.step) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_are_those_without_autocast(dtype: torch.dtype) -> None:
    criterion = PixelContrast(6, 4, memory=MEMORY, anchors_per_class=200)
    criterion(*batch(images=8, grid=(24, 24)))
    exact, rank = criterion.statistics, criterion.effective_rank()
    with torch.autocast("cpu", dtype=dtype):
        lowered = criterion.statistics
        assert torch.equal(criterion.effective_rank(), rank)
        assert not criterion.has_collapsed()
        assert not criterion.memory_has_collapsed()
    for name, value in exact.items():
        assert torch.equal(lowered[name], value), name


@pytest.mark.parametrize("projection", ["sampled", "none"])
def test_where_there_is_no_anchor_the_first_pixel_has_no_influence(projection: Any) -> None:
    features, labels, logits = batch()
    labels[0, 0, 0] = 255
    labels[labels == 1] = 0
    labels[0, 1, 1] = 1  # one pixel of a class leaves anchors empty
    criterion = PixelContrast(6, 4, embedding_dim=6, projection=projection)
    losses = []
    for value in (0.0, torch.nan):
        features[0, :, 0, 0] = value
        loss, gradient = run(criterion.eval(), features, labels, logits)
        assert torch.isfinite(gradient).all()
        assert all(
            parameter.grad.isfinite().all() for parameter in criterion.parameters() if parameter.grad is not None
        )
        losses.append(loss)
    assert torch.equal(*losses)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_features_of_float64_work_under_autocast(projection: Any) -> None:
    features, labels, logits = batch()
    criterion = PixelContrast(6, 4, embedding_dim=6, projection=projection)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert criterion(features.double(), labels, logits).isfinite()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, y, g: (f, y.float(), g), r"class ids, got torch.float32; pass labels.long\(\)"),
        (lambda f, y, g: (f[:0], y[:0], g[:0]), r"at least one pixel, got \[0, 6, 9, 8\]"),
        (lambda f, y, g: (f, y[:, :0], g), r"labels must hold a batch of at least one pixel, got \[2, 0, 8\]"),
        (lambda f, y, g: (f, y, g[..., :0]), r"logits must hold a batch of at least one pixel"),
        (lambda f, y, g: (f.flatten(), y, g), r"one to three spatial dimensions"),
        (lambda f, y, g: (f[..., None, None, None], y, g), r"one to three spatial dimensions"),
    ],
)
def test_inputs_of_another_form_say_so(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(PixelContrast.forward)(PixelContrast(6, 4), *change(*batch()))  # run-time checks would be first


def test_what_is_no_tensor_says_so() -> None:
    with pytest.raises(ValueError, match="logits must be a tensor, got dict; take it out"):
        check_tensor("logits", {"out": torch.zeros(2, 4, 9, 8)})


def test_within_a_checkpoint_it_is_refused() -> None:
    features, labels, logits = batch()
    criterion = PixelContrast(6, 4, memory=MEMORY)
    loss = checkpoint(criterion, features.requires_grad_(), labels, logits, use_reentrant=False)
    with pytest.raises(RuntimeError, match="call the criterion outside"):
        loss.backward()


@pytest.mark.parametrize(("dtype", "num_classes"), [(torch.uint8, 256), (torch.int8, 200), (torch.uint16, 4)])
def test_labels_of_a_small_dtype_are_in_range(dtype: torch.dtype, num_classes: int) -> None:
    check_label_range(torch.arange(4).to(dtype), num_classes, ignore_index=-1)
    if dtype == torch.uint8:
        with pytest.raises(ValueError, match=r"got the ids 255"):
            check_label_range(torch.tensor([255], dtype=dtype), 4, ignore_index=-1)
