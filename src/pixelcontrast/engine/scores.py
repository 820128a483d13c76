"""Scores of an evaluation: what is printed, stored in scores.json and compared between runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from pixelcontrast.engine.bootstrap import mean_iou_interval
from pixelcontrast.engine.examples import Choice
from pixelcontrast.engine.tally import Tally
from pixelcontrast.errors import RunError
from pixelcontrast.files import write_text
from pixelcontrast.ops.calibration import UNIT, expected_calibration_error
from pixelcontrast.ops.confusion import (
    class_accuracy,
    f1_score,
    intersection_over_union,
    iou_of_margins,
    pixel_accuracy,
    precision,
)

ByClass = dict[str, float | None]


@dataclass(frozen=True)
class Scores:
    """Scores over a whole split; percentages. What an older version did not measure is None or empty.

    Attributes:
        mIoU: Mean IoU over the classes that occur in labels or predictions.
        aAcc: Share of labelled pixels that are predicted rightly.
        mAcc: Mean over the classes that occur in the labels of the share of their pixels predicted rightly.
        IoU: By class name; None for a class that occurs in neither labels nor predictions.
        accuracy: By class name, recall; None for a class that does not occur in the labels.
        label_share: Share of labelled pixels by class name.
        absent: Classes that occur neither in labels nor in predictions, so are left out of mIoU.
        protocol: How the scores were obtained, in words.
        images: Number of images.
        counts: Confusion counts in pixels, row = label, column = prediction, in the order of `IoU`.
        step: Optimiser steps the weights were trained for.
        mIoU_interval: Lower and upper end of mIoU's 95 % interval by bootstrap over the images of the split.
        precision: By class name; None for a class that is never predicted.
        F1: By class name; None where IoU is.
        boundary_IoU: By class name, along contours only (`ops.boundary`); None where IoU is.
        boundary_mIoU: Its mean over the classes that have it.
        ECE: Expected calibration error over all labelled pixels (`ops.calibration`).
        calibration: For each bin of confidence, the lowest first: its number of pixels, their mean confidence and the
            share of them that is right; both None for an empty bin.
        worst: Names and mIoU of the images with the lowest, the lowest first.
        best: Names and mIoU of the images with the highest, the highest first.
        even: Names of images evenly spaced over the split.
    """

    mIoU: float  # noqa: N815 - the field writes it so
    aAcc: float  # noqa: N815
    mAcc: float  # noqa: N815
    IoU: ByClass
    accuracy: ByClass
    label_share: dict[str, float]
    absent: tuple[str, ...]
    protocol: str
    images: int
    counts: list[list[int]]
    step: int
    mIoU_interval: tuple[float, float] | None = None  # noqa: N815
    precision: ByClass | None = None
    F1: ByClass | None = None
    boundary_IoU: ByClass | None = None  # noqa: N815
    boundary_mIoU: float | None = None  # noqa: N815
    ECE: float | None = None
    calibration: tuple[tuple[int, float | None, float | None], ...] = ()
    worst: tuple[tuple[str, float], ...] = ()
    best: tuple[tuple[str, float], ...] = ()
    even: tuple[str, ...] = ()

    @classmethod
    def from_tally(
        cls, tally: Tally, names: Sequence[str], examples: Choice, *, protocol: str, images: int, step: int
    ) -> Scores:
        """Divide the summed counts; on the CPU in float64."""
        counts, boundary = tally.confusion.cpu(), iou_of_margins(tally.boundary.cpu())
        iou, accuracy = intersection_over_union(counts), class_accuracy(counts)
        share = counts.sum(1).double() / counts.sum().clamp(min=1)
        interval = mean_iou_interval(tally.images.cpu())
        calibration = tally.calibration.cpu()

        def by_class(values: Tensor) -> ByClass:
            return dict(zip(names, map(_percent, values), strict=True))

        return cls(
            mIoU=_percent(iou.nanmean()) or 0.0,
            mIoU_interval=None if interval is None else (_percent(interval[0]) or 0.0, _percent(interval[1]) or 0.0),
            aAcc=_percent(pixel_accuracy(counts)) or 0.0,
            mAcc=_percent(accuracy.nanmean()) or 0.0,
            IoU=by_class(iou),
            accuracy=by_class(accuracy),
            precision=by_class(precision(counts)),
            F1=by_class(f1_score(counts)),
            boundary_IoU=by_class(boundary),
            boundary_mIoU=_percent(boundary.nanmean()),
            ECE=_percent(expected_calibration_error(calibration)),
            calibration=tuple(map(_bin, calibration.tolist())),
            label_share={name: round(100 * float(s), 4) for name, s in zip(names, share, strict=True)},
            absent=tuple(name for name, value in zip(names, iou, strict=True) if isnan(value)),
            worst=tuple((name, round(100 * score, 4)) for name, score in examples.worst),
            best=tuple((name, round(100 * score, 4)) for name, score in examples.best),
            even=examples.even,
            protocol=protocol,
            images=images,
            counts=counts.tolist(),
            step=step,
        )

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read scores.json, of this version or an older one.

        Raises:
            RunError: If the file is missing or holds something else.
        """
        try:
            return TypeAdapter(cls).validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: expected scores of an evaluation, got '{error}'") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise RunError(
                f"{path} does not hold scores that this version can read: {place}: {first['msg']}; "
                "remove it, and the command that wrote it (`train` with --resume, `compare`, `evaluate`) scores again"
            ) from error

    def save(self, path: Path) -> None:
        """Write scores.json in one piece: a reader never sees half of it."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    def table(self, title: str) -> Table:
        """Per-class table for the terminal."""
        caption = escape(f"{self._summary()}\n{self.protocol}; {self.images} images{self._of_one_class()}")
        table = Table(title=escape(title), caption=caption, title_justify="left", caption_justify="left")
        table.add_column("class")
        columns: dict[str, Mapping[str, float | None]] = {"IoU %": self.IoU, "accuracy %": self.accuracy}
        if self.precision is not None and self.boundary_IoU is not None:
            columns |= {"precision %": self.precision, "boundary IoU %": self.boundary_IoU}
        columns["share of pixels %"] = self.label_share
        for column in columns:
            table.add_column(column, justify="right")
        for name in self.IoU:
            cells = (_cell(values[name], absent=name in self.absent) for values in columns.values())
            table.add_row(escape(name), *cells)
        table.add_section()
        means = {"IoU %": self.mIoU, "accuracy %": self.mAcc, "boundary IoU %": self.boundary_mIoU}
        table.add_row("mean", *("" if (m := means.get(c)) is None else f"{m:.2f}" for c in columns), style="bold")
        if self.absent:
            table.add_row("left out", escape(", ".join(self.absent)), style="dim")
        return table

    def _summary(self) -> str:
        """What the table has no column for."""
        parts = [f"mIoU {self.mIoU:.2f} %"]
        if self.mIoU_interval is not None:
            low, high = self.mIoU_interval
            parts[0] += f" (95 % over images: {low:.2f} to {high:.2f})"
        parts.append(f"pixel accuracy {self.aAcc:.2f} %")
        parts += [f"calibration error {self.ECE:.2f} %"] if self.ECE is not None else []
        parts += [f"worst image {self.worst[0][0]} ({self.worst[0][1]:.1f} %)"] if self.worst else []
        return ", ".join(parts)

    def _of_one_class(self) -> str:
        """Because a mean over one class looks like a good score."""
        labelled = [name for name, pixels in zip(self.IoU, self.counts, strict=True) if any(pixels)]
        if len(self.IoU) == 1 or len(labelled) != 1:
            return ""
        return (
            f"\nevery labelled pixel is '{labelled[0]}': of other classes this tells nothing; see `pixelcontrast check`"
        )


def left_out(scores: Mapping[str, Sequence[Scores]]) -> str:
    """Classes that the means leave out, by arm where arms, or runs of one, differ in them; empty if there are none."""
    found = {arm: dict.fromkeys(", ".join(each.absent) or "none" for each in runs) for arm, runs in scores.items()}
    distinct = {names for by_run in found.values() for names in by_run}
    if len(distinct) > 1:
        return "; ".join(f"{arm}: {' or '.join(names)}" for arm, names in found.items() if names)
    return "".join(distinct - {"none"})


def _percent(value: Tensor | float) -> float | None:
    return None if isnan(value) else round(100 * float(value), 4)


def _bin(counts: list[int]) -> tuple[int, float | None, float | None]:
    pixels, right, units = counts
    return (pixels, _percent(units / UNIT / pixels), _percent(right / pixels)) if pixels else (0, None, None)


def _cell(value: float | None, *, absent: bool) -> str:
    if value is None:
        return "absent" if absent else "-"
    return f"{value:.2f}"
