"""Laws of the backbones: names, families, pretrained weights."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from pixelcontrast.errors import RunError
from pixelcontrast.nn.backbone import Backbone
from pixelcontrast.nn.options import ModelOptions


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        ModelOptions(backbone="resnt18")


def test_a_name_may_carry_the_tag_of_its_weights() -> None:
    assert ModelOptions(backbone="resnet18.a1_in1k").backbone == "resnet18.a1_in1k"


def test_a_model_without_feature_maps_says_why() -> None:
    with pytest.raises(ValueError, match="cannot give feature maps.*doesn't match model"):
        Backbone("gmlp_s16_224")


def test_a_model_that_cannot_be_dilated_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="leave output_stride at null"):
        Backbone("hrnet_w18_small", output_stride=8)


def test_output_stride_keeps_the_last_maps_large() -> None:
    assert Backbone("test_resnet", output_stride=8).shapes.strides == (4, 8, 8, 8)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit", "test_mambaout", "test_efficientnet"])
def test_maps_have_the_stated_channels_and_strides(name: str) -> None:
    backbone = Backbone(name)
    size = 2 * backbone.pad_multiple
    for each, channels, stride in zip(
        backbone(torch.randn(2, 3, size, size)), backbone.shapes.channels, backbone.shapes.strides, strict=True
    ):
        assert each.shape == (2, channels, size // stride, size // stride)


def test_the_probe_leaves_no_trace() -> None:
    torch.manual_seed(1)
    backbone = Backbone("test_resnet")
    after = torch.rand(1)
    torch.manual_seed(1)
    plain = timm.create_model("test_resnet", features_only=True)
    assert torch.equal(after, torch.rand(1))
    assert all(module.training for module in backbone.modules())
    for ours, theirs in zip(backbone.network.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_local_weights_are_taken(tmp_path: Path, suffix: str, name: str) -> None:
    classifier = timm.create_model(name)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in classifier.state_dict().items()}, "epoch": 3}, path)
    else:
        save_file(classifier.state_dict(), path)
    image = torch.randn(1, 3, 64, 64)
    backbone = Backbone(name, pretrained=str(path)).eval()
    expected = classifier.eval().forward_intermediates(image, intermediates_only=True)[-1]
    torch.testing.assert_close(backbone(image)[-1], expected)


def test_weights_of_another_model_are_not_taken_in_silence(tmp_path: Path) -> None:
    save_file(timm.create_model("test_convnext").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(RunError, match="only 0 of its|cannot be used"):
        Backbone("test_resnet", pretrained=str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("test_resnet", lambda key: "conv" in key),
        ("test_resnet", lambda key: "running_" not in key),
        ("test_convnext", lambda key: "conv" in key or "stem" in key),
    ],
)
def test_a_part_of_the_weights_is_not_taken_for_the_whole(
    tmp_path: Path, name: str, keep: Callable[[str], bool]
) -> None:
    state = timm.create_model(name).state_dict()
    for key in state:  # fresh ones are all ones and zeros, which every network has
        state[key] = torch.rand_like(state[key]) if state[key].is_floating_point() else state[key]
    save_file({key: value for key, value in state.items() if keep(key)}, tmp_path / "part.safetensors")
    with pytest.raises(RunError, match="expected weights of the whole backbone"):
        Backbone(name, pretrained=str(tmp_path / "part.safetensors"))


def test_the_backbone_of_a_training_s_checkpoint_is_taken(tmp_path: Path) -> None:
    trained = Backbone("test_resnet")
    state = {f"segmentor.backbone.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "step.ckpt")
    taken = Backbone("test_resnet", pretrained=str(tmp_path / "step.ckpt"))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(taken.parameters(), trained.parameters(), strict=True))


def test_no_code_is_run_from_a_file(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('code was run')",)

    path = tmp_path / "trap.pth"
    with path.open("wb") as file:
        pickle.dump(Trap(), file)
    with pytest.raises(RunError, match="expected tensors and plain values"):
        Backbone("test_resnet", pretrained=str(path))


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="found none: .*nowhere.pth"):
        Backbone("test_resnet", pretrained=str(tmp_path / "nowhere.pth"))


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    with pytest.raises(RunError, match="cannot be had: no network.*set model.pretrained to a local"):
        Backbone("test_resnet", pretrained=True)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "mobilenetv3_small_050"])
def test_checkpointed_gradients_are_the_same(name: str) -> None:
    image, gradients = torch.randn(2, 3, 64, 64), []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        backbone = Backbone(name)
        if checkpointed:
            backbone.checkpoint_gradients()
        backbone(image)[-1].square().mean().backward()
        gradients.append([parameter.grad for parameter in backbone.parameters()])
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_backbone_that_cannot_checkpoint_says_so() -> None:
    with pytest.raises(ValueError, match="gradient_checkpointing must be false for backbone 'hrnet_w18_small'"):
        Backbone("hrnet_w18_small").checkpoint_gradients()
