"""Label spaces: the one home of class ids, names, colours, and of the id of pixels that have no class."""

from __future__ import annotations

from collections.abc import Mapping
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

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.names)

    def colorize(self, labels: UInt8[Tensor, "H W"]) -> UInt8[Tensor, "3 H W"]:
        """Draw labels in the palette; ids without a class become black."""
        table = torch.zeros(256, 3, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.palette, dtype=torch.uint8)
        return table[labels.long()].permute(2, 0, 1).contiguous()


def label_space(table: Mapping[str, Color]) -> LabelSpace:
    """Make a label space of a table from name to colour, in its order."""
    return LabelSpace(tuple(table), tuple(table.values()))


def raw_id_table(mapping: Mapping[int, int]) -> UInt8[Tensor, " 256"]:
    """Tabulate what the ids in a data set's files mean: `mapping` holds raw id -> class id or `IGNORE_INDEX`.

    Raw 255 is ignored unless the mapping says otherwise; ids in neither are `UNKNOWN`.
    """
    table = torch.full((256,), UNKNOWN, dtype=torch.uint8)
    table[IGNORE_INDEX] = IGNORE_INDEX
    for raw, label in mapping.items():
        table[raw] = label
    return table


# The order of the SegNet split's ids (Badrinarayanan et al., TPAMI 2017), the colours of the original labels
# (Brostow et al., "Semantic object classes in video", PRL 2009).
CAMVID = label_space(
    {
        "sky": (128, 128, 128),
        "building": (128, 0, 0),
        "pole": (192, 192, 128),
        "road": (128, 64, 128),
        "pavement": (60, 40, 222),
        "tree": (128, 128, 0),
        "sign": (192, 128, 128),
        "fence": (64, 64, 128),
        "car": (64, 0, 128),
        "pedestrian": (64, 64, 0),
        "cyclist": (0, 128, 192),
    }
)

SYNTHETIC = label_space(
    {
        "sky": (112, 176, 224),
        "building": (150, 96, 84),
        "road": (120, 88, 140),
        "pavement": (226, 140, 200),
        "tree": (92, 142, 58),
        "car": (36, 62, 168),
        "person": (220, 42, 66),
        "pole": (172, 172, 172),
        "sign": (250, 206, 44),
        "cyclist": (132, 24, 44),
        "fence": (206, 166, 120),
    }
)
