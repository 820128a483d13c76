"""Scores of an evaluation: what is printed, stored in scores.json and compared between runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import Tensor

from pixelcontrast.files import write_text
from pixelcontrast.ops.confusion import class_accuracy, intersection_over_union, pixel_accuracy


@dataclass(frozen=True)
class Scores:
    """Scores over a whole split; percentages.

    Attributes:
        mIoU: Mean IoU over the classes that occur in labels or predictions.
        aAcc: Share of labelled pixels that are predicted rightly.
        mAcc: Mean over the classes that occur in the labels of the share of their pixels predicted rightly.
        IoU: By class name; None for a class that occurs in neither labels nor predictions.
        accuracy: By class name; None for a class that does not occur in the labels.
        label_share: Share of labelled pixels by class name.
        absent: Classes that occur neither in labels nor in predictions, so are left out of mIoU.
        protocol: How the scores were obtained, in words.
        images: Number of images.
        counts: Confusion counts in pixels, row = label, column = prediction, in the order of `IoU`.
        step: Optimiser steps the weights were trained for.
    """

    mIoU: float  # noqa: N815 - the field writes it so
    aAcc: float  # noqa: N815
    mAcc: float  # noqa: N815
    IoU: dict[str, float | None]
    accuracy: dict[str, float | None]
    label_share: dict[str, float]
    absent: tuple[str, ...]
    protocol: str
    images: int
    counts: list[list[int]]
    step: int

    @classmethod
    def from_counts(cls, counts: Tensor, names: tuple[str, ...], *, protocol: str, images: int, step: int) -> Scores:
        """Divide the summed counts [k k], row = label; on the CPU in float64."""
        counts = counts.cpu()
        iou, accuracy = intersection_over_union(counts), class_accuracy(counts)
        share = counts.sum(1).double() / counts.sum().clamp(min=1)
        return cls(
            mIoU=_percent(iou.nanmean()) or 0.0,
            aAcc=_percent(pixel_accuracy(counts)) or 0.0,
            mAcc=_percent(accuracy.nanmean()) or 0.0,
            IoU=dict(zip(names, map(_percent, iou), strict=True)),
            accuracy=dict(zip(names, map(_percent, accuracy), strict=True)),
            label_share=dict(zip(names, (round(100 * float(s), 4) for s in share), strict=True)),
            absent=tuple(name for name, value in zip(names, iou, strict=True) if isnan(value)),
            protocol=protocol,
            images=images,
            counts=counts.tolist(),
            step=step,
        )

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read scores.json."""
        values: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**values, "absent": tuple(values["absent"])})

    def save(self, path: Path) -> None:
        """Write scores.json in one piece: a reader never sees half of it."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    def table(self, title: str) -> Table:
        """Per-class table for the terminal."""
        table = Table(title=title, caption=f"{self.protocol}; {self.images} images", title_justify="left")
        table.add_column("class")
        for column in ("IoU %", "accuracy %", "share of pixels %"):
            table.add_column(column, justify="right")
        for name, iou in self.IoU.items():
            table.add_row(name, _cell(iou), _cell(self.accuracy[name]), f"{self.label_share[name]:.2f}")
        table.add_section()
        table.add_row("mean", f"{self.mIoU:.2f}", f"{self.mAcc:.2f}", f"pixel accuracy {self.aAcc:.2f}", style="bold")
        if self.absent:
            table.add_row("left out", ", ".join(self.absent), "", "in neither labels nor predictions", style="dim")
        return table


def _percent(value: Tensor) -> float | None:
    return None if isnan(value) else round(100 * float(value), 4)


def _cell(value: float | None) -> str:
    return "absent" if value is None else f"{value:.2f}"
