"""What is taken for what: the largest flows between classes, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_FLOWS = 15
_CELLS = 20  # classes that a matrix shows at once; more, and nobody can read it
_LEVELS = 9


@dataclass(frozen=True)
class Flow:
    """Pixels of one class that are taken for another.

    Attributes:
        label: Class id of the label.
        prediction: Class id that they are given.
        share: Of the label's pixels, in percent.
        pixels: Of all labelled pixels, in percent.
        cost: Points of mIoU that would be won if they were given their own class, all else unchanged.
        baseline: `share` under the baseline; None without one.
    """

    label: int
    prediction: int
    share: float
    pixels: float
    cost: float
    baseline: float | None


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix.

    Attributes:
        share: Of the row's pixels, in percent; None for a class without pixels.
        level: From 0 (none) to 9 (all), of its shade.
    """

    share: float | None
    level: int


@dataclass(frozen=True)
class Matrix:
    """Confusion of the classes that the largest flows lie between.

    Attributes:
        classes: Ids of its rows and columns.
        rows: A row a label; the last cell is of all classes that have no column.
        complete: Whether all classes are shown.
    """

    classes: tuple[int, ...]
    rows: tuple[tuple[Cell, ...], ...]
    complete: bool


def largest_flows(counts: Int[np.ndarray, "k k"], baseline: Int[np.ndarray, "k k"] | None = None) -> list[Flow]:
    """The flows that cost most mIoU, the costliest first."""
    costs, shares = flow_costs(counts), _shares(counts)
    theirs = None if baseline is None else _shares(baseline)
    total = max(counts.sum(), 1)
    order = np.argsort(-costs, axis=None, kind="stable")[:_FLOWS]
    found = []
    for label, prediction in zip(*np.unravel_index(order, costs.shape), strict=True):
        if counts[label, prediction] == 0 or label == prediction:
            continue
        found.append(
            Flow(
                int(label),
                int(prediction),
                share=100 * float(shares[label, prediction]),
                pixels=100 * float(counts[label, prediction] / total),
                cost=float(costs[label, prediction]),
                baseline=None if theirs is None else 100 * float(theirs[label, prediction]),
            )
        )
    return found


def flow_costs(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    r"""Points of mIoU that would be won if the pixels of a cell were given the class of their label.

    The label's class wins c/union; the class they were given has c fewer false positives, and leaves the mean if it
    then occurs neither in labels nor in predictions. Zero on the diagonal.
    """
    counts = counts.astype(np.float64)
    hits = counts.diagonal()
    unions = counts.sum(0) + counts.sum(1) - hits
    num_classes = (unions > 0).sum()
    won = _ratio(counts, unions[:, None])
    relieved = _ratio(hits, unions - counts) - _ratio(hits, unions)
    total = _ratio(hits, unions).sum()
    left = num_classes - ((unions > 0) & (unions == counts))
    costs: np.ndarray = 100 * ((total + won + relieved) / np.maximum(left, 1) - total / max(num_classes, 1))
    np.fill_diagonal(costs, 0)
    return costs


def matrix(counts: Int[np.ndarray, "k k"], flows: Sequence[Flow]) -> Matrix:
    """Shares of each label's pixels, of all classes or of those that the flows lie between."""
    num_classes = len(counts)
    shown = list(range(num_classes))
    if num_classes > _CELLS:
        by_cost = dict.fromkeys(number for flow in flows for number in (flow.label, flow.prediction))
        shown = sorted(list(by_cost)[:_CELLS])
    shares = _shares(counts)
    rows = []
    for label in shown:
        cells = [_cell(shares[label, other]) for other in shown]
        rest = shares[label].sum() - shares[label, shown].sum()
        rows.append((*cells, _cell(rest)))
    return Matrix(tuple(shown), tuple(rows), len(shown) == num_classes)


def _cell(share: float) -> Cell:
    if np.isnan(share):
        return Cell(None, 0)
    return Cell(100 * float(share), 0 if share < 0.005 else int(np.ceil(share**0.6 * _LEVELS)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotients; 0 where there is nothing to divide by."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    quotients: np.ndarray = np.divide(above, below, out=np.zeros(shape), where=below > 0)
    return quotients


def _shares(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """Of each label's pixels; NaN for a class without pixels."""
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = counts / counts.sum(1, keepdims=True)
    return shares
