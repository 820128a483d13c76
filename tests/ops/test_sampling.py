"""Laws of anchor sampling and of the sampling of regions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from pixelcontrast.ops import sample_anchors
from pixelcontrast.ops.hashing import hash_rows, mix
from pixelcontrast.ops.sampling import sample_regions
from reference import sampling as reference


def numbers(seed: int, stream: int, count: int, first: int = 0) -> list[int]:
    return hash_rows(mix(seed, stream), torch.arange(count) + first).tolist()


def groups_of(labels: Tensor, num_classes: int, *, per_image: bool) -> list[int | None]:
    return [
        (label + image * num_classes * per_image) if 0 <= label < num_classes else None
        for image, grid in enumerate(labels.flatten(1).tolist())
        for label in grid
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    images=st.integers(1, 3),
    num_classes=st.integers(1, 5),
    most=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    max_anchors=st.integers(1, 40),
    group=st.sampled_from(["class", "image_class"]),
    hardness=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_anchors_equal_their_loop_twin(
    seed: int, images: int, num_classes: int, most: int, share: float, max_anchors: int, group: str, hardness: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, num_classes + 2, (images, 5, 7), generator=generator)
    labels[labels > num_classes] = 255
    wrong = torch.rand(labels.shape, generator=generator) < hardness
    predictions = torch.where(wrong, (labels + 1) % max(num_classes, 2), labels)
    per_image = group == "image_class"
    num_groups = num_classes * (images if per_image else 1)
    room = min(most * num_groups, max_anchors)
    positions, found = sample_anchors(
        labels, predictions, num_classes=num_classes, anchors_per_class=most, hard_anchor_ratio=share, group=group,
        max_anchors=max_anchors, seed=seed,
    )  # fmt: skip
    expected = reference.sample_anchors(
        groups_of(labels, num_classes, per_image=per_image), (predictions != labels).flatten().tolist(),
        num_groups=num_groups, most=most, hard_share=share, room=room, hard_random=numbers(seed, 0, labels.numel()),
        fill_random=numbers(seed, 1, labels.numel()), lots=numbers(seed, 2, num_groups),
    )  # fmt: skip
    assert positions.shape == found.shape == (room,)
    assert positions.tolist() == [i for i, _ in expected] + [-1] * (room - len(expected))
    assert found.tolist() == [g % num_classes for _, g in expected] + [-1] * (room - len(expected))


def test_an_anchor_carries_the_label_of_its_pixel_and_is_drawn_once() -> None:
    labels = torch.randint(0, 7, (2, 16, 16))
    positions, found = sample_anchors(labels, labels, num_classes=7)
    drawn = positions[found >= 0]
    assert torch.equal(labels.flatten()[drawn], found[found >= 0])
    assert drawn.unique().numel() == drawn.numel()


@pytest.mark.parametrize("hard", [0, 10, 400])
def test_hard_and_easy_pixels_fill_in_for_each_other(hard: int) -> None:
    labels = torch.zeros(1, 20, 20, dtype=torch.int64)
    predictions = labels.clone()
    predictions.flatten()[:hard] = 1
    positions, found = sample_anchors(labels, predictions, num_classes=2, anchors_per_class=50)
    drawn = positions[found == 0]
    num_hard = int((drawn < hard).sum())
    assert drawn.numel() == 50
    assert num_hard == {0: 0, 10: 10, 400: 50}[hard]


def test_the_rest_is_drawn_from_all_remaining_pixels_hard_or_not() -> None:
    """With 60 % hard pixels and half the quota kept for them, 25 + 25 x 0.5x of the 50 are hard: not 25, not 50."""
    labels = torch.zeros(1, 20, 50, dtype=torch.int64)
    predictions = (torch.arange(1000) < 600).long().reshape(1, 20, 50)
    hard = []
    for seed in range(60):
        positions, found = sample_anchors(labels, predictions, num_classes=1, anchors_per_class=50, seed=seed)
        hard.append(int((positions[found >= 0] < 600).sum()))
    expected = 25 + 25 * (600 - 25) / (1000 - 25)
    assert abs(sum(hard) / len(hard) - expected) < 1.5  # four standard errors


def test_every_pixel_of_a_class_is_equally_likely() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    counts = torch.zeros(100)
    for seed in range(400):
        positions, _ = sample_anchors(labels, labels, num_classes=1, anchors_per_class=10, seed=seed)
        counts[positions] += 1
    assert ((counts - 40) ** 2 / 36).sum() < 160  # chi-square of 99 degrees of freedom, beyond 160 once in 10,000


def test_a_class_of_one_pixel_gives_its_pixel() -> None:
    labels = torch.zeros(2, 32, 32, dtype=torch.int64)
    labels[1, 3, 4] = 5
    positions, found = sample_anchors(labels, labels, num_classes=8, max_anchors=16)
    assert positions[found == 5].tolist() == [32 * 32 + 3 * 32 + 4]


def test_every_present_class_gets_the_same_quota() -> None:
    labels = torch.randint(0, 40, (2, 64, 64))
    _, found = sample_anchors(labels, labels, num_classes=171, max_anchors=1024)
    counts = torch.bincount(found[found >= 0], minlength=171)
    assert counts[:40].tolist() == [1024 // 40] * 40
    assert counts[40:].sum() == 0


def test_more_groups_than_room_share_the_room_by_lot() -> None:
    labels = torch.arange(100).reshape(1, 10, 10)
    seen: set[int] = set()
    for seed in range(60):
        _, found = sample_anchors(labels, labels, num_classes=100, max_anchors=10, seed=seed)
        assert found.unique().numel() == 10
        seen |= set(found.tolist())
    assert len(seen) > 95


def test_no_usable_pixel_gives_no_anchor() -> None:
    labels = torch.full((2, 4, 4), 255)
    positions, found = sample_anchors(labels, labels.clamp(max=2), num_classes=3, anchors_per_class=5)
    assert positions.tolist() == found.tolist() == [-1] * 15


def test_an_ignore_index_among_the_classes_is_ignored() -> None:
    labels = torch.randint(0, 3, (1, 8, 8))
    _, found = sample_anchors(labels, labels, num_classes=3, ignore_index=0)
    assert set(found.tolist()) == {-1, 1, 2}


@pytest.mark.parametrize("grid", [(40,), (5, 8), (4, 2, 5)])
def test_only_the_order_of_the_pixels_matters_not_the_grid(grid: tuple[int, ...]) -> None:
    labels = torch.arange(80).reshape(2, 40) % 4
    flat = sample_anchors(labels, labels, num_classes=4, anchors_per_class=3)
    shaped = sample_anchors(labels.reshape(2, *grid), labels.reshape(2, *grid), num_classes=4, anchors_per_class=3)
    assert torch.equal(flat[0], shaped[0])


def test_labels_of_eight_bits_are_welcome() -> None:
    labels = torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8)
    labels[0, 0] = 255
    a = sample_anchors(labels, labels.long(), num_classes=3)
    b = sample_anchors(labels.long(), labels.long(), num_classes=3)
    assert torch.equal(a[0], b[0])


def test_wrong_options_are_named() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises((ValueError, TypeCheckError), match="one shape|predictions"):
        sample_anchors(labels, labels[:, :2], num_classes=2)
    with pytest.raises(ValueError, match="hard_anchor_ratio"):
        sample_anchors(labels, labels, num_classes=2, hard_anchor_ratio=1.5)
    with pytest.raises(ValueError, match="max_anchors"):
        sample_anchors(labels, labels, num_classes=2, max_anchors=0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    images=st.integers(1, 3),
    num_classes=st.integers(1, 4),
    most=st.integers(1, 6),
    max_pixels=st.one_of(st.none(), st.integers(1, 30)),
    first=st.integers(0, 100),
)
def test_region_pixels_equal_their_loop_twin(
    seed: int, images: int, num_classes: int, most: int, max_pixels: int | None, first: int
) -> None:
    labels = torch.randint(-1, num_classes + 1, (images, 4, 5), generator=torch.Generator().manual_seed(seed))
    groups = groups_of(labels, num_classes, per_image=True)
    num_groups = images * num_classes
    positions, found, ranks = sample_regions(
        labels, num_classes=num_classes, pixels_per_region=most, max_pixels=max_pixels, seed=seed, first_row=first
    )
    room = min(num_groups * most, labels.numel(), labels.numel() if max_pixels is None else max_pixels)
    counts = [groups.count(g) for g in range(num_groups)]
    quotas = reference.group_quotas(counts, most, max_pixels or num_groups * most, numbers(seed, 1, num_groups))
    random = numbers(seed, 0, labels.numel(), first)
    expected = reference.sample_regions(groups, num_groups=num_groups, quotas=quotas, random=random)
    empty = [-1] * (room - len(expected))
    assert positions.tolist() == [i for i, _, _ in expected] + empty
    assert found.tolist() == [g % num_classes for _, g, _ in expected] + empty
    assert ranks.tolist() == [rank for _, _, rank in expected] + empty


def test_halves_of_a_batch_draw_what_the_whole_draws() -> None:
    labels = torch.randint(0, 3, (4, 8, 8))
    whole, _, _ = sample_regions(labels, num_classes=3, pixels_per_region=4, seed=9)
    halves = [
        sample_regions(labels[s], num_classes=3, pixels_per_region=4, seed=9, first_row=first)[0] + first
        for s, first in ((slice(0, 2), 0), (slice(2, 4), 128))
    ]
    assert torch.equal(torch.cat(halves), whole)
