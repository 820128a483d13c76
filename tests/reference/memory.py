"""Loop twin of the memory: one list of slots per class and kind, written one row at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Row = tuple[float, ...]


class LoopMemory:
    """Region slots, then pixel slots, of each class; None in a slot that is not filled."""

    def __init__(self, num_classes: int, *, regions_per_class: int, pixels_per_class: int) -> None:
        self.slots = [[[None] * n for n in (regions_per_class, pixels_per_class)] for _ in range(num_classes)]
        self.cursors = [[0, 0] for _ in range(num_classes)]

    def store(self, kind: int, rows: Iterable[tuple[Row, int]]) -> None:
        for row, label in rows:
            if 0 <= label < len(self.slots) and self.slots[label][kind]:
                ring = self.slots[label][kind]
                ring[self.cursors[label][kind]] = row
                self.cursors[label][kind] = (self.cursors[label][kind] + 1) % len(ring)

    def rows(self) -> list[Row | None]:
        return [row for kinds in self.slots for ring in kinds for row in ring]

    def labels(self) -> list[int]:
        return [-1 if row is None else c for c, kinds in enumerate(self.slots) for ring in kinds for row in ring]


def unit_mean(rows: Sequence[Row]) -> Row:
    total = [sum(column) for column in zip(*rows, strict=True)]
    norm = sum(x * x for x in total) ** 0.5
    return tuple(x / norm for x in total)
