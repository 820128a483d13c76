"""The terms a recipe can list. The union below is the list of them: a recipe's `loss` names its members."""

from __future__ import annotations

from pixelcontrast.losses.cross_entropy import CrossEntropy
from pixelcontrast.losses.dice import Dice
from pixelcontrast.losses.lovasz import Lovasz
from pixelcontrast.losses.ohem import OHEM
from pixelcontrast.losses.rmi import RMI

DenseTerm = CrossEntropy | OHEM | Dice | Lovasz | RMI

__all__ = ["OHEM", "RMI", "CrossEntropy", "DenseTerm", "Dice", "Lovasz"]
