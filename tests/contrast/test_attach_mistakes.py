"""Wrong use of `attach` is caught at once, and the message says what to do."""

import inspect
import warnings
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from attach_models import CLASSES, Network, batch
from pixelcontrast import AttachedContrast, MemoryOptions, PixelContrast, Tap, attach


def attached(model: nn.Module, **options: Any) -> AttachedContrast:
    return attach(model, **({"at": "neck", "num_classes": CLASSES} | options))


def test_unknown_modules_list_near_names() -> None:
    with pytest.raises(ValueError, match=r"no module 'nek'; near names: 'neck'.*example="):
        attached(Network(), at="nek")
    with pytest.raises(ValueError, match=r"'stem\.0'"):
        attached(Network(), at="backbone.0")
    with pytest.raises(ValueError, match="pass it, or example=images"):
        attached(Network(), at=None)


def test_what_is_no_name_is_told() -> None:
    model = Network()
    with pytest.raises((ValueError, TypeCheckError), match=r"at must be the name of a module|at"):
        attached(model, at=model.neck)
    with pytest.raises((ValueError, TypeCheckError), match=r"memory must be MemoryOptions|memory"):
        attached(model, memory=5000)


def test_a_module_has_all_its_names() -> None:
    model = Network()
    model.alias = model.neck
    assert attached(model, at="alias").taps[0].module == "alias"


def test_an_output_that_is_changed_in_place_is_told_once() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    contrast(labels, model(images))  # no warning, which would be an error here
    model.head = nn.Sequential(nn.ReLU(inplace=True), model.head)
    with pytest.warns(UserWarning, match="what 'neck' returned was changed in place afterwards"):
        contrast(labels, model(images))


def test_a_model_that_was_not_called() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    with pytest.raises(
        ValueError, match="expected a forward pass of the model before the loss, but 'neck' has not run"
    ):
        contrast(labels, torch.randn(2, CLASSES, 4, 6))
    logits = model(images)
    contrast(labels, logits)
    with pytest.raises(ValueError, match="has not run since the last one"):
        contrast(labels, logits)


@pytest.mark.parametrize("taken", [0, 1])
def test_two_forward_passes_before_one_loss(taken: int) -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    logits = [model(images), model(images)]
    with pytest.raises(ValueError, match="ran twice before one loss"):
        contrast(labels, logits[taken])
    assert contrast(labels, model(images)) > 0


def test_labels_or_logits_on_another_device() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    with pytest.raises(ValueError, match=r"labels are on meta, the features of 'neck' on cpu; pass labels.to\('cpu'\)"):
        contrast(labels.to("meta"), model(images))
    with pytest.raises(ValueError, match="logits are on meta"):
        contrast(labels, model(images).to("meta"))


def test_logits_with_another_number_of_classes() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model, num_classes=CLASSES + 1)
    with pytest.raises(
        ValueError, match=r"logits must be \[b, 5, \*grid\], got \[2, 4, 4, 6\]; attach with num_classes="
    ):
        contrast(labels, model(images))
    with pytest.raises((ValueError, TypeCheckError), match=r"logits"):
        contrast(labels, {"out": model(images)})
    with pytest.raises(ValueError, match="num_classes must be positive"):
        attached(model, num_classes=0)


def test_labels_out_of_range() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model, memory=MemoryOptions(pixels_per_class=5, regions_per_class=2))
    labels[0, 0, :2] = torch.tensor([37, -1])
    with pytest.raises(ValueError, match=r"labels must be 0..3 or ignore_index=255, got the ids -1, 37; map them"):
        contrast(labels, model(images))
    assert contrast.get_extra_state() == 0


def test_batches_that_do_not_match() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    logits = model(images)
    with pytest.raises(ValueError, match="saw a batch of 2, labels have 1 and logits 2"):
        contrast(labels[:1], logits)


class Pool(nn.Module):
    def __init__(self, at: str) -> None:
        super().__init__()
        self.body, self.pool, self.flat = nn.Conv2d(3, 6, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.sequence = nn.Identity()
        self.last = nn.Identity()
        self.head = nn.Conv2d(6, CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(images)
        self.flat(self.pool(x))
        self.sequence(x.flatten(2).mT)
        self.last(x.movedim(1, -1))
        logits: Tensor = self.head(x)
        return logits


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("pool", r"one position an image, \[2, 6, 1, 1\]: it has no spatial grid; tap a module before the pooling"),
        ("flat", r"returns \[2, 6\], .* it has no spatial grid"),
        ("sequence", r"state grid=\(height, width\) of its 96 tokens, perhaps \(8, 12\)"),
        ("last", r'looks like \[b height width c\]; pass layout="channels_last"'),
    ],
)
def test_taps_without_a_known_grid(at: str, message: str) -> None:
    model, (images, labels) = Pool(at), batch()
    contrast = attached(model, at=at)
    with pytest.raises(ValueError, match=message):
        contrast(labels, model(images))


