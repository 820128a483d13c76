"""A region that lies among regions of another label is found; classes that are merely rare are left in peace."""

import pytest
import torch
from torch import Tensor

from pixelcontrast.explore import disagreement
from pixelcontrast.explore.disagreement import Disagreement, ask_neighbours
from pixelcontrast.ops.regions import unit_length

COUNTS = (40, 12, 5, 2, 1)  # regions of each class, each in another image


def clusters() -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels and images of classes that are well apart."""
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    images = torch.cat([torch.arange(count) for count in COUNTS])
    centres = torch.eye(8)[labels]
    noise = 0.1 * torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0))
    return unit_length(centres + noise), labels, images


def ask(features: Tensor, labels: Tensor, images: Tensor, **options: int) -> Disagreement:
    return ask_neighbours(features, labels, images, num_classes=len(COUNTS), **options)


def test_where_labels_are_right_nobody_disagrees() -> None:
    found = ask(*clusters())
    assert found.against.sum() == 0
    assert len(found.suspects()) == 0
    assert torch.equal(found.suggested, clusters()[1])
    assert found.similarity.abs().sum() == 0


def test_a_class_is_asked_no_more_neighbours_than_it_has_peers() -> None:
    features, labels, images = clusters()
    asked = ask(features, labels, images, neighbours=10).asked
    for label, count in enumerate(COUNTS):
        assert set(asked[labels == label].tolist()) == {min(10, count - 1)}


def test_a_wrong_label_is_the_first_suspect_and_its_own_class_is_suggested() -> None:
    features, labels, images = clusters()
    for wrong, false in ((3, 1), (45, 0)):
        changed = labels.clone()
        changed[wrong] = false
        found = ask(features, changed, images)
        assert found.suspects()[0] == wrong
        assert found.suggested[wrong] == labels[wrong]
        assert found.against[wrong] == found.asked[wrong] == found.support[wrong] > 0
        assert found.similarity[wrong] > 0.8


def test_a_region_alone_in_its_class_is_not_judged() -> None:
    features, labels, images = clusters()
    found = ask(features, labels, images)
    assert found.asked[labels == 4].tolist() == [0]
    assert (labels != 4)[found.suspects()].all()


def test_neighbours_of_the_same_image_have_no_say() -> None:
    features = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    labels, images = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    found = ask_neighbours(features, labels, images, num_classes=2)
    assert found.asked.tolist() == [1, 1, 1, 1]
    alone = ask_neighbours(features[:2], labels[:2], images[:2], num_classes=2)
    assert alone.asked.tolist() == [0, 0]
    assert len(alone.suspects()) == 0


def test_neither_the_order_of_regions_nor_the_chunks_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, images = clusters()
    labels[[0, 41]] = torch.tensor([2, 0])
    found = ask(features, labels, images)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    shuffled = ask(features[order], labels[order], images[order])
    monkeypatch.setattr(disagreement, "_CHUNK", 1)
    chunked = ask(features, labels, images)
    for name, values in vars(found).items():
        torch.testing.assert_close(getattr(shuffled, name), values[order])
        torch.testing.assert_close(getattr(chunked, name), values)


def test_the_most_similar_of_equal_suspects_comes_first() -> None:
    found = Disagreement(
        asked=torch.tensor([4, 4, 2, 4]),
        against=torch.tensor([4, 2, 2, 0]),
        suggested=torch.tensor([1, 1, 1, 0]),
        support=torch.tensor([4, 2, 2, 0]),
        similarity=torch.tensor([0.5, 0.9, 0.7, 0.0]),
    )
    assert found.suspects().tolist() == [2, 0, 1]


def test_no_regions_are_no_suspects() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    found = ask_neighbours(torch.zeros(0, 4), nothing, nothing, num_classes=3)
    assert len(found.suspects()) == 0
