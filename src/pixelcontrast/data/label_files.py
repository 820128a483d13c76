"""The forms that labels lie in on disk, each with what its values mean: files of ids, files of colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Integer, UInt8
from torch import Tensor

from pixelcontrast.data.decoding import read_colors, read_labels
from pixelcontrast.data.labels import UNKNOWN, Color
from pixelcontrast.errors import LabelIdError

_CODES = 1 << 24  # of colours


@runtime_checkable
class LabelFiles(Protocol):
    """How the labels of a split are read: raw values first, so that their size can be checked, then class ids."""

    def read(self, path: Path, name: str) -> Integer[Tensor, "H W"]:
        """Read what the file holds for the sample `name`.

        Raises:
            FileError: If it cannot be read.
        """

    def classes_of(self, raw: Integer[Tensor, "H W"], path: Path) -> UInt8[Tensor, "H W"]:
        """Bring raw values to class ids and `IGNORE_INDEX`.

        Raises:
            LabelIdError: If a value is none of the data set's.
        """


@dataclass(frozen=True)
class IdFiles:
    """Files of ids, one a pixel.

    Attributes:
        raw_ids: Class id, `IGNORE_INDEX` or `UNKNOWN` by the id in the file.
        advice: What to do about ids that the data set does not define, for the error.
    """

    raw_ids: UInt8[Tensor, " 256"]
    advice: str

    def read(self, path: Path, name: str) -> Integer[Tensor, "H W"]:
        """Read the ids as they are stored."""
        return read_labels(path)

    def classes_of(self, raw: Integer[Tensor, "H W"], path: Path) -> UInt8[Tensor, "H W"]:
        """Look the ids up."""
        labels = look_up(raw, self.raw_ids)
        if (labels == UNKNOWN).any():
            known = _ranges([raw_id for raw_id, label in enumerate(self.raw_ids.tolist()) if label != UNKNOWN])
            advice = f"expected ids {known}. {self.advice}"
            raise unknown_values(raw, labels, path=path, called="label id", advice=advice)
        return labels


@dataclass(frozen=True)
class ColorFiles:
    """Drawings of labels, a colour a class; the raw value of a pixel is red * 65536 + green * 256 + blue.

    Attributes:
        colors: Class id or `IGNORE_INDEX` of each colour.
        advice: What to do about other colours, for the error.
    """

    colors: Mapping[Color, int]
    advice: str

    def read(self, path: Path, name: str) -> Integer[Tensor, "H W"]:
        """Read the colours as numbers."""
        return read_colors(path)

    def classes_of(self, raw: Integer[Tensor, "H W"], path: Path) -> UInt8[Tensor, "H W"]:
        """Look the colours up."""
        labels = look_up(raw, _color_table(tuple(self.colors.items())))
        if (labels == UNKNOWN).any():
            raise unknown_values(raw, labels, path=path, called="colour", advice=self.advice, show=_color_text)
        return labels


@lru_cache(maxsize=4)  # 16 MB each
def _color_table(colors: tuple[tuple[Color, int], ...]) -> UInt8[Tensor, " m"]:
    table = torch.full((_CODES,), UNKNOWN, dtype=torch.uint8)
    for (red, green, blue), label in colors:
        table[red << 16 | green << 8 | blue] = label
    return table


def _color_text(code: int) -> str:
    return f"({code >> 16}, {code >> 8 & 255}, {code & 255})"


def look_up(raw: Integer[Tensor, "H W"], table: UInt8[Tensor, " m"]) -> UInt8[Tensor, "H W"]:
    """Bring values as stored to class ids by a table; values it does not reach are `UNKNOWN`."""
    positions = raw
    if raw.dtype != torch.uint8 or len(table) < UNKNOWN:
        outside = (raw < 0) | (raw >= len(table))
        if outside.any():
            positions = raw.where(~outside, len(table))
            table = torch.cat([table, torch.tensor([UNKNOWN], dtype=torch.uint8)])
    return table.index_select(0, positions.flatten().int()).view_as(raw)


def unknown_values(
    raw: Integer[Tensor, "H W"],
    labels: UInt8[Tensor, "H W"],
    *,
    path: Path,
    called: str,
    advice: str,
    show: Callable[[int], str] = str,
) -> LabelIdError:
    """The error of a file some of whose labels are `UNKNOWN`: file, value, first position, counts.

    Args:
        raw: Values of the file.
        labels: What `look_up` made of them.
        path: The file.
        called: What the message calls a value.
        advice: What is expected and what to do.
        show: How the message writes a value.
    """
    wrong = labels == UNKNOWN
    value = int(raw[wrong][0])
    same = raw == value
    row, column = (int(i) for i in same.nonzero()[0])
    values, counts = torch.unique(raw[wrong], return_counts=True)
    return LabelIdError(
        f"{path}: {called} {show(value)} at row {row}, column {column} ({int(same.sum())} pixels of it, "
        f"{int(wrong.sum())} of {raw.numel()} pixels with an unknown {called}); {advice}",
        str(path),
        {show(int(number)): int(count) for number, count in zip(values, counts, strict=True)},
    )


def _ranges(ids: Sequence[int]) -> str:
    """[0, 1, 2, 11, 255] -> '0-2, 11, 255'."""
    parts: list[list[int]] = []
    for number in ids:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
