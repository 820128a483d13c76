"""Laws of labels and logits of other tasks than one class of several a pixel."""

import pytest
import torch
from torch import Tensor, nn

from attach_models import Network, batch
from pixelcontrast import attach
from pixelcontrast.contrast.targets import cell_labels, one_class_a_pixel


def read(labels: Tensor, logits: Tensor, num_classes: int, *, multi_label: bool = False) -> tuple[Tensor, Tensor]:
    return one_class_a_pixel(labels, logits, num_classes=num_classes, multi_label=multi_label, ignore_index=255)


def binary_network() -> nn.Module:
    model = Network()
    model.head = nn.Conv2d(12, 1, 1)
    return model


@pytest.mark.parametrize("form", [torch.uint8, torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("channel", [False, True])
def test_binary_masks_of_any_form_are_two_classes(form: torch.dtype, channel: bool) -> None:
    masks = torch.randint(0, 2, (2, 5, 7))
    logits = torch.randn(2, 1, 5, 7)
    labels, scores = read((masks[:, None] if channel else masks).to(form), logits, 1)
    assert torch.equal(labels, masks)
    assert torch.equal(scores.argmax(1), (logits[:, 0] > 0).long())


def test_binary_masks_train() -> None:
    model, (images, labels) = binary_network(), batch()
    contrast = attach(model, at="neck", num_classes=1)
    masks = (labels > 1)[:, None].float()
    loss = contrast(masks, model(images))
    loss.backward()
    assert loss > 0
    assert contrast.criteria[0].num_classes == 2
    assert contrast.statistics["anchors"] > 0


def test_several_labels_a_pixel() -> None:
    labels = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1], [1, 255]]).T[None]  # [1, 2 classes, 5 pixels]
    logits = torch.tensor([[-1.0, -1], [1, -1], [1, 2], [-1, 3], [0, 0]]).T[None]
    ids, scores = read(labels, logits, 2, multi_label=True)
    assert ids.tolist() == [[0, 1, 2, 255, 255]]
    assert scores.argmax(1)[0, :4].tolist() == [0, 1, 2, 2]


def test_multi_label_networks_train() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=4, multi_label=True)
    masks = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    masks[:, 2] *= (labels != 2) | (torch.rand(labels.shape) < 0.5)
    assert contrast(masks, model(images)) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_soft_and_one_hot_labels_are_refused_with_a_reason(dtype: torch.dtype) -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=4)
    one_hot = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)
    with pytest.raises(ValueError, match=r"soft or one-hot.*labels.argmax\(1\), with confidence="):
        contrast(one_hot.to(dtype), model(images))
    with pytest.raises(ValueError, match=r"labels.long\(\)"):
        contrast(labels.float(), model(images))


def test_soft_binary_masks_are_refused_at_the_first_call_and_ignored_later() -> None:
    model, (images, labels) = binary_network(), batch()
    contrast = attach(model, at="neck", num_classes=1)
    with pytest.raises(ValueError, match="got 0.5: soft labels"):
        contrast((labels > 1) * 0.5, model(images))
    contrast((labels > 1).float(), model(images))
    assert contrast((labels > 1) * 0.5 + 0.25, model(images)) == 0


def test_masks_of_0_and_255_are_told_about() -> None:
    model, (images, labels) = binary_network(), batch()
    contrast = attach(model, at="neck", num_classes=1)
    with pytest.warns(UserWarning, match=r"if 255 means foreground in your masks, pass \(labels > 0\)"):
        contrast((labels > 1) * 255, model(images))
    other = attach(model, at="neck", num_classes=1, ignore_index=-100)
    with pytest.raises(ValueError, match=r"got 255; map them, as in \(labels > 0\)"):
        other((labels > 1) * 255, model(images))


def test_pixels_of_little_confidence_have_no_influence() -> None:
    images, labels = batch()
    sure = torch.rand(2, 16, 24)
    torch.manual_seed(0)
    model = Network()
    model.eval()
    contrast = attach(model, at="neck", num_classes=4, in_channels=12)
    expected = contrast(labels.where(sure >= 0.6, 255), model(images))
    noisy = labels.where(sure >= 0.6, (labels + 1) % 4)
    for confidence in (sure, sure[:, None], sure.where(sure >= 0.6, float("nan"))):
        assert torch.equal(contrast(noisy, model(images), confidence=confidence, min_confidence=0.6), expected)
    with pytest.raises(ValueError, match="needs min_confidence="):
        contrast(labels, model(images), confidence=sure)
    with pytest.raises(ValueError, match="confidence must have the shape of the labels"):
        contrast(labels, model(images), confidence=sure[:, ::2], min_confidence=0.5)


def test_a_least_confidence_without_confidence_is_refused() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attach(model, at="neck", num_classes=4)
    with pytest.raises(ValueError, match=r"min_confidence=0\.9 needs confidence="):
        contrast(labels, model(images), min_confidence=0.9)


def test_sparse_labels_reach_the_grid_wherever_they_lie_in_a_cell() -> None:
    labels = torch.full((1, 8, 8), 255)
    labels[0, 0, 0], labels[0, 3, 7] = 0, 2  # points off the centres
    labels[0, 5, 0:2] = torch.tensor([1, 3])  # two classes in one cell
    labels[0, 7, 6] = 77  # no class
    sparse, dense = (cell_labels(labels, (2, 2), num_classes=4, ignore_index=255, sparse=s) for s in (True, False))
    assert sparse.tolist() == [[[0, 2], [255, 255]]]
    assert (dense == 255).all()


def test_sparse_reading_of_uniform_cells_is_the_dense_one() -> None:
    cells = torch.randint(0, 4, (2, 3, 5))
    labels = cells.repeat_interleave(4, 1).repeat_interleave(4, 2)
    for sparse in (True, False):
        assert torch.equal(cell_labels(labels, (3, 5), num_classes=4, ignore_index=255, sparse=sparse), cells)


def test_points_alone_train_with_sparse_labels_only() -> None:
    model, (images, labels) = Network(), batch()
    points = torch.full_like(labels, 255)
    points[:, ::4, ::4] = labels[:, ::4, ::4]
    losses = []
    for sparse in (True, False):
        contrast = attach(model, at="neck", num_classes=4, sparse_labels=sparse)
        losses.append(contrast(points, model(images)))
        contrast.detach()
    assert losses[0] > 0
    assert losses[1] == 0
