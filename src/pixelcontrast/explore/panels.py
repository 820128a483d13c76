"""Answers as HTML; names of classes and files are text, whatever they hold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pixelcontrast.data.labels import LabelSpace
from pixelcontrast.explore.answers import Elsewhere, Kin, Layer, Reading, View
from pixelcontrast.explore.layers import HEAT_STOPS
from pixelcontrast.explore.runs import Kind
from pixelcontrast.explore.suspects import Suspect

TEMPLATES = Path(__file__).parent / "templates"
_TOP = 6  # probabilities that are listed
_WORDS: dict[View, str] = {
    "similarity": "cosine with the chosen pixel",
    "entropy": "entropy of the class probabilities, 1 where all classes are equally probable",
    "memory": "distance (1 - cosine) to the nearest row of the contrast's memory",
    "index": "distance (1 - cosine) to the nearest training pixel of the index",
}
_KINDS: dict[Kind, str] = {"features": "the tapped features", "projected": "the projected embeddings"}


def asset(name: str) -> str:
    """A file of the page: a style, a script, a piece of HTML without variables."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    for heat, stops in HEAT_STOPS.items():
        text = text.replace(f"RAMP_{heat.upper()}", ", ".join(f"#{stop}" for stop in stops))
    return text


class Panels:
    """Writes HTML for the classes of a label space."""

    def __init__(self, space: LabelSpace) -> None:
        self.space = space

    def head(self, *, runs: Sequence[str], data: str) -> str:
        """What is looked at."""
        return self._write("head.html", runs=runs, data=data, classes=self.space.num_classes)

    def scale(self, layer: Layer, view: View, legend: Sequence[tuple[int, float]]) -> str:
        """What the colours of a layer mean."""
        words = _WORDS.get(view, "")
        return self._write("scale.html", layer=layer, view=view, legend=legend, words=words)

    def reading(self, reading: Reading) -> str:
        """The most probable classes of a pixel."""
        order = reading.probabilities.argsort(descending=True, stable=True)[:_TOP].tolist()
        top = [(label, float(reading.probabilities[label])) for label in order]
        return self._write("reading.html", reading=reading, top=top)

    def hint(self) -> str:
        """What stands where kin will be, before a pixel is chosen."""
        return self._write("hint.html")

    def kin(self, regions: list[Kin] | str, pixels: list[Kin] | str) -> str:
        """Training regions and pixels that are like a pixel."""
        if isinstance(regions, str) and regions == pixels:
            return self._write("kin.html", groups=[("Nearest in the training images", regions)])
        return self._write(
            "kin.html", groups=[("Nearest training regions", regions), ("Nearest training pixels", pixels)]
        )

    def elsewhere(self, images: Sequence[Elsewhere]) -> str:
        """Other images with their heat."""
        return self._write("elsewhere.html", images=images)

    def suspects(
        self,
        suspects: Sequence[tuple[Suspect, str]] | str,
        *,
        total: int,
        unfiltered: int,
        regions: int,
        kind: Kind,
        split: str,
    ) -> str:
        """Training regions whose neighbours disagree with their label, each with its crop.

        Args:
            suspects: Those that are shown; or why there are none.
            total: How many are of the class and size that was asked for.
            unfiltered: How many there are of any.
            regions: How many were looked at.
            kind: Of the embeddings.
            split: Of the images.
        """
        return self._write(
            "suspects.html",
            suspects=suspects,
            total=total,
            unfiltered=unfiltered,
            regions=regions,
            kind=_KINDS[kind],
            split=split,
        )

    @cached_property
    def _environment(self) -> Environment:
        return Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def _write(self, template: str, **values: object) -> str:
        return self._environment.get_template(template).render(space=self.space, **values)
