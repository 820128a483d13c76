"""The check of a data set: every file read once, what is wrong told apart by kind, and a sheet to look at."""

from pixelcontrast.data.check.facts import ImageFacts, SplitFacts
from pixelcontrast.data.check.findings import KINDS, Finding
from pixelcontrast.data.check.run import Check, check_data
from pixelcontrast.data.check.sheet import contact_sheet

__all__ = ["KINDS", "Check", "Finding", "ImageFacts", "SplitFacts", "check_data", "contact_sheet"]