def test_a_grid_that_does_not_fit() -> None:
    model, (images, labels) = Pool(""), batch()
    contrast = attached(model, at="sequence", grid=(10, 10))
    with pytest.raises(ValueError, match=r"grid=\(10, 10\) does not fit the 96 tokens"):
        contrast(labels, model(images))


def test_outputs_that_hold_several_maps_or_none() -> None:
    images, labels = batch()
    for wrap, pick in ((lambda x: [x, x], None), (lambda x: None, None), (lambda x: {"a": x}, "b")):
        model = Network(wrap)
        attached(model, at="shape", pick=pick)
        with pytest.raises(ValueError, match="pick"):
            model(images)


def test_features_without_gradients() -> None:
    images, labels = batch()
    for model in (Network().requires_grad_(False), Network(reentrant=True)):
        model.head.requires_grad_()
        contrast = attached(model)
        with pytest.raises(ValueError, match=r"'neck' ran without gradients.*use_reentrant=False"):
            contrast(labels, model(images.clone().requires_grad_(model.reentrant is True)))


def test_two_passes_of_a_model_in_training_whose_tapped_part_is_frozen() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    model.neck.eval()
    model(images)
    logits = model(images)
    with pytest.raises(ValueError, match="'neck' ran twice before one loss"):
        contrast(labels, logits)


def test_a_pass_of_an_earlier_step_is_not_taken_for_a_validation_without_gradients() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    model(images)  # a step without contrast
    with torch.no_grad():
        logits = model.eval()(2 * images)
    with pytest.raises(ValueError, match="'neck' ran without gradients"):
        contrast(labels, logits)


def test_a_state_that_lacks_the_projection_of_the_calls_it_counts() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    contrast.load_state_dict({"_extra_state": torch.tensor(3)}, strict=False)
    with pytest.raises(ValueError, match=r"3 calls in training were loaded, but not the projection.*in_channels="):
        contrast(labels, model(images))


def test_replicas_of_data_parallel() -> None:
    model = Network()
    attached(model)
    model.neck._is_replica = True  # as nn.DataParallel marks them
    with pytest.raises(ValueError, match="DistributedDataParallel"):
        model(batch()[0])


def test_options_that_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match=r"in_channels describes one module"):
        attached(Network(), at=["stem", "neck"], in_channels=12)
    with pytest.raises(ValueError, match="at must name at least one module"):
        attached(Network(), at=[])
    with pytest.raises((ValueError, TypeCheckError), match="layout"):
        Tap(module="neck", layout="nhwc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight must be finite and not negative"):
        Tap(module="neck", weight=-1)
    with pytest.raises((ValueError, TypeCheckError), match="memory"):
        attached(Network(), at=Tap(module="neck", memory={"dtype": "bfloat16"}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="temperature must be positive"):
        attached(Network(), temperature=0.0)
    with pytest.raises(ValueError, match="in_batch_keys=False without a memory leaves no keys"):
        attached(Network(), in_batch_keys=False, memory=MemoryOptions(pixels_per_class=0, regions_per_class=0))
    with pytest.raises(ValueError, match="ignore_index must be no class"):
        attached(Network(), num_classes=1, ignore_index=0)


def test_channels_that_are_not_as_stated() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model, in_channels=64)
    with pytest.raises(ValueError, match=r"in_channels"):
        contrast(labels, model(images))


def test_logits_in_the_place_of_labels() -> None:
    """torch's losses take logits first."""
    model, (images, labels) = Network(), batch()
    contrast = attached(model)
    with pytest.raises((ValueError, TypeCheckError), match="labels come before logits, got labels of torch.float32"):
        contrast(model(images), labels)
    criterion = inspect.unwrap(PixelContrast.forward)  # run-time type checks would be first
    with pytest.raises(ValueError, match="labels come before logits"):
        criterion(PixelContrast(12, CLASSES), torch.zeros(2, 12, 4, 6), model(images), labels)


def test_binary_labels_given_to_a_criterion_of_one_class() -> None:
    with pytest.raises(ValueError, match="or num_classes=2 and logits of two channels"):
        PixelContrast(12, 1)(torch.randn(2, 12, 4, 6), torch.ones(2, 4, 6, dtype=torch.int64), torch.randn(2, 1, 4, 6))


def test_a_class_that_has_the_ignored_id() -> None:
    with pytest.warns(UserWarning, match="class 255 is never used, for ignore_index is 255"):
        PixelContrast(4, 256)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PixelContrast(4, 255)
        PixelContrast(4, 256, ignore_index=-1)
        PixelContrast(4, 256, ignore_index=0)


def test_masks_whose_foreground_would_be_ignored() -> None:
    model, (images, labels) = Network(), batch()
    contrast = attached(model, num_classes=2)
    with pytest.warns(UserWarning, match=r"hold 0 and ignore_index=255, but no 1.*pass \(labels > 0\)"):
        contrast((labels > 1).long() * 255, model(images)[:, :2])
    contrast((labels > 1).long() * 255, model(images)[:, :2])  # told once
