"""From values to places on a chart: round ticks, and numbers as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A linear map from values to places.

    Attributes:
        low: Value at `start`.
        high: Value at `end`.
        start: Place of the lowest value.
        end: Place of the highest value; below `start` for an axis that points up.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Some four to six round values within the scale."""
        return round_values(self.low, self.high)


def scale_for(values: Sequence[float], *, start: float, end: float, zero: bool = False) -> Scale:
    """A scale that holds all values and a little room.

    Args:
        values: At least one.
        start: Place of the lowest value.
        end: Place of the highest value.
        zero: Whether it must reach zero.
    """
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    below, above = (0.0 if zero and end == 0 else room for end in (low, high))
    return Scale(low - below, high + max(above, room if low == high else 0.0), start, end)


def round_values(low: float, high: float, *, about: int = 5) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten from `low` to `high`, `about` many."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def short(value: float) -> str:
    """A number in few characters: 12345 -> 12.3k, 0.00042 -> 4.2e-4, 8.7569 -> 8.757."""
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 1e9:
        return f"{_trim(f'{value / 1e9:.1f}')}G"
    if size >= 1e6:
        return f"{_trim(f'{value / 1e6:.1f}')}M"
    if size >= 1e4:
        return f"{_trim(f'{value / 1e3:.1f}')}k"
    if size >= 1e-3:
        return _trim(f"{value:.{max(0, 3 - max(0, math.floor(math.log10(size))))}f}")
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{_trim(mantissa)}e{int(exponent)}"


def percent(value: float | None, *, digits: int = 1) -> str:
    """A score as it is shown; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, *, digits: int = 1) -> str:
    """A difference with its sign, a true minus, and no sign where it rounds to zero; a dash where there is none."""
    if value is None:
        return "–"
    if direction(value, digits=digits) == "none":
        return f"{0:.{digits}f}"
    return f"{value:+z.{digits}f}".replace("-", "−")  # noqa: RUF001


def direction(value: float, *, digits: int = 1) -> str:
    """Where a difference points, as it is shown: "up", "down" or "none"."""
    rounded = round(value, digits)
    return "up" if rounded > 0 else "down" if rounded < 0 else "none"


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
