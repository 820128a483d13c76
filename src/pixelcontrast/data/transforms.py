"""Training transforms: random scale, crop, flip and colour of one sample, as a function of the sample and a generator.

The window is chosen in the source image and cut out before anything else is done to its pixels, so that a sample costs
what its crop costs. Colour is one 3x3 matrix: brightness, contrast and saturation as torchvision.transforms.v2
defines them, clamped once at the end instead of after each; hue is a rotation about the grey axis of RGB instead of
a shift of the HSV angle, which takes ten times as long as the rest together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as v2

from pixelcontrast.data.labels import IGNORE_INDEX
from pixelcontrast.ops.resize import nearest_exact

CROP_TRIES = 10
CLASS_STRIDE = 4  # class shares of a crop are estimated on every 4th pixel of every 4th row
MAX_BRIGHTNESS, MAX_CONTRAST, MAX_SATURATION = 0.25, 0.3, 0.4  # factors are drawn from 1 - x to 1 + x
MAX_HUE = 0.05  # of a full turn, to either side
LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision's rgb_to_grayscale

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class TrainingTransform:
    """What happens to a sample before it is part of a batch.

    Attributes:
        crop_size: Height and width of what comes out.
        scale: Range of the resize factor, drawn uniformly.
        flip: Probability of a left-right flip.
        photometric: Whether colours vary.
        max_class_share: Highest share of one class among the labelled pixels of a crop.
        mean: Of the backbone's training images, in 0..1.
        std: The same.
    """

    crop_size: tuple[int, int]
    scale: tuple[float, float]
    flip: float
    photometric: bool
    max_class_share: float
    mean: Triple
    std: Triple

    def __call__(
        self, image: UInt8[Tensor, "3 H W"], labels: UInt8[Tensor, "H W"], generator: Generator
    ) -> tuple[Float[Tensor, "3 h w"], Int[Tensor, "h w"]]:
        """Return crop and labels (int64) of `crop_size`; what lies outside the image is mean colour and ignored."""
        low, high = self.scale
        factor = low + (high - low) * _uniform(generator)
        top, left, height, width = self._window(labels, factor, generator)
        image = image[:, top : top + height, left : left + width]
        labels = labels[top : top + height, left : left + width]
        size = [min(side, max(1, round(old * factor))) for side, old in zip(self.crop_size, labels.shape, strict=True)]
        image = v2.resize(image, size, antialias=True)
        for axis, (old, new) in enumerate(zip(labels.shape, size, strict=True)):
            labels = labels.index_select(axis, nearest_exact(old, new))
        if _uniform(generator) < self.flip:
            image, labels = image.flip(-1), labels.flip(-1)
        matrix, offset = torch.eye(3), torch.zeros(3)
        if self.photometric:
            matrix, offset = color_distortion(image, generator)
        pixels = normalize(image, mean=self.mean, std=self.std, matrix=matrix, offset=offset)
        below, right = self.crop_size[0] - size[0], self.crop_size[1] - size[1]
        if below or right:
            pixels = F.pad(pixels, (0, right, 0, below))
            labels = F.pad(labels, (0, right, 0, below), value=IGNORE_INDEX)
        return pixels, labels.long()

    def _window(self, labels: UInt8[Tensor, "H W"], factor: float, generator: Generator) -> tuple[int, int, int, int]:
        """Choose top, left, height and width of the crop in source pixels; the last of 10 tries is taken as it is."""
        rows, columns = labels.shape
        height = min(rows, max(1, round(self.crop_size[0] / factor)))
        width = min(columns, max(1, round(self.crop_size[1] / factor)))
        top = left = 0
        for _ in range(CROP_TRIES):
            top = _below(rows - height + 1, generator)
            left = _below(columns - width + 1, generator)
            if self.max_class_share >= 1 or (height, width) == (rows, columns):
                break
            window = labels[top : top + height : CLASS_STRIDE, left : left + width : CLASS_STRIDE]
            if largest_share(window) <= self.max_class_share:
                break
        return top, left, height, width


def largest_share(labels: UInt8[Tensor, "h w"]) -> float:
    """Share of the most frequent class among the labelled pixels; 1.0 if there is none."""
    counts = torch.bincount(labels.flatten(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    total = int(counts.sum())
    return int(counts.max()) / total if total else 1.0


def color_distortion(
    image: UInt8[Tensor, "3 h w"], generator: Generator
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    """Draw a change of brightness, contrast, saturation and hue: colour c (0..255) becomes matrix @ c + offset."""
    draws = [2 * _uniform(generator) - 1 for _ in range(4)]
    brightness, contrast, saturation = (
        1 + most * draw for most, draw in zip((MAX_BRIGHTNESS, MAX_CONTRAST, MAX_SATURATION), draws, strict=False)
    )
    grey = torch.tensor(LUMA).expand(3, 3)
    saturate = saturation * torch.eye(3) + (1 - saturation) * grey
    matrix = brightness * contrast * saturate @ _turn_about_grey(2 * math.pi * MAX_HUE * draws[3])
    # Contrast is about the mean grey of the image, estimated on every 4th pixel of every 4th row.
    mean = image[:, ::CLASS_STRIDE, ::CLASS_STRIDE].float().mean((1, 2)) @ torch.tensor(LUMA)
    return matrix, ((1 - contrast) * brightness * mean).expand(3)


def normalize(
    image: UInt8[Tensor, "3 h w"],
    *,
    mean: Triple,
    std: Triple,
    matrix: Float[Tensor, "3 3"] | None = None,
    offset: Float[Tensor, " 3"] | None = None,
) -> Float[Tensor, "3 h w"]:
    """Apply a colour matrix and offset (of 0..255) if given, clamp, and bring to the backbone's statistics."""
    center, spread = 255 * torch.tensor(mean), 255 * torch.tensor(std)
    matrix = torch.eye(3) if matrix is None else matrix
    offset = torch.zeros(3) if offset is None else offset
    pixels = image.contiguous().flatten(1).float()
    # One product does it all, so the clamp is moved behind the normalisation, to the images of 0 and 255.
    pixels = torch.addmm(((offset - center) / spread)[:, None], matrix / spread[:, None], pixels)
    for plane, low, high in zip(pixels, (-center / spread).tolist(), ((255 - center) / spread).tolist(), strict=True):
        plane.clamp_(low, high)
    return pixels.view(image.shape)


def _turn_about_grey(angle: float) -> Float[Tensor, "3 3"]:
    """Rotation of RGB by `angle` radians about (1, 1, 1), which leaves grey as it is (Rodrigues' formula)."""
    third, root = (1 - math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    same, next_, last = math.cos(angle) + third, third - root, third + root
    return torch.tensor([[same, next_, last], [last, same, next_], [next_, last, same]])


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def _below(limit: int, generator: Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
