"""Backbones: any timm model that gives feature maps, behind one small interface.

Source of the models: github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.errors import RunError, did_you_mean
from pixelcontrast.files import expanded
from pixelcontrast.nn.heads.interface import MapShapes
from pixelcontrast.nn.weights import read_checkpoint

# Maps of a lower stride (timm counts the stem's) are as large as the image and hold no more than edges.
SMALLEST_STRIDE = 4


class Backbone(nn.Module):
    """A timm model that returns its feature maps, high resolution first, channels before height and width.

    Args:
        name: Of the model.
        pretrained: timm's weights, those of a file, or none.
        output_stride: Of the last map, where the model can be dilated.
        in_channels: Bands of its images. Weights of the first convolution were trained on three; timm repeats them.

    Attributes:
        shapes: Channels and strides of the maps.
        pad_multiple: Both sides of an image must be multiples of it; `Segmentor` pads.
        mean: Of the images its weights were trained with, per channel, on a scale of 0 to 1.
        std: The same for the standard deviation.
    """

    def __init__(
        self, name: str, *, pretrained: bool | str = False, output_stride: int | None = None, in_channels: int = 3
    ) -> None:
        super().__init__()
        check_backbone_name(name)
        self._name, self.in_channels = name, in_channels
        self.network = _create(name, pretrained=pretrained, output_stride=output_stride, in_channels=in_channels)
        maps: Any = self.network.feature_info  # timm is not typed
        channels, strides = maps.channels(), maps.reduction()
        self._taken = tuple(i for i, stride in enumerate(strides) if stride >= SMALLEST_STRIDE)
        self._channels_last = str(getattr(self.network, "output_fmt", "")).endswith("NHWC")
        self.shapes = MapShapes(
            tuple(channels[i] for i in self._taken), tuple(strides[i] for i in self._taken), is_hrnet(name)
        )
        self.pad_multiple = max(strides)
        self.mean, self.std = _normalisation(self.network)
        self._probe(name)

    def forward(self, image: Float[Tensor, "b bands H W"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        """Return the maps of an image whose sides are multiples of `pad_multiple`."""
        maps = self.network(image)
        taken = tuple(maps[i] for i in self._taken)
        return tuple(each.permute(0, 3, 1, 2) for each in taken) if self._channels_last else taken

    def fuse_bilinearly(self) -> None:
        """Let HRNet's fuse layers enlarge maps bilinearly with aligned corners, as arXiv:1904.04514 does."""
        for module in self.network.modules():
            if isinstance(module, nn.Upsample):
                module.mode, module.align_corners = "bilinear", True

    def checkpoint_gradients(self) -> None:
        """Let the network keep few of its inner maps, and compute the others again in the backward pass.

        Raises:
            ValueError: If timm's model cannot.
        """
        inner = getattr(self.network, "model", self.network)  # timm wraps some models, and offers it on the inner one
        owner: Any = self.network if hasattr(self.network, "set_grad_checkpointing") else inner
        try:
            owner.set_grad_checkpointing(True)
        except (AttributeError, AssertionError, NotImplementedError) as error:
            raise ValueError(
                f"gradient_checkpointing must be false for backbone '{self._name}', whose timm model has none; "
                "ResNets, ConvNeXts and Swins have it"
            ) from error

    @torch.no_grad()
    def _probe(self, name: str) -> None:
        """Run a small image through it: some models accept one size only, or state strides they do not have."""
        height, width = 2 * self.pad_multiple, 3 * self.pad_multiple
        training = self.training
        try:
            maps = self.eval()(torch.zeros(1, self.in_channels, height, width))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise _unusable(name, f"it does not take an image of {height}x{width} pixels ({error})") from error
        finally:
            self.train(training)
        found = [tuple(each.shape[1:]) for each in maps]
        stated = zip(self.shapes.channels, self.shapes.strides, strict=True)
        if found != [(channel, height // stride, width // stride) for channel, stride in stated]:
            raise _unusable(name, f"for an image of {height}x{width} pixels its maps have the shapes {found}")


def check_backbone_name(name: str) -> None:
    """Raise ValueError, with the nearest name, unless timm knows the model `name` (a `.tag` of weights may follow)."""
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise ValueError(
            f"backbone must be the name of a timm model, got '{name}'."
            f"{did_you_mean(architecture, timm.list_models())} All of them: timm.list_models()"
        )


def is_hrnet(name: str) -> bool:
    """Whether a backbone has parallel branches and fuse layers."""
    return name.startswith("hrnet")


def _create(name: str, *, pretrained: bool | str, output_stride: int | None, in_channels: int) -> nn.Module:
    options: dict[str, object] = {} if output_stride is None else {"output_stride": output_stride}
    if in_channels != 3:
        options["in_chans"] = in_channels
    if is_hrnet(name):
        options["feature_location"] = ""  # the raw branches, without the classifier's wider ones
    weights = _backbone_weights(expanded(pretrained)) if isinstance(pretrained, str) else {}
    if weights:
        options["pretrained_cfg_overlay"] = {"state_dict": dict(weights), "custom_load": False}
    # Transformers of a fixed image size have one of these to lift it; a model without the word refuses with TypeError.
    attempts: tuple[dict[str, object], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})
    config = timm.models.get_pretrained_cfg(name, allow_unregistered=True)
    if config is None or not config.fixed_input_size:
        attempts = ({},)
    refusal: Exception | None = None
    for attempt in attempts:
        try:
            network = _load(name, pretrained=bool(pretrained), options=options | attempt)
        except (TypeError, AssertionError, NotImplementedError) as error:
            refusal = error
            continue
        if weights:
            adapted = int(in_channels != 3)  # the first convolution is another than the file's
            _check_taken(network, weights, source=f"'{pretrained}' for backbone '{name}'", adapted=adapted)
        return network
    reason = f"timm's model refuses: {str(refusal or '') or 'it gives no reason'}"
    if output_stride is not None:
        reason = f"with output_stride {output_stride}, {reason}; leave output_stride at null or take a ResNet"
    raise _unusable(name, reason) from refusal


def _load(name: str, *, pretrained: bool, options: dict[str, object]) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(name, features_only=True, pretrained=pretrained, **options)
    except RuntimeError as error:
        if not pretrained:
            raise _unusable(name, str(error)) from error
        raise RunError(f"the weights of backbone '{name}' cannot be used: {error}. {_ADVICE}") from error
    except OSError as error:
        raise RunError(f"the weights of backbone '{name}' cannot be had: {error} {_ADVICE}") from error
    return network


_ADVICE = (
    "Connect to the network once so that timm can fetch them, or set model.pretrained to a local safetensors or pth "
    "file of this backbone's weights, or to false to start from random weights."
)


def _backbone_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a local file, without the prefixes that trainers put before a backbone's names."""
    state = read_checkpoint(path)
    for prefix in ("module.", "segmentor.", "backbone.network.", "backbone."):
        inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        state = inner or state
    return state


def _check_taken(network: nn.Module, weights: dict[str, Tensor], *, source: str, adapted: int) -> None:
    """Raise RunError unless the network's weights are those of the file: timm skips names it does not know silently.

    Names say nothing, for timm has its own. Of all tensors a quarter may be others: those that timm makes fit an image
    size, such as embeddings of positions.
    """
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for tensor in weights.values():
        by_shape.setdefault(tuple(tensor.shape), []).append(tensor)
    statistics = ("running_mean", "running_var")
    state = {k: v.cpu() for k, v in network.state_dict().items() if v.is_floating_point()}
    taken = {k for k, v in state.items() if any(torch.equal(v, each) for each in by_shape.get(tuple(v.shape), ()))}
    kernels = {key for key, tensor in state.items() if tensor.ndim == 4}
    measured = {key for key in state if key.endswith(statistics)}
    for what, wanted, most in (
        ("convolutions", kernels, adapted),
        ("statistics of batch normalisation", measured, 0),
        ("tensors", state.keys(), len(state) // 4),
    ):
        if len(wanted - taken) > most:
            raise RunError(
                f"expected weights of the whole backbone in {source}, but only {len(wanted & taken)} of its "
                f"{len(wanted)} {what} are there; the file's first names: {sorted(weights)[:3]}"
            )


def _normalisation(network: nn.Module) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    config: Any = network.pretrained_cfg  # timm is not typed
    return tuple(config["mean"]), tuple(config["std"])


def _unusable(name: str, reason: str) -> ValueError:
    return ValueError(
        f"backbone '{name}' cannot give feature maps for segmentation: {reason}. "
        "Backbones that can: hrnet_w18_small, hrnet_w48, resnet50, resnet101d, convnext_tiny, "
        "swin_tiny_patch4_window7_224, mobilenetv3_large_100"
    )
