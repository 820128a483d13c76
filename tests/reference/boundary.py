"""Loop twin of ops/boundary.py: each class by itself, each pixel by its distances, as Cheng et al. define it."""

from __future__ import annotations


def inner_boundary(mask: list[list[bool]], width: int) -> set[tuple[int, int]]:
    """Pixels of the mask that have a pixel outside it, or the image's end, within `width` king's moves."""
    height, length = len(mask), len(mask[0])
    band = set()
    for y in range(height):
        for x in range(length):
            near = [(y + a, x + b) for a in range(-width, width + 1) for b in range(-width, width + 1)]
            inside = all(0 <= a < height and 0 <= b < length and mask[a][b] for a, b in near)
            if mask[y][x] and not inside:
                band.add((y, x))
    return band


def boundary_iou(
    labels: list[list[int]], predictions: list[list[int]], num_classes: int, width: int
) -> list[float | None]:
    scores: list[float | None] = []
    for c in range(num_classes):
        bands = []
        for ids in (labels, predictions):
            mask = [
                [value == c and 0 <= label < num_classes for value, label in zip(row, of_labels, strict=True)]
                for row, of_labels in zip(ids, labels, strict=True)
            ]
            bands.append(inner_boundary(mask, width))
        union = bands[0] | bands[1]
        scores.append(len(bands[0] & bands[1]) / len(union) if union else None)
    return scores
