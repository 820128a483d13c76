"""Label spaces: the one home of class ids, names, colours, and of the id of pixels that have no class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

IGNORE_INDEX = 255
UNKNOWN = 254  # what a raw id that the data set does not define is mapped to, before it becomes an error

Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSpace:
    """The classes a network tells apart: id i is called `names[i]` and drawn in `palette[i]`.

    Attributes:
        names: Unique, at most 254, since 254 and 255 are taken for unknown and ignored pixels.
        palette: RGB, 0 to 255; ignored pixels are drawn black.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.names) <= UNKNOWN:
            raise ValueError(f"expected 1 to {UNKNOWN} classes, got {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"class names must differ, but {twice} occur more than once; rename them")
        if len(self.palette) != len(self.names):
            raise ValueError(f"expected one colour a class: {len(self.names)} names, {len(self.palette)} colours")
        if not all(len(color) == 3 and all(0 <= value <= 255 for value in color) for color in self.palette):
            raise ValueError("colours are three numbers from 0 to 255 each")

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.names)

    def colorize(self, labels: UInt8[Tensor, "H W"]) -> UInt8[Tensor, "3 H W"]:
        """Draw labels in the palette; ids without a class become black."""
        table = torch.zeros(256, 3, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.palette, dtype=torch.uint8)
        return table[labels.long()].permute(2, 0, 1).contiguous()


def lost_foreground(names: Sequence[str]) -> str:
    """What is said of masks that hold nothing but 0 and 255, which is ignored, though there are two classes or more."""
    first, second = names[:2]
    return (
        f"every pixel is '{first}' or ignored, never '{second}'. If these are masks of 0 and 255, 255 is read as "
        f"ignored: name it as a class in classes.yaml, {{{first}: 0, {second}: {IGNORE_INDEX}}}"
    )


def raw_id_table(mapping: Mapping[int, int]) -> UInt8[Tensor, " 256"]:
    """Tabulate what the ids in a data set's files mean: `mapping` holds raw id -> class id or `IGNORE_INDEX`.

    Raw 255 is ignored unless the mapping says otherwise; ids in neither are `UNKNOWN`.
    """
    table = torch.full((256,), UNKNOWN, dtype=torch.uint8)
    table[IGNORE_INDEX] = IGNORE_INDEX
    for raw, label in mapping.items():
        table[raw] = label
    return table
