"""How an image is predicted when a network is scored: the options, and the words that stand beside every number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

# The six scales of multi-scale evaluation in segmentation papers.
STANDARD_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
MOST_SCALE = 16


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How an image is predicted when a network is scored; by default once, whole, at its own size.

    With several scales, mirroring or windows, a pixel's class is the most probable one by the mean of the softmax of
    all predictions of it, each brought to the image's size first. Windows are cut from the image at its own size, and
    scales and mirroring apply to each window.

    Attributes:
        scales: Factors by which the image is resized before it is predicted.
        flip: Whether it is also predicted mirrored left to right, at each scale.
        window: Height and width, in pixels, of the windows that are predicted instead of the whole image; null: none.
        overlap: Share of a window that the next one covers again; at least 0, below 1.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: tuple[int, int] | None = None
    overlap: float = 1 / 3

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= MOST_SCALE for scale in self.scales):
            raise ValueError(
                f"scales: expected at least one factor, all above 0 and at most {MOST_SCALE} (1 is the image's own"
                f" size), got {list(self.scales)}"
            )
        if self.window is not None and min(self.window) < 1:
            raise ValueError(f"window: expected a height and a width of at least 1, got {list(self.window)}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, got {self.overlap}")

    @property
    def averages(self) -> bool:
        """Whether more than one prediction is made of a pixel, or in pieces."""
        return self.scales != (1.0,) or self.flip or self.window is not None

    @property
    def words(self) -> str:
        """The protocol as it is printed beside the scores."""
        size = "single scale" if self.scales == (1.0,) else f"scales {', '.join(f'{s:g}' for s in self.scales)}"
        parts = [size + (" and mirrored" if self.flip else "")]
        if self.window is None:
            parts.append("whole image")
        else:
            parts.append(f"windows of {self.window[0]}x{self.window[1]} with {100 * self.overlap:.3g} % overlap")
        return ", ".join([*parts, *(["mean of softmax"] if self.averages else []), "labels at original size"])

    @property
    def name(self) -> str:
        """The protocol in a folder's name; empty for the default."""
        parts = [] if self.scales == (1.0,) else [f"scales_{'_'.join(f'{s:g}' for s in self.scales)}"]
        parts += ["flip"] if self.flip else []
        if self.window is not None:
            parts.append(f"window_{self.window[0]}x{self.window[1]}_overlap_{self.overlap:.3g}")
        return "-".join(parts)
