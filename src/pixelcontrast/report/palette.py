"""Colours of classes on charts: the data set's own hues, light or dark enough to be seen on the page.

Pictures keep the data set's colours as they are; on a chart Cityscapes' navy would vanish on a dark page, and a pale
yellow on a light one. So lightness is bounded in OKLab (Ottosson, 2020), in which equal steps look equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pixelcontrast.report.runs import Color

_LIGHT_PAGE, _DARK_PAGE = (0.38, 0.72), (0.60, 0.88)
_TO_CONE = np.asarray([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                       [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_TO_LAB = np.asarray([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                      [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def chart_colours(palette: Sequence[Color]) -> list[tuple[str, str, str]]:
    """Each class's own colour, that on a light page and that on a dark one, as `#rrggbb`."""
    return [
        (as_hex(colour), _hex(with_lightness(colour, *_LIGHT_PAGE)), _hex(with_lightness(colour, *_DARK_PAGE)))
        for colour in palette
    ]


def as_hex(colour: Color) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def with_lightness(colour: Color, low: float, high: float) -> Float[np.ndarray, " 3"]:
    """A colour, red, green and blue from 0 to 1, its lightness in OKLab brought between `low` and `high` (0 to 1)."""
    lab = _TO_LAB @ np.cbrt(_TO_CONE @ _linear(np.asarray(colour) / 255))
    bounded = np.asarray([np.clip(lab[0], low, high), lab[1], lab[2]])
    # Less chroma, until the screen can show it.
    for chroma in np.linspace(1, 0, 21):
        linear = np.linalg.inv(_TO_CONE) @ (np.linalg.inv(_TO_LAB) @ (bounded * [1, chroma, chroma])) ** 3
        if linear.min() > -1e-3 and linear.max() < 1 + 1e-3:
            break
    return _encoded(linear.clip(0, 1))


def _linear(values: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Light, from the values of sRGB (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encoded(light: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _hex(values: Float[np.ndarray, " 3"]) -> str:
    red, green, blue = (round(255 * float(value)) for value in values.clip(0, 1))
    return as_hex((red, green, blue))
