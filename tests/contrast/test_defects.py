"""Each defect of the authors' released code, by number, as a law that ours obeys.

What lies outside the criterion has its test where it lies: with the training step, the network and the recipes.
"""

import ast
import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

import pixelcontrast
from operator_log import WAITING, OperatorLog
from pixelcontrast import MemoryBank, MemoryOptions, PixelContrast, pixel_contrast_loss
from pixelcontrast.contrast import preset
from pixelcontrast.ops import sample_anchors

SOURCE = Path(pixelcontrast.__file__).parent


def directions(labels: Tensor, num_classes: int) -> Tensor:
    """Features that say which class each pixel has; ignored pixels point where no class does."""
    known = labels.where((labels >= 0) & (labels < num_classes), num_classes)
    return torch.nn.functional.one_hot(known, num_classes + 1).movedim(-1, 1).float()


def criterion_of(num_classes: int, **options: object) -> PixelContrast:
    return PixelContrast(num_classes + 1, num_classes, projection="none", **options)  # type: ignore[arg-type]


def step(criterion: PixelContrast, labels: Tensor, features: Tensor | None = None) -> Tensor:
    """One call; the logits are wrong nearly everywhere, so that predictions cannot be mistaken for labels."""
    num_classes = criterion.num_classes
    features = directions(labels, num_classes) if features is None else features
    logits = torch.zeros(labels.shape[0], num_classes, *features.shape[2:])
    loss: Tensor = criterion(features, labels, logits)
    return loss


def memory_of(criterion: PixelContrast) -> MemoryBank:
    assert criterion.memory is not None
    return criterion.memory


@pytest.mark.parametrize("calls", [1, 2, 30])
def test_01_pixels_are_enqueued_by_their_class(calls: int) -> None:
    criterion = criterion_of(5, memory=MemoryOptions(pixels_per_class=17, regions_per_class=4, pixels_per_region=3))
    for _ in range(calls):
        labels = torch.randint(0, 5, (3, 9, 11))
        labels[:, :2] = 255
        step(criterion, labels)
    keys = memory_of(criterion).keys()
    filled = keys.labels >= 0
    assert filled.sum() > 0
    assert torch.equal(keys.embeddings[filled].argmax(dim=1), keys.labels[filled])
    assert torch.equal(keys.embeddings[filled].amax(dim=1), torch.ones(int(filled.sum())))


def test_02_labels_at_image_size_meet_the_embeddings_they_belong_to() -> None:
    small = torch.randint(0, 4, (2, 8, 8))
    image = small.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    criterion = criterion_of(4, memory=MemoryOptions(pixels_per_class=20, regions_per_class=20))
    step(criterion, image, directions(small, 4))
    keys = memory_of(criterion).keys()
    filled = keys.labels >= 0
    assert torch.equal(keys.embeddings[filled], directions(keys.labels[filled], 4))


def test_03_the_cursor_moves_by_the_rows_written_and_wraps_in_place() -> None:
    bank = MemoryBank(1, 1, pixels_per_class=7, regions_per_class=0, pixels_per_region=3)
    written = []
    for call in range(1, 10):
        bank.enqueue(torch.full((1, 1, 3), float(call)), torch.zeros(1, 3, dtype=torch.int64))
        written += [float(call)] * 3
        assert int(bank.cursors[1, 0]) == len(written) % 7
        slots = [0.0] * 7
        for i, value in enumerate(written):
            slots[i % 7] = value
        assert bank.keys().embeddings.flatten().tolist() == slots


def test_04_class_0_is_stored_and_used_like_any_other() -> None:
    criterion = criterion_of(3, mining="all", memory=MemoryOptions(pixels_per_class=8, regions_per_class=2))
    step(criterion, torch.zeros(2, 4, 4, dtype=torch.int64))
    assert memory_of(criterion).fill.sum(dim=0).tolist() == [10, 0, 0]
    without = criterion_of(3, mining="all")
    labels = torch.ones(1, 4, 4, dtype=torch.int64)
    assert float(step(criterion, labels)) > float(step(without, labels))  # class 0's rows are negatives of class 1


