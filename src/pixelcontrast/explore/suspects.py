"""Training regions that are probably labelled wrongly, and the files they are handed on in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from pixelcontrast.explore.disagreement import Disagreement
from pixelcontrast.explore.runs import TrainingIndex


@dataclass(frozen=True)
class Suspect:
    """A training region whose neighbours bear another label.

    Attributes:
        row: Of the index.
        image: Name of its image.
        label: Class id it bears.
        suggested: Class id that most of its neighbours against it bear.
        against: How many neighbours bear another label.
        asked: How many were asked.
        support: How many bear the suggested one.
        similarity: Mean cosine with those.
        agreement: Share of its pixels that the network gives its label.
        size: Number of pixels.
        box: Top, left, bottom, right in the labels.
    """

    row: int
    image: str
    label: int
    suggested: int
    against: int
    asked: int
    support: int
    similarity: float
    agreement: float
    size: int
    box: tuple[int, int, int, int]


def suspects_of(index: TrainingIndex, found: Disagreement) -> list[Suspect]:
    """The regions of an index that their neighbours speak against, the worst first."""
    stored = index.stored
    return [
        Suspect(
            row=row,
            image=index.names[int(stored.region_image[row])],
            label=int(stored.region_label[row]),
            suggested=int(found.suggested[row]),
            against=int(found.against[row]),
            asked=int(found.asked[row]),
            support=int(found.support[row]),
            similarity=float(found.similarity[row]),
            agreement=float(stored.region_agreement[row]),
            size=int(stored.region_size[row]),
            box=tuple(int(side) for side in stored.region_box[row]),  # type: ignore[arg-type]  # there are four
        )
        for row in found.suspects().tolist()
    ]


def as_csv(suspects: Sequence[Suspect], classes: Sequence[str]) -> str:
    """A line a suspect, under a line of headings."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(_HEADINGS), lineterminator="\n")
    writer.writeheader()
    for suspect in suspects:
        box = dict(zip(_SIDES, suspect.box, strict=True))
        writer.writerow(_entry(suspect, classes) | box)
    return file.getvalue()


def as_json(suspects: Sequence[Suspect], classes: Sequence[str], *, split: str) -> str:
    """An object that says of what split, and lists the suspects."""
    entries = [_entry(suspect, classes) | {"box": list(suspect.box)} for suspect in suspects]
    return json.dumps({"split": split, "suspects": entries}, indent=1, ensure_ascii=False) + "\n"


_SIDES = ("top", "left", "bottom", "right")
_HEADINGS = (
    "image", "label", "suggested", "neighbours_against", "neighbours_asked", "neighbours_for_suggested", "similarity",
    "network_agreement", "pixels", *_SIDES,
)  # fmt: skip


def _entry(suspect: Suspect, classes: Sequence[str]) -> dict[str, object]:
    return {
        "image": suspect.image,
        "label": classes[suspect.label],
        "suggested": classes[suspect.suggested],
        "neighbours_against": suspect.against,
        "neighbours_asked": suspect.asked,
        "neighbours_for_suggested": suspect.support,
        "similarity": round(suspect.similarity, 4),
        "network_agreement": round(suspect.agreement, 4),
        "pixels": suspect.size,
    }
