"""The projection head: from the features of a pixel to its embedding (Wang et al., ICCV 2021, section 3.2).

It exists in training only; the deployed network does not contain it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pixelcontrast.ops.regions import unit_length


class ProjectionHead(nn.Module):
    """Two 1x1 convolutions with a ReLU between, then L2 normalisation.

    The weights are those of linear layers, so that one head serves maps of any number of dimensions and loose rows:
    without batch statistics a pixel's embedding is the same either way.

    Args:
        in_channels: Of the features.
        embedding_dim: Of the embedding.
        norm: "none", or "batch" for a batch normalisation between the first convolution and the ReLU. It mixes pixels,
            so that rows and maps no longer agree: use it with dense projection only.
    """

    def __init__(self, in_channels: int, embedding_dim: int = 256, *, norm: Literal["none", "batch"] = "none") -> None:
        super().__init__()
        self.hidden = nn.Linear(in_channels, in_channels)
        self.norm = nn.BatchNorm1d(in_channels) if norm == "batch" else None
        self.out = nn.Linear(in_channels, embedding_dim)
        for layer in (self.hidden, self.out):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """Embed every pixel of a map (or every row of [n c]) as a vector of unit length in float32 or better.

        Raises:
            ValueError: If the features have another number of channels than the head was made for.
        """
        return unit_length(self.project(features))

    def project(self, features: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """As `forward`, without the normalisation, which costs less where few of the pixels are used."""
        if features.shape[1] != self.hidden.in_features:
            raise ValueError(
                f"features must have {self.hidden.in_features} channels in dimension 1, got {list(features.shape)};"
                " pass in_channels to match"
            )
        # autocast leaves float64 as it is
        if features.dtype == torch.float64 or not torch.is_autocast_enabled(features.device.type):
            features = features.to(self.hidden.weight.dtype)
        hidden = _pixelwise(self.hidden, features)
        if self.norm is not None:
            hidden = self.norm(hidden if hidden.ndim == 2 else hidden.flatten(2)).reshape(hidden.shape)
        return _pixelwise(self.out, F.relu(hidden))


def _pixelwise(layer: nn.Linear, features: Tensor) -> Tensor:
    """Apply a linear layer to dimension 1 of rows, or of a map with one to three spatial dimensions."""
    spatial = features.ndim - 2
    if spatial == 0:
        return F.linear(features, layer.weight, layer.bias)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    return convolution(features, layer.weight.reshape(*layer.weight.shape, *[1] * spatial), layer.bias)
