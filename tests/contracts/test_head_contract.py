"""What every head of the union must do, so that a new one cannot be left out."""

from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from pixelcontrast.errors import RunError
from pixelcontrast.export import export_model
from pixelcontrast.nn.heads import Head, HRNetHead
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.resize import resize_logits
from pixelcontrast.types import SegmentationOutput

HEADS = get_args(Head)
NUM_CLASSES = 3


@pytest.fixture(params=HEADS, ids=lambda head: head().name)
def options(request: pytest.FixtureRequest) -> ModelOptions:
    return ModelOptions(backbone="test_resnet", head=request.param(), auxiliary=True)


@pytest.fixture
def segmentor(options: ModelOptions) -> Segmentor:
    return Segmentor(options, NUM_CLASSES)


def test_every_head_has_a_name_of_its_own() -> None:
    assert len({head().name for head in HEADS}) == len(HEADS)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 97), (50, 31)])
def test_any_size_is_taken_and_the_maps_cover_it(segmentor: Segmentor, height: int, width: int) -> None:
    output = segmentor(torch.randn(2, 3, height, width))
    for each in (output.logits, output.auxiliary_logits, output.features):
        assert each is not None
        assert each.shape[-2:] in [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32)]
    assert output.logits.shape[:2] == (2, NUM_CLASSES)
    assert output.features.shape[1] == segmentor.feature_channels


def test_a_batch_of_one_small_image_trains(segmentor: Segmentor) -> None:
    output = segmentor(torch.randn(1, 3, 64, 64))
    assert output.logits.isfinite().all()


def test_every_parameter_gets_a_gradient(segmentor: Segmentor) -> None:
    output = segmentor(torch.randn(2, 3, 64, 96))
    assert output.auxiliary_logits is not None
    (output.logits.square().mean() + output.auxiliary_logits.square().mean()).backward()
    without = [name for name, parameter in segmentor.named_parameters() if parameter.grad is None]
    assert without == []


def test_the_features_are_what_the_logits_are_made_of(segmentor: Segmentor) -> None:
    output = segmentor(torch.randn(2, 3, 64, 96))
    (gradient,) = torch.autograd.grad(output.logits.square().sum(), output.features)
    assert gradient.abs().sum() > 0


def test_no_auxiliary_logits_in_eval(segmentor: Segmentor) -> None:
    assert segmentor.eval()(torch.randn(1, 3, 64, 64)).auxiliary_logits is None


def test_what_lies_in_the_padding_has_no_logit(segmentor: Segmentor) -> None:
    stride = 64 // segmentor.eval()(torch.randn(1, 3, 64, 64)).logits.shape[-1]
    height = segmentor.backbone.pad_multiple - stride + 1  # one pixel of the last logit row lies in the image
    assert segmentor(torch.randn(1, 3, height, 64)).logits.shape[2] == segmentor.backbone.pad_multiple // stride


def test_an_equal_state_dict_gives_equal_logits(options: ModelOptions, segmentor: Segmentor) -> None:
    other = Segmentor(options, NUM_CLASSES)
    other.load_state_dict(segmentor.state_dict())
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(other.eval()(image).logits, segmentor.eval()(image).logits, rtol=0, atol=0)


def test_a_saved_network_comes_back_the_same(segmentor: Segmentor, tmp_path: Path) -> None:
    segmentor.save_pretrained(tmp_path)
    loaded = Segmentor.from_pretrained(tmp_path)
    assert loaded.options == segmentor.options
    image = torch.randn(1, 3, 40, 64)
    torch.testing.assert_close(loaded(image).logits, segmentor.eval()(image).logits, rtol=0, atol=0)


def test_it_overfits_two_images(options: ModelOptions) -> None:
    overfit(Segmentor(options, NUM_CLASSES))


def overfit(segmentor: Segmentor, *, steps: int = 20, lr: float = 3e-3) -> None:
    image = torch.randn(2, 3, 64, 64)
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[0, :, 32:], labels[1, 32:] = 1, 2
    optimizer = torch.optim.AdamW(segmentor.parameters(), lr=lr)

    def loss(output: SegmentationOutput) -> torch.Tensor:
        return F.cross_entropy(resize_logits(output.logits, (64, 64)), labels)

    first = loss(segmentor(image)).item()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(segmentor(image)).backward()
        optimizer.step()
    assert loss(segmentor(image)).item() < 0.5 * first


