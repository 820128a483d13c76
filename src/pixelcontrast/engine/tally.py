"""What an evaluation counts: integers only, so that they add up exactly over images and ranks, in any order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixelcontrast.engine.ranks import sum_over_ranks
from pixelcontrast.ops.boundary import band_width, boundary_counts
from pixelcontrast.ops.calibration import calibration_counts
from pixelcontrast.ops.confusion import confusion_counts, margins

# Cheng et al. 2021 take 2 % of the image's diagonal; Guo et al. 2017 take 15 bins.
BOUNDARY_SHARE, CALIBRATION_BINS = 0.02, 15


@dataclass(frozen=True)
class Prediction:
    """What a network says of images, at their own size.

    Attributes:
        labels: The class that is most probable.
        confidence: Its probability.
    """

    labels: Int[Tensor, "*b H W"]
    confidence: Float[Tensor, "*b H W"]

    def of(self, index: int) -> Prediction:
        """The part of one image of a batch."""
        return Prediction(self.labels[index], self.confidence[index])


@dataclass(frozen=True)
class Tally:
    """Counts of pixels over a split; those of the images that are not counted yet are 0.

    Attributes:
        confusion: Row = label, column = prediction.
        images: Of each image, pixels right, labelled and predicted, by class; in the order of the split.
        boundary: The same of the bands along the contours, over all images.
        calibration: Pixels, right pixels and confidence by bins of confidence.
    """

    confusion: Int[Tensor, "k k"]
    images: Int[Tensor, "n 3 k"]
    boundary: Int[Tensor, "3 k"]
    calibration: Int[Tensor, "m 3"]

    @classmethod
    def zeros(cls, num_images: int, num_classes: int, device: torch.device) -> Tally:
        """Nothing counted yet."""
        shapes = ((num_classes,) * 2, (num_images, 3, num_classes), (3, num_classes), (CALIBRATION_BINS, 3))
        return cls(*(torch.zeros(shape, dtype=torch.int64, device=device) for shape in shapes))

    def add(self, index: int, labels: Int[Tensor, "H W"], prediction: Prediction) -> Int[Tensor, "3 k"]:
        """Count one image, and return its own pixels right, labelled and predicted, by class."""
        num_classes = self.confusion.shape[0]
        counts = confusion_counts(labels, prediction.labels, num_classes)
        own = margins(counts)
        width = band_width(*labels.shape, share=BOUNDARY_SHARE)
        self.confusion.add_(counts)
        self.images[index] += own
        self.boundary.add_(boundary_counts(labels, prediction.labels, num_classes, width=width))
        self.calibration.add_(
            calibration_counts(
                labels, prediction.labels, prediction.confidence, num_classes=num_classes, bins=CALIBRATION_BINS
            )
        )
        return own

    def sum_over_ranks(self) -> None:
        """Add up what all ranks counted; nothing to do for one."""
        for counts in (self.confusion, self.images, self.boundary, self.calibration):
            sum_over_ranks(counts)
