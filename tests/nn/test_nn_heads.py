"""Laws of single heads: sizes that the papers and torchvision state, and logits equal to torchvision's."""

import pytest
import torch
import torchvision

from pixelcontrast.nn.costs import model_cost
from pixelcontrast.nn.heads import FCN, OCR, DeepLabV3
from pixelcontrast.nn.heads.deeplabv3 import ImageMean, dilations_at
from pixelcontrast.nn.heads.enlarging import enlarge
from pixelcontrast.nn.heads.ocr import ObjectAttention, gather_regions
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor


def parameters(model: ModelOptions, num_classes: int) -> int:
    return model_cost(model, num_classes, image_size=(64, 64)).parameters


def test_hrnetv2_w48_has_the_parameters_its_authors_state() -> None:
    """65.8 M: github.com/HRNet/HRNet-Semantic-Segmentation, Cityscapes table, 19 classes."""
    assert parameters(ModelOptions(backbone="hrnet_w48"), 19) == pytest.approx(65.8e6, rel=0.01)


def test_ocr_has_the_parameters_its_authors_state() -> None:
    """70.3 M: the same table, HRNetV2-W48 + OCR."""
    assert parameters(ModelOptions(backbone="hrnet_w48", head=OCR()), 19) == pytest.approx(70.3e6, rel=0.01)


def test_deeplabv3_has_exactly_torchvisions_parameters() -> None:
    """60,996,202: `DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1.meta["num_params"]`."""
    stated = torchvision.models.segmentation.DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1.meta["num_params"]
    model = ModelOptions(backbone="resnet101", head=DeepLabV3(), output_stride=8, auxiliary=True)
    assert parameters(model, 21) == stated == 60_996_202


def torchvision_names(ours: Segmentor) -> dict[str, str]:
    """Torchvision's name of each of our tensors."""
    renamed = (
        ("backbone.network.", "backbone."),
        ("auxiliary_head.classifier.", "aux_classifier."),
        ("head.aspp.branches.", "classifier.0.convs."),
        ("head.aspp.pooling.conv.", "classifier.0.convs.4.1."),
        ("head.aspp.pooling.norm.", "classifier.0.convs.4.2."),
        ("head.aspp.project.", "classifier.0.project."),
        ("head.classifier.", "classifier." if isinstance(ours.options.head, FCN) else "head.classifier."),
        # Behind ASPP: 3x3 convolution, norm, ReLU, 1x1 convolution.
        ("head.classifier.0.", "classifier.1."),
        ("head.classifier.1.", "classifier.2."),
        ("head.classifier.3.", "classifier.4."),
    )
    names = {}
    for name in ours.state_dict():
        new = name
        for old, theirs in renamed:
            new = theirs + new.removeprefix(old) if new.startswith(old) else new
        names[name] = new
    return names


def calibrate(network: torch.nn.Module, image: torch.Tensor) -> None:
    """Let batch norms take their statistics from `image`: with those of a new network, logits grow with its depth."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(image)


@pytest.mark.parametrize("depth", ["resnet50", "resnet101"])
@pytest.mark.parametrize("head", [DeepLabV3(), FCN()], ids=lambda head: head.name)
def test_equal_weights_give_torchvisions_logits(depth: str, head: DeepLabV3 | FCN) -> None:
    build = getattr(torchvision.models.segmentation, f"{head.name}_{depth}")
    theirs = build(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    image = torch.randn(2, 3, 72, 104)
    calibrate(theirs, image)
    ours = Segmentor(ModelOptions(backbone=depth, head=head, output_stride=8, auxiliary=True), 21)
    source = theirs.state_dict()
    ours.load_state_dict({name: source[other] for name, other in torchvision_names(ours).items()})
    assert len(source) == len(ours.state_dict())
    size = image.shape[-2:]
    with torch.no_grad():
        expected = theirs.eval()(image)["out"]
        found = torch.nn.functional.interpolate(ours.eval()(image).logits, size=size, mode="bilinear")
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_dilations_reach_equally_far_at_any_stride() -> None:
    assert dilations_at(8, (12, 24, 36)) == (12, 24, 36)
    assert dilations_at(16, (12, 24, 36)) == (6, 12, 18)


def test_one_image_is_normalised_by_the_running_statistics() -> None:
    pooling = ImageMean(6, 4)
    pooling(torch.randn(8, 6, 3, 3))
    image = torch.randn(1, 6, 3, 3)
    before = {name: value.clone() for name, value in pooling.state_dict().items()}
    torch.testing.assert_close(pooling(image), pooling.eval()(image))
    assert all(torch.equal(before[name], value) for name, value in pooling.state_dict().items())


def test_an_enlarged_map_does_not_shift_where_it_is_cut() -> None:
    coarse = torch.randn(1, 2, 1, 8)
    whole = enlarge(coarse, 8, (8, 64))
    cut = enlarge(coarse[..., :5], 8, (8, 36))
    # The last half cell looks at its right neighbour, which only the whole map has.
    torch.testing.assert_close(cut[..., :36], whole[..., :36])


def test_sure_regions_are_gathered_as_class_means() -> None:
    pixels = torch.randn(2, 5, 4, 4)
    regions = torch.randint(0, 3, (2, 4, 4))
    logits = 100.0 * torch.nn.functional.one_hot(regions, 3).permute(0, 3, 1, 2).float()
    found = gather_regions(pixels, logits)
    for image in range(2):
        for kind in range(3):
            mean = pixels[image, :, regions[image] == kind].mean(1)
            torch.testing.assert_close(found[image, :, kind, 0], mean)


def test_the_order_of_regions_does_not_matter_to_a_pixel() -> None:
    attention = ObjectAttention(6, 4).eval()
    pixels, regions = torch.randn(1, 6, 3, 3), torch.randn(1, 6, 5, 1)
    torch.testing.assert_close(attention(pixels, regions), attention(pixels, regions[:, :, torch.randperm(5)]))


def test_both_ways_to_fuse_share_their_weights() -> None:
    nearest, bilinear = (Segmentor(ModelOptions(hrnet_fuse=each), 3).eval() for each in ("nearest", "bilinear"))
    bilinear.load_state_dict(nearest.state_dict())
    image = torch.randn(1, 3, 64, 64)
    first, second = nearest(image).logits, bilinear(image).logits
    assert not torch.allclose(first, second)
    assert first.shape == second.shape


def test_only_hrnet_has_a_fuse_layer() -> None:
    with pytest.raises(ValueError, match="hrnet_fuse must be nearest for backbone 'resnet18'"):
        ModelOptions(backbone="resnet18", hrnet_fuse="bilinear")


def test_arithmetic_grows_with_the_image() -> None:
    model = ModelOptions(backbone="test_resnet", head=FCN())
    small, large = (model_cost(model, 5, image_size=size).flops for size in ((64, 64), (128, 128)))
    assert large == 4 * small
