"""Training transforms: random scale, crop, flip and colour of one sample, as a function of the sample and a generator.

Images are RGB of 8 bits, or bands of any number and unit. The window is chosen in the source image and cut out before
anything else is done to its pixels, so that a sample costs what its crop costs. Colour is one 3x3 matrix: brightness,
contrast and saturation as torchvision.transforms.v2 defines them, clamped once at the end instead of after each; hue is
a rotation about the grey axis of RGB instead of a shift of the HSV angle, which takes ten times as long as the rest
together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Real, UInt8
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as v2

from pixelcontrast.data.labels import IGNORE_INDEX
from pixelcontrast.ops.resize import nearest_exact

CROP_TRIES = 10
CLASS_STRIDE = 4  # class shares of a crop are estimated on every 4th pixel of every 4th row
MAX_BRIGHTNESS, MAX_CONTRAST, MAX_SATURATION = 0.25, 0.3, 0.4  # factors are drawn from 1 - x to 1 + x
MAX_HUE = 0.05  # of a full turn, to either side
LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision's rgb_to_grayscale

PerBand = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingTransform:
    """What happens to a sample before it is part of a batch.

    Attributes:
        crop_size: Height and width of what comes out.
        scale: Range of the resize factor, drawn uniformly.
        flip: Probability of a left-right flip.
        photometric: Whether colours vary.
        max_class_share: Highest share of one class among the labelled pixels of a crop.
        mean: Of each band: of 8-bit images on a scale of 0 to 1, of others in their own units.
        std: The same.
    """

    crop_size: tuple[int, int]
    scale: tuple[float, float]
    flip: float
    photometric: bool
    max_class_share: float
    mean: PerBand
    std: PerBand

    def __call__(
        self,
        image: Real[Tensor, "c H W"],
        labels: UInt8[Tensor, "H W"],
        generator: Generator,
        *,
        shown: int | None = None,
    ) -> tuple[Float[Tensor, "c h w"], Int[Tensor, "h w"]]:
        """Return crop and labels (int64) of `crop_size`; what the image does not fill is mean colour and ignored.

        Args:
            image: Whole.
            labels: Whole.
            generator: Of all that is drawn.
            shown: Class that the crop holds a pixel of, if the image does.
        """
        low, high = self.scale
        factor = low + (high - low) * _uniform(generator)
        top, left, height, width = self._window(labels, factor, generator, shown)
        image = image[:, top : top + height, left : left + width]
        labels = labels[top : top + height, left : left + width]
        size = [min(side, max(1, round(old * factor))) for side, old in zip(self.crop_size, labels.shape, strict=True)]
        image = v2.resize(image, size, antialias=True)
        for axis, (old, new) in enumerate(zip(labels.shape, size, strict=True)):
            labels = labels.index_select(axis, nearest_exact(old, new))
        if _uniform(generator) < self.flip:
            image, labels = image.flip(-1), labels.flip(-1)
        matrix = offset = None
        if self.photometric:
            matrix, offset = color_distortion(image, generator)
        pixels = normalize(image, mean=self.mean, std=self.std, matrix=matrix, offset=offset)
        below, right = self.crop_size[0] - size[0], self.crop_size[1] - size[1]
        if below or right:
            pixels = F.pad(pixels, (0, right, 0, below))
            labels = F.pad(labels, (0, right, 0, below), value=IGNORE_INDEX)
        return pixels, labels.long()

    def _window(
        self, labels: UInt8[Tensor, "H W"], factor: float, generator: Generator, shown: int | None
    ) -> tuple[int, int, int, int]:
        """Choose top, left, height and width of the crop in source pixels; the last of 10 tries is taken as it is."""
        rows, columns = labels.shape
        height = min(rows, max(1, round(self.crop_size[0] / factor)))
        width = min(columns, max(1, round(self.crop_size[1] / factor)))
        top = left = 0
        places = None if shown is None else (labels == shown).nonzero()
        for _ in range(CROP_TRIES):
            if places is None or not len(places):
                top = _below(rows - height + 1, generator)
                left = _below(columns - width + 1, generator)
            else:
                row, column = places[_below(len(places), generator)].tolist()
                top = _start_about(row, height, rows, generator)
                left = _start_about(column, width, columns, generator)
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
    image: Real[Tensor, "c h w"], generator: Generator
) -> tuple[Float[Tensor, "c c"], Float[Tensor, " c"]]:
    """Draw a change of brightness, contrast, saturation and hue: colour c (0..255) becomes matrix @ c + offset.

    Images that are not RGB of 8 bits have no hue: their bands change in brightness and contrast, all by one factor.
    """
    draws = [2 * _uniform(generator) - 1 for _ in range(4)]
    brightness, contrast, saturation = (
        1 + most * draw for most, draw in zip((MAX_BRIGHTNESS, MAX_CONTRAST, MAX_SATURATION), draws, strict=False)
    )
    # Contrast is about the mean of the image, estimated on every 4th pixel of every 4th row.
    mean = image[:, ::CLASS_STRIDE, ::CLASS_STRIDE].float().mean((1, 2))
    if not _is_rgb(image):
        return brightness * contrast * torch.eye(len(image)), (1 - contrast) * brightness * mean
    grey = torch.tensor(LUMA).expand(3, 3)
    saturate = saturation * torch.eye(3) + (1 - saturation) * grey
    matrix = brightness * contrast * saturate @ _turn_about_grey(2 * math.pi * MAX_HUE * draws[3])
    return matrix, ((1 - contrast) * brightness * (mean @ torch.tensor(LUMA))).expand(3)


def normalize(
    image: Real[Tensor, "c h w"],
    *,
    mean: PerBand,
    std: PerBand,
    matrix: Float[Tensor, "c c"] | None = None,
    offset: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, "c h w"]:
    """Apply a colour matrix and offset if given, clamp images of 8 bits, subtract the mean, divide by the deviation.

    Args:
        image: 8-bit, or float in units of its own.
        mean: Of each band, of 8-bit images on a scale of 0 to 1.
        std: The same.
        matrix: Of the bands.
        offset: Of the bands, in the image's units.
    """
    scale = 255 if image.dtype == torch.uint8 else 1
    center, spread = scale * torch.tensor(mean), scale * torch.tensor(std)
    matrix = torch.eye(len(image)) if matrix is None else matrix
    offset = torch.zeros(len(image)) if offset is None else offset
    pixels = image.contiguous().flatten(1).float()
    # One product does it all, so the clamp is moved behind the normalisation, to the images of 0 and 255.
    pixels = torch.addmm(((offset - center) / spread)[:, None], matrix / spread[:, None], pixels)
    if image.dtype != torch.uint8:
        return pixels.view(image.shape)
    for plane, low, high in zip(pixels, (-center / spread).tolist(), ((255 - center) / spread).tolist(), strict=True):
        plane.clamp_(low, high)
    return pixels.view(image.shape)


def visible(image: Real[Tensor, "c H W"]) -> UInt8[Tensor, "3 H W"]:
    """An image for people: RGB as it is; of other bands the first three, or the first, each stretched to its range.

    The darkest and brightest 2 % are cut off where values are not of 8 bits.
    """
    if _is_rgb(image):
        return image
    shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    if shown.dtype == torch.uint8:
        return shown
    some = shown[:, ::CLASS_STRIDE, ::CLASS_STRIDE].flatten(1).float()
    low, high = torch.quantile(some, torch.tensor([0.02, 0.98]), dim=1)[..., None, None]
    stretched: Tensor = ((shown - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return stretched.mul(255).round().byte()


def _is_rgb(image: Real[Tensor, "c h w"]) -> bool:
    return image.dtype == torch.uint8 and len(image) == 3


def _turn_about_grey(angle: float) -> Float[Tensor, "3 3"]:
    """Rotation of RGB by `angle` radians about (1, 1, 1), which leaves grey as it is (Rodrigues' formula)."""
    third, root = (1 - math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    same, next_, last = math.cos(angle) + third, third - root, third + root
    return torch.tensor([[same, next_, last], [last, same, next_], [next_, last, same]])


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def _start_about(place: int, length: int, whole: int, generator: Generator) -> int:
    """Start of a stretch of `length` within `whole` that holds `place`."""
    first = max(0, place - length + 1)
    return first + _below(min(place, whole - length) - first + 1, generator)


def _below(limit: int, generator: Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
