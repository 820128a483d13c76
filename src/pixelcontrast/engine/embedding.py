"""A trained network as a source of embeddings: its tapped features, and their projection where a checkpoint has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pixelcontrast.contrast import ContrastOptions
from pixelcontrast.engine.checkpoints import newest_whole_checkpoint
from pixelcontrast.engine.choosing import evenly_spaced
from pixelcontrast.engine.run_folder import RunFolder
from pixelcontrast.nn.projection import ProjectionHead
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.nn.weights import load_plain, load_weights
from pixelcontrast.types import PixelSet

# Where a checkpoint's state keeps the projection and the memory.
_HEAD, _MEMORY = "contrast.head.", "contrast.memory."


@dataclass(frozen=True)
class Embedder:
    """A network that embeds pixels, in eval mode.

    Attributes:
        segmentor: The deployed network.
        projection: Of its contrast training; None where there was none, or no checkpoint is left.
    """

    segmentor: Segmentor
    projection: ProjectionHead | None

    def project(self, features: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """Embeddings of unit length of a map of features, or of rows [n c] of them; d is 0 without a projection."""
        return features[:, :0] if self.projection is None else self.projection(features)


def load_embedder(run_dir: Path, contrast: ContrastOptions | None, *, device: torch.device) -> Embedder:
    """Load a run's deployed network and, from its newest checkpoint, its projection.

    Args:
        run_dir: A run folder.
        contrast: The `contrast` section of its recipe.
        device: Where both go.

    Raises:
        RunError: If the run has no weights.
    """
    folder = RunFolder(run_dir)
    segmentor = Segmentor.from_pretrained(folder.require_weights()).to(device)
    projection = None if contrast is None else _load_projection(folder, contrast, segmentor.feature_channels)
    return Embedder(segmentor, None if projection is None else projection.to(device))


def load_memory(run_dir: Path, *, most: int) -> PixelSet | None:
    """The filled rows of the memory in a run's newest checkpoint, evenly spaced ones if they are more than `most`.

    They are projected embeddings; features where the run's contrast has no projection.

    Returns:
        In float32, class by class; None if there is no checkpoint, or nothing in its memory.

    Raises:
        RunError: If the checkpoint cannot be read.
    """
    checkpoint = newest_whole_checkpoint(RunFolder(run_dir).checkpoints)
    if checkpoint is None:
        return None
    state = load_plain(checkpoint, mapped=True)["state_dict"]
    if f"{_MEMORY}rows" not in state:
        return None
    labels = state[f"{_MEMORY}labels"]
    filled = (labels >= 0).nonzero()[:, 0]
    if len(filled) == 0:
        return None
    chosen = filled[evenly_spaced(len(filled), most=most)]
    return PixelSet(state[f"{_MEMORY}rows"][chosen].float(), labels[chosen])


def _load_projection(folder: RunFolder, contrast: ContrastOptions, channels: int) -> ProjectionHead | None:
    checkpoint = newest_whole_checkpoint(folder.checkpoints)
    if contrast.projection == "none" or checkpoint is None:
        return None
    # Mapped, not read: a checkpoint may hold gigabytes of memory and optimiser state.
    state = load_plain(checkpoint, mapped=True)["state_dict"]
    head = ProjectionHead(channels, contrast.embedding_dim, norm=contrast.projection_norm)
    own = {key.removeprefix(_HEAD): value for key, value in state.items() if key.startswith(_HEAD)}
    load_weights(head, own, source=str(checkpoint))
    return head.requires_grad_(False).eval()
