"""What a desk answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from pixelcontrast.explore.choices import Choice
from pixelcontrast.explore.layers import Heat, Range

View = Literal["prediction", "similarity", "label", "errors", "entropy", "memory", "index"]
Pixel = tuple[int, int]  # row and column


@dataclass(frozen=True)
class Layer:
    """What lies over the image.

    Attributes:
        uri: The picture; empty where there is nothing to show.
        note: Why there is nothing.
        scale: The ends of its heat; None for classes.
        heat: Its colours.
    """

    uri: str = ""
    note: str = ""
    scale: Range | None = None
    heat: Heat = "viridis"


@dataclass(frozen=True)
class Reading:
    """What the network says of one pixel.

    Attributes:
        pixel: Row and column.
        probabilities: By class id.
        entropy: Of them, 0 to 1.
        label: Class id; None where the pixel has none.
    """

    pixel: Pixel
    probabilities: Float[Tensor, " k"]
    entropy: float
    label: int | None


@dataclass(frozen=True)
class Kin:
    """A pixel or region of the training split that is like the one that was asked about.

    Attributes:
        crop: The picture it comes from.
        image: Name of its image.
        label: Class id.
        prediction: What the network gives the pixel; None for a region.
        agreement: Share of the region that the network gives its class; None for a pixel.
        similarity: Cosine.
    """

    crop: str
    image: str
    label: int
    prediction: int | None
    agreement: float | None
    similarity: float


@dataclass(frozen=True)
class Elsewhere:
    """Another image under the same question.

    Attributes:
        choice: The image.
        photo: The picture.
        layer: Heat over it; empty before a pixel is chosen.
        best: Highest cosine in it.
    """

    choice: Choice
    photo: str
    layer: str
    best: float | None