def test_channels_last_gives_the_same_logits(segmentor: Segmentor) -> None:
    image = torch.randn(2, 3, 64, 64)
    expected = segmentor.eval()(image).logits
    segmentor.to(memory_format=torch.channels_last)
    found = segmentor(image.contiguous(memory_format=torch.channels_last)).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_map_of_the_backbone_can_be_chosen_for_contrast() -> None:
    for chosen, stride in ((0, 4), (-1, 32)):
        segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=HRNetHead(), contrast_map=chosen), NUM_CLASSES)
        features = segmentor(torch.randn(2, 3, 64, 64)).features
        assert features.shape == (2, segmentor.feature_channels, 64 // stride, 64 // stride)


@pytest.mark.compiled
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head().name)
def test_it_compiles_into_one_graph(head: type) -> None:
    segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=head(), auxiliary=True), NUM_CLASSES)
    torch.compiler.reset()  # every head is another recompilation of one forward, and their number is limited
    compiled = torch.compile(segmentor, fullgraph=True, backend="eager")
    image = torch.randn(2, 3, 45, 64)
    segmentor.train()
    assert compiled(image).auxiliary_logits is not None
    segmentor.eval()
    torch.testing.assert_close(compiled(image).logits, segmentor(image).logits)


# One small member of each family; a deep stem has three 3x3 convolutions in place of one 7x7.
FAMILIES = ["resnet18", "resnet18d", "hrnet_w18_small", "test_convnext", "mobilenetv3_small_050"]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head().name)
@pytest.mark.parametrize("backbone", [*FAMILIES, pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)])
def test_each_family_of_backbones_carries_each_head(backbone: str, head: type) -> None:
    segmentor = Segmentor(ModelOptions(backbone=backbone, head=head(), auxiliary=True), NUM_CLASSES)
    output = segmentor(torch.randn(2, 3, 45, 70))
    assert output.auxiliary_logits is not None
    assert output.logits.isfinite().all()
    (output.logits.square().mean() + output.auxiliary_logits.square().mean()).backward()
    used = {name for name, parameter in segmentor.named_parameters() if parameter.grad is not None}
    assert used == {name for name, _ in segmentor.named_parameters()}
    assert segmentor.eval()(torch.randn(1, 3, 32, 32)).auxiliary_logits is None
    for stride, module in ((8, "resnet18"), (16, "resnet18d")):
        if backbone == module:
            dilated = Segmentor(ModelOptions(backbone=backbone, head=head(), output_stride=stride), NUM_CLASSES)
            assert dilated.backbone.shapes.strides[-1] == stride
            assert dilated(torch.randn(2, 3, 45, 70)).logits.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head().name)
@pytest.mark.parametrize("backbone", [*FAMILIES, "swin_tiny_patch4_window7_224"])
def test_each_family_learns_with_each_head_and_comes_back_from_its_weights(backbone: str, head: type) -> None:
    options = ModelOptions(backbone=backbone, head=head(), auxiliary=True)
    segmentor = Segmentor(options, NUM_CLASSES)
    assert segmentor(torch.randn(1, 3, 64, 64)).logits.isfinite().all()
    if backbone.startswith("swin"):  # without convolutions it learns later, and at a smaller rate
        overfit(segmentor, steps=60, lr=5e-4)
    else:
        overfit(segmentor)
    other = Segmentor(options, NUM_CLASSES)
    other.load_state_dict(segmentor.state_dict())
    image = torch.randn(1, 3, 45, 70)
    torch.testing.assert_close(other.eval()(image).logits, segmentor.eval()(image).logits, rtol=0, atol=0)


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head().name)
@pytest.mark.parametrize("backbone", FAMILIES)
def test_each_convolutional_family_is_exported_with_each_head(backbone: str, head: type, tmp_path: Path) -> None:
    segmentor = Segmentor(ModelOptions(backbone=backbone, head=head()), NUM_CLASSES)
    report = export_model(segmentor, tmp_path / "model.pt2", format="torch_export")
    assert report.difference < 1e-4


@pytest.mark.compiled
def test_a_windowed_transformer_is_refused_as_a_graph_of_any_size(tmp_path: Path) -> None:
    segmentor = Segmentor(ModelOptions(backbone="swin_tiny_patch4_window7_224"), NUM_CLASSES)
    with pytest.raises(RunError, match="cannot be traced for images of any size.*export it as safetensors"):
        export_model(segmentor, tmp_path / "model.pt2", format="torch_export")
