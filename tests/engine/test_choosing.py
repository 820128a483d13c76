"""Which pixels and regions are looked at."""

import pytest
import torch
from torch import Tensor

from pixelcontrast.engine.choosing import ChosenPixels, ChosenRegions, choose


def split(*, images: int = 6, classes: int = 5) -> list[Tensor]:
    """Labels of images of several sizes, in blocks, some of them without a class."""
    generator = torch.Generator().manual_seed(1)
    sizes = [(12, 20), (16, 16), (9, 31)]
    found = []
    for i in range(images):
        labels = torch.randint(0, classes, sizes[i % 3], generator=generator)
        labels[:2] = 255
        labels[labels == i % classes] = (i + 1) % classes
        found.append(labels)
    return found


def chosen(labels: list[Tensor], **changes: int) -> tuple[ChosenPixels, ChosenRegions]:
    given = {"num_classes": 5, "pixels_per_class": 7, "regions_per_class": 3, "seed": 0} | changes
    return choose(iter(labels), **given)


def places(pixels: ChosenPixels) -> list[tuple[int, ...]]:
    columns = (pixels.label, pixels.image, pixels.row, pixels.column)
    return [tuple(row) for row in torch.stack(columns, dim=1).tolist()]


def test_pixels_have_the_label_they_are_said_to_have_and_occur_once() -> None:
    labels = split()
    found = places(chosen(labels)[0])
    assert all(labels[image][row, column] == label for label, image, row, column in found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("per_class", [1, 7, 10_000])
def test_each_class_gives_its_share_or_all_it_has(per_class: int) -> None:
    labels = split()
    pixels, _ = chosen(labels, pixels_per_class=per_class)
    for label in range(5):
        held = sum(int((each == label).sum()) for each in labels)
        assert int((pixels.label == label).sum()) == min(per_class, held)


def test_a_smaller_choice_is_a_prefix_of_each_class() -> None:
    few, many = (chosen(split(), pixels_per_class=n)[0] for n in (3, 9))
    for label in range(5):
        assert places(few)[3 * label : 3 * label + 3] == places(many)[9 * label : 9 * label + 3]


def test_the_seed_decides() -> None:
    first, again, other = (places(chosen(split(), seed=seed)[0]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_every_pixel_of_a_class_is_as_likely_as_any_other() -> None:
    """A class of 40 pixels, 30 of them in one image: over 200 seeds each is drawn about 200 * 5 / 40 times."""
    labels = [torch.zeros(5, 6, dtype=torch.int64), torch.zeros(2, 5, dtype=torch.int64)]
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(200):
        for place in places(chosen(labels, pixels_per_class=5, seed=seed)[0]):
            counts[place] = counts.get(place, 0) + 1
    assert len(counts) == 40
    assert min(counts.values()) > 8
    assert max(counts.values()) < 45


def test_regions_are_boxed_and_counted() -> None:
    labels = split()
    _, regions = chosen(labels, regions_per_class=100)
    assert len(regions.label) == sum(len(set(each.flatten().tolist()) - {255}) for each in labels)
    for image, box, size, label in zip(
        regions.image.tolist(), regions.box.tolist(), regions.size.tolist(), regions.label.tolist(), strict=True
    ):
        top, left, bottom, right = box
        member = labels[image] == label
        assert int(member.sum()) == int(member[top:bottom, left:right].sum()) == size
        inside = member[top:bottom, left:right]
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_regions_of_a_class_are_limited() -> None:
    _, regions = chosen(split(images=12), regions_per_class=2)
    assert torch.bincount(regions.label).tolist() == [2] * 5


def test_a_split_without_labelled_pixels_gives_nothing() -> None:
    pixels, regions = chosen([torch.full((4, 4), 255)])
    assert len(pixels.label) == len(regions.label) == 0
