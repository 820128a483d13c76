"""The vocabulary that every layer shares: what flows between the parts, with shapes. Read this first.

Axes: b batch, k class, d embedding, c channel, h w embedding grid, H W image, n anchor, m key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True)
class BandStatistics:
    """Mean and standard deviation of each band of images that are not RGB of 8 bits, which they are normalised with.

    Attributes:
        mean: One a band: on a scale of 0 to 1 for files of 8 bits, in the units of the files for all others.
        std: The same.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(f"std: expected one number a band, as mean has: {len(self.mean)}, got {len(self.std)}")
        if min(self.std) <= 0:
            raise ValueError(f"std: expected positive numbers, got {self.std}")


@dataclass(frozen=True)
class Sample:
    """One image and its labels as they come from a data set, before any transform.

    Attributes:
        image: RGB, 0 to 255; or bands, uint8 or float32, in the units of their file.
        labels: Class id of each pixel, `ignore_index` (255) where it has none. None where a split has no labels.
        name: Which image this is, for messages and file names; unique within its split.
    """

    image: UInt8[Tensor, "c H W"] | Float[Tensor, "c H W"]
    labels: UInt8[Tensor, "H W"] | None
    name: str


@dataclass(frozen=True)
class Batch:
    """What a network is trained on.

    Attributes:
        image: Normalised by the mean and standard deviation of the backbone's weights.
        labels: Class ids, 255 where a pixel has none.
        names: Of the images, for messages.
        unreadable: What was amiss with the images that others stand in for.
    """

    image: Float[Tensor, "b c H W"]
    labels: Int[Tensor, "b H W"]
    names: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    def pin_memory(self) -> Batch:
        """Copy to page-locked memory, from which a GPU is fed without waiting; torch's loader calls it."""
        return replace(self, image=self.image.pin_memory(), labels=self.labels.pin_memory())


@dataclass(frozen=True)
class SegmentationOutput:
    """What a `Segmentor` returns.

    Attributes:
        logits: At the head's stride; resize them to the image before the argmax.
        auxiliary_logits: Of the auxiliary head, in training only.
        features: The map that pixel contrast attaches to.
        maps: All of the backbone's, high resolution first, for contrast at several scales.
    """

    logits: Float[Tensor, "b k h w"]
    auxiliary_logits: Float[Tensor, "b k h2 w2"] | None
    features: Float[Tensor, "b c h3 w3"]
    maps: tuple[Float[Tensor, "b _ _ _"], ...] = ()


@dataclass(frozen=True)
class PixelSet:
    """Labelled embeddings: the keys of a memory, or the region means of a batch.

    Attributes:
        embeddings: One row a key, of unit L2 norm where its label is not negative.
        labels: Class ids; negative for a row that is not there, so that shapes stay static.
    """

    embeddings: Float[Tensor, "m d"]
    labels: Int[Tensor, " m"]
