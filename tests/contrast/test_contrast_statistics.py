"""Laws of the figures that pixel contrast reports."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from pixelcontrast import MemoryOptions, PixelContrast
from pixelcontrast.contrast import gradient_norm_ratio
from pixelcontrast.contrast.statistics import (
    chance_level,
    effective_rank,
    energy_rank,
    is_collapsed,
    loss_floor,
    mean_similarities,
    uniformity,
    used_negatives,
)
from pixelcontrast.ops.regions import unit_length


def simplex(num_classes: int) -> Tensor:
    """Unit vectors with equal angles, as far apart as they can be."""
    return unit_length(torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes)


def step(embeddings: Tensor, labels: Tensor, **options: object) -> tuple[float, dict[str, Tensor]]:
    """Loss and figures of a batch whose features are the embeddings themselves."""
    num_classes = int(labels.max()) + 1
    criterion = PixelContrast(embeddings.shape[1], num_classes, projection="none", **options)  # type: ignore[arg-type]
    logits = torch.zeros(labels.shape[0], num_classes, *labels.shape[1:])
    return float(criterion(embeddings, labels, logits)), criterion.statistics


@pytest.mark.parametrize("mining", ["all", "random", "hardest", "semi_hard"])
def test_equal_embeddings_have_the_loss_of_chance(mining: str) -> None:
    labels = torch.arange(4).repeat(2, 30)
    loss, figures = step(torch.ones(2, 8, 120), labels, mining=mining, negatives_per_anchor=11)
    assert loss == pytest.approx(float(figures["chance_level"]), rel=1e-5)


@pytest.mark.parametrize("mining", ["all", "random", "hardest", "semi_hard"])
def test_the_simplex_has_the_loss_of_the_floor(mining: str) -> None:
    labels = torch.arange(4).repeat(2, 30)
    embeddings = simplex(4)[labels].movedim(-1, 1)
    loss, figures = step(embeddings, labels, mining=mining, temperature=0.5)
    assert loss == pytest.approx(float(figures["floor"]), rel=1e-4)
    assert float(figures["positive_similarity"]) == pytest.approx(1)
    assert float(figures["negative_similarity"]) == pytest.approx(-1 / 3)


def test_no_embedding_of_balanced_classes_is_below_the_floor() -> None:
    labels = torch.arange(5).repeat(1, 10)
    for _ in range(20):
        loss, figures = step(torch.randn(1, 4, 50), labels, mining="all")
        assert loss >= float(figures["floor"])


def test_chance_and_floor_are_the_formulas() -> None:
    assert float(chance_level(torch.tensor(2048))) == pytest.approx(math.log(2049))
    floor = loss_floor(torch.tensor(2048), num_classes=19, temperature=0.1)
    assert float(floor) == pytest.approx(math.log(1 + 2048 * math.exp(-(1 + 1 / 18) / 0.1)), rel=1e-5)
    assert float(loss_floor(torch.tensor(0), num_classes=1, temperature=0.1)) == 0


def test_negatives_that_mining_leaves() -> None:
    available = torch.tensor([0, 1, 10, 11, 30_000])
    assert used_negatives(available, mining="all", limit=2048).tolist() == available.tolist()
    assert used_negatives(available, mining="hardest", limit=2048).tolist() == [0, 1, 10, 11, 2048]
    assert used_negatives(available, mining="semi_hard", limit=2048).tolist() == [0, 1, 1, 2, 2048]


def test_similarities_and_uniformity_equal_loops_over_pairs() -> None:
    rows, labels = unit_length(torch.randn(12, 5)), torch.randint(-1, 3, (12,))
    same, other, potentials = [], [], []
    for i, j in itertools.permutations(range(12), 2):
        if labels[i] >= 0 and labels[j] >= 0:
            (same if labels[i] == labels[j] else other).append(float(rows[i] @ rows[j]))
            potentials.append(math.exp(-2 * float((rows[i] - rows[j]).square().sum())))
    positive, negative = mean_similarities(rows, labels, 3)
    assert float(positive) == pytest.approx(sum(same) / len(same), abs=1e-6)
    assert float(negative) == pytest.approx(sum(other) / len(other), abs=1e-6)
    assert float(uniformity(rows, labels)) == pytest.approx(math.log(sum(potentials) / len(potentials)), abs=1e-5)


def test_figures_of_nothing_are_finite() -> None:
    rows, labels = torch.zeros(4, 3), torch.full((4,), -1)
    figures = [*mean_similarities(rows, labels, 2), uniformity(rows, labels), effective_rank(rows, labels)]
    assert [float(x) for x in figures] == [0, 0, 0, 0]
    assert not is_collapsed(rows, labels, num_classes=2)
    assert float(energy_rank(rows, labels, num_classes=2)) == 0


def test_effective_rank_counts_directions() -> None:
    labels = torch.arange(6).repeat(10)
    assert float(effective_rank(simplex(6)[labels], labels)) == pytest.approx(5, rel=1e-3)
    assert float(effective_rank(torch.eye(6)[labels], labels)) == pytest.approx(6, rel=1e-3)
    assert float(effective_rank(torch.ones(60, 6), labels)) == pytest.approx(1, abs=0.01)


def test_collapse_is_told_from_two_classes_on_one_axis() -> None:
    axis = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])
    two, three = torch.arange(2).repeat(10), torch.arange(20) % 3
    assert not is_collapsed(axis[two], two, num_classes=2)
    assert is_collapsed(axis[two], three, num_classes=3)
    assert not is_collapsed(torch.eye(3)[three], three, num_classes=3)


def test_energy_rank_counts_directions_by_class_and_not_by_row() -> None:
    labels = torch.arange(6).repeat(10)
    assert float(energy_rank(simplex(6)[labels], labels, num_classes=6)) == pytest.approx(5)
    often = torch.cat([torch.zeros(900, dtype=torch.int64), torch.tensor([1, 2])])
    assert float(energy_rank(torch.eye(3)[often], often, num_classes=3)) == pytest.approx(3)


@pytest.mark.parametrize(("cosine", "collapsed"), [(0.99, True), (0.95, True), (0.8, False), (0.5, False)])
def test_noise_does_not_hide_a_collapse(cosine: float, collapsed: bool) -> None:
    """A tenth of noise in 256 dimensions has an effective rank of 100, so that cannot tell."""
    labels = torch.arange(300) % 5
    noise = unit_length(torch.randn(300, 256))
    rows = unit_length(cosine**0.5 * torch.eye(256)[0] + (1 - cosine) ** 0.5 * noise)
    assert float((rows @ rows.T).mean()) == pytest.approx(cosine, abs=0.02)
    assert bool(is_collapsed(rows, labels, num_classes=5)) is collapsed
    assert float(effective_rank(rows, labels)) > 10


def test_a_collapsed_memory_is_told_from_a_healthy_one() -> None:
    labels = torch.arange(3).repeat_interleave(12).view(1, 6, 6)
    for embeddings, collapsed in ((torch.ones(1, 4, 6, 6), True), (torch.eye(4)[labels].movedim(-1, 1), False)):
        criterion = PixelContrast(
            4, 3, projection="none", memory=MemoryOptions(pixels_per_class=6, regions_per_class=2)
        )
        criterion(embeddings, labels, torch.zeros(1, 3, 6, 6))
        assert criterion.memory_has_collapsed() is collapsed
    assert PixelContrast(4, 3, memory=None).memory_has_collapsed() is False


def test_rows_that_are_not_finite_have_no_effective_rank_and_raise_nothing() -> None:
    rows, labels = torch.eye(4), torch.arange(4)
    rows[1, 1] = torch.nan
    assert effective_rank(rows, labels).isnan()
    assert not is_collapsed(rows, labels, num_classes=4)


def test_reported_figures_of_a_step() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[0, 0, :4] = 1
    labels[0, 7, 7] = 2
    logits = torch.zeros(1, 3, 8, 8)
    logits[0, 1, 0, :2] = 1  # two of the four pixels of class 1 are predicted rightly
    logits[0, 0] = 0.5
    criterion = PixelContrast(
        4, 3, projection="none", anchors_per_class=10, memory=MemoryOptions(pixels_per_class=20, regions_per_class=5)
    )
    assert criterion.statistics == {}
    with pytest.raises(ValueError, match="call it first"):
        criterion.effective_rank()
    loss = criterion(torch.randn(1, 4, 8, 8), labels, logits)
    figures = criterion.statistics
    assert torch.equal(figures["loss"], loss.detach())
    assert int(figures["anchors"]) == 15
    assert int(figures["anchors_without_positives"]) == 1
    assert float(figures["hard_anchor_share"]) == pytest.approx((2 + 1) / 15)
    assert figures["memory_fill"].tolist() == pytest.approx([11 / 25, 5 / 25, 2 / 25])
    assert figures["memory_age"].tolist() == [1, 1, 1]
    assert all(torch.isfinite(value).all() and not value.requires_grad for value in figures.values())
    assert criterion.has_collapsed() is False


def test_gradient_norm_ratio_compares_the_two_losses() -> None:
    features = torch.randn(1, 3, 4, 4, requires_grad=True)
    tapped = features * 1.0
    ratio = gradient_norm_ratio(3 * tapped.sum(), tapped.sum(), tapped)
    assert float(ratio) == pytest.approx(3)
    assert float(gradient_norm_ratio(tapped.sum(), 0 * tapped.sum(), tapped)) == 0


def test_gradient_norm_ratio_leaves_the_step_as_it_is() -> None:
    torch.manual_seed(0)
    labels, logits = torch.randint(0, 3, (2, 6, 6)), torch.randn(2, 3, 6, 6)
    features = torch.randn(2, 4, 6, 6, requires_grad=True)
    criterion = PixelContrast(4, 3, embedding_dim=5, memory=MemoryOptions(pixels_per_class=9, regions_per_class=2))
    criterion(features.detach(), labels, logits)
    tapped = features * 1.0
    loss = criterion(tapped, labels, logits)
    ratio = gradient_norm_ratio(loss, tapped.square().mean(), tapped)
    loss.backward()
    assert features.grad is not None
    expected = features.grad.norm() / (2 * features.detach() / features.numel()).norm()
    torch.testing.assert_close(ratio, expected)