def test_05_a_memory_that_is_not_filled_yet_has_no_influence() -> None:
    labels, features = torch.randint(0, 3, (2, 6, 6)), torch.randn(2, 4, 6, 6)
    for mining in ("all", "semi_hard", "hardest", "random"):
        fresh = criterion_of(3, mining=mining, memory=MemoryOptions(pixels_per_class=9, regions_per_class=9))
        memory_of(fresh).rows.normal_()  # whatever unfilled slots hold
        torch.testing.assert_close(
            step(fresh, labels, features), step(criterion_of(3, mining=mining), labels, features)
        )


def test_06_the_mask_of_an_anchor_itself_covers_in_batch_keys_only() -> None:
    """The memory's first rows stand in the columns after the batch: each of them must count."""
    labels, features = torch.tensor([[0, 0, 1, 1]]), torch.randn(1, 3, 4)
    criterion = criterion_of(2, mining="all", memory=MemoryOptions(pixels_per_class=3, regions_per_class=1))
    bank = memory_of(criterion)
    bank.rows[:-1] = torch.nn.functional.normalize(torch.randn(8, 3), dim=1)
    bank.labels[:-1] = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    stored = copy.deepcopy(bank.keys())
    anchors = torch.nn.functional.normalize(features[0].T, dim=1)
    exclude = torch.cat([torch.eye(4, dtype=torch.bool), torch.zeros(4, 8, dtype=torch.bool)], dim=1)
    expected = pixel_contrast_loss(
        anchors, labels[0], torch.cat([anchors, stored.embeddings]), torch.cat([labels[0], stored.labels]),
        exclude=exclude,
    )  # fmt: skip
    torch.testing.assert_close(step(criterion, labels, features), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_07_no_positive_and_well_separated_classes_are_finite(dtype: torch.dtype) -> None:
    lonely = torch.tensor([[0, 1, 2, 2]])
    for labels in (lonely, torch.arange(4).repeat(2, 8)):
        features = (60 * directions(labels, 4)).to(dtype).requires_grad_()
        loss = step(criterion_of(4, temperature=0.01), labels, features)
        loss.backward()
        assert torch.isfinite(loss)
        assert features.grad is not None
        assert torch.isfinite(features.grad).all()


def test_08_no_usable_class_and_more_groups_than_room_are_cases() -> None:
    labels = torch.full((2, 6, 6), 255)
    features = torch.randn(2, 4, 6, 6, requires_grad=True)
    loss = step(criterion_of(3), labels, features)
    loss.backward()
    assert float(loss.detach()) == 0
    crowded = torch.arange(64).reshape(1, 8, 8).repeat(2, 1, 1)
    criterion = criterion_of(64, anchor_groups="image_class", max_anchors=10)
    assert torch.isfinite(step(criterion, crowded))
    assert int(criterion.statistics["anchors"]) == 10


def test_09_a_single_anchor_of_a_group_can_be_a_hard_one() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    predictions = (torch.arange(100).reshape(1, 10, 10) < 50).long()
    for ratio, least, most in ((0.5, 15, 45), (1.0, 60, 60)):
        hard = 0
        for seed in range(60):
            positions, _ = sample_anchors(
                labels, predictions, num_classes=1, anchors_per_class=1, hard_anchor_ratio=ratio, seed=seed
            )
            hard += int(positions[0] < 50)
        assert least <= hard <= most


@pytest.mark.parametrize("pixels", [1, 2, 99, 100, 101])
def test_10_small_classes_give_anchors(pixels: int) -> None:
    labels = torch.zeros(1, 40, 40, dtype=torch.int64)
    labels.view(-1)[:pixels] = 1
    for group in ("class", "image_class"):
        _, found = sample_anchors(labels, labels, num_classes=2, anchors_per_class=100, group=group)  # type: ignore[arg-type]
        assert int((found == 1).sum()) == min(pixels, 100)


def test_11_before_its_start_the_weight_is_zero_so_that_nothing_need_be_computed() -> None:
    """The objective must not call the criterion at weight 0: its test lies with the training step."""
    criterion = PixelContrast.from_options(4, 3, preset("released"))
    assert [criterion.weight_at(step) for step in (0, 4999, 5000)] == [0.0, 0.0, 0.1429]


def test_12_one_process_computes_what_many_do() -> None:
    assert not torch.distributed.is_initialized()
    labels, features = torch.randint(0, 3, (2, 6, 6)), torch.randn(2, 4, 6, 6)
    losses = [
        float(step(criterion_of(3, gather_ranks=gather, gather_keys=keys, memory=MemoryOptions()), labels, features))
        for gather, keys in ((None, False), (True, True), (False, False))
    ]
    assert losses[0] > 0
    assert len(set(losses)) == 1
    assert PixelContrast(4, 3).weight_at(0) == 1.0


def test_13_the_memory_is_nothing_that_a_rank_broadcasts() -> None:
    """Two processes that train with DistributedDataParallel show it in test_contrast_ranks."""
    criterion = PixelContrast(4, 3, memory=MemoryOptions())
    assert [name for name, _ in criterion.named_buffers()] == ["step"]
    assert not any(name.startswith("memory") for name, _ in criterion.named_parameters())


def test_14_the_memory_is_in_the_criterion_s_state_and_a_network_has_none_of_it() -> None:
    """That ten steps equal five, save, load and five is a law of the criterion and of training."""
    network = torch.nn.Conv2d(3, 4, 1)
    criterion = PixelContrast(4, 3, memory=MemoryOptions(pixels_per_class=2, regions_per_class=2))
    assert {"memory.rows", "memory.labels", "memory.cursors", "memory.fill", "step"} <= set(criterion.state_dict())
    assert set(network.state_dict()) == {"weight", "bias"}


def test_15_no_network_that_is_deployed_knows_the_projection_head() -> None:
    users = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "pixelcontrast.nn.projection":
                users.add(path.relative_to(SOURCE).as_posix())
    # `embed` shows what contrast made of a run, on demand; evaluation, prediction and export have no part in it
    assert users == {"contrast/criterion.py", "contrast/lazy.py", "engine/embedding.py"}


def test_16_no_memory_means_none_and_logits_may_have_any_size() -> None:
    assert PixelContrast(4, 3, memory=None).memory is None
    labels, features = torch.randint(0, 3, (2, 8, 8)), torch.randn(2, 4, 8, 8)
    for size in ((2, 2), (8, 8), (32, 31)):
        assert torch.isfinite(criterion_of(3)(features, labels, torch.randn(2, 3, *size)))


def test_17_contrast_leaves_the_random_numbers_of_training_alone() -> None:
    """Arms with contrast and without see the same data only if the criterion draws from no source that is shared."""
    criterion = PixelContrast(4, 3, memory=MemoryOptions(pixels_per_class=5, regions_per_class=5))
    before = torch.get_rng_state()
    criterion(
        torch.randn(2, 4, 6, 6, generator=torch.Generator()), torch.zeros(2, 6, 6).long(), torch.zeros(2, 3, 6, 6)
    )
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("projection", ["dense", "sampled", "none"])
def test_18_a_call_never_waits_is_short_and_picks_rows_at_once(projection: str) -> None:
    criterion = PixelContrast(
        16, 5, embedding_dim=16, projection=projection, memory=MemoryOptions(pixels_per_class=50, regions_per_class=10)
    )  # type: ignore[arg-type]
    features = torch.randn(2, 16, 48, 48, requires_grad=True)
    labels, logits = torch.randint(0, 5, (2, 48, 48)), torch.randn(2, 5, 48, 48)
    criterion(features, labels, logits)  # checks the labels once
    with OperatorLog() as forward:
        loss = criterion(features, labels, logits)
    with OperatorLog() as backward:
        loss.backward()
    assert not WAITING & (set(forward.counts) | set(backward.counts))
    assert forward.num_calls < 700
    assert backward.num_calls < 60
    whole_maps = [name for name, size in backward.sizes if size >= features.nbytes]
    assert sum(name in ("zeros", "new_zeros", "zeros_like", "zero_", "full") for name in whole_maps) <= 1
    assert len(whole_maps) <= 6
