"""What is wrong with a data set, or unusual about it, drawn from its facts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pixelcontrast.data.check.facts import SplitFacts
from pixelcontrast.data.labels import IGNORE_INDEX, LabelSpace, lost_foreground
from pixelcontrast.errors import DataError, LabelFormError, LabelIdError, UnreadableFileError

Severity = Literal["error", "warning", "note"]
TRAINED_ON = ("train", "val")  # the splits that a run needs

KINDS: dict[str, Severity] = {
    "split not there": "error",
    "unpaired file": "error",
    "unreadable file": "error",
    "wrong form of labels": "error",
    "unknown label id": "error",
    "unusable sample": "error",
    "no labels": "error",
    "nothing labelled": "error",
    "mask of 0 and 255": "error",
    "duplicate between splits": "error",
    "unusual count": "warning",
    "absent class": "warning",
    "class without training pixels": "warning",
    "all-void image": "warning",
    "duplicate within a split": "warning",
    "turned by EXIF": "warning",
    "optional split not there": "note",
}
_OF_ERRORS: tuple[tuple[type[DataError], str], ...] = (
    (UnreadableFileError, "unreadable file"),
    (LabelFormError, "wrong form of labels"),
    (LabelIdError, "unknown label id"),
    (DataError, "unusable sample"),
)


@dataclass(frozen=True)
class Finding:
    """Something about a data set that its owner should know.

    Attributes:
        kind: One of `KINDS`, which says how grave it is.
        split: Where; empty if it concerns all of them.
        message: What is so and what to do, on one line.
        details: The single files or names, all of them.
    """

    kind: str
    split: str
    message: str
    details: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return KINDS[self.kind]


def of_split(facts: SplitFacts, *, published: Sequence[int]) -> Iterator[Finding]:
    """Yield what one split shows by itself.

    Args:
        facts: The split.
        published: Numbers of images that releases of this split have; none if it is not known.
    """
    for leftover in facts.leftovers:
        yield Finding("unpaired file", facts.split, leftover.message, tuple(map(str, leftover.files)))
    yield from _of_errors(facts)
    yield from _of_labels(facts)
    if published and facts.num_images not in published:
        usual = " or ".join(map(str, published))
        message = f"{facts.num_images} images; the published split has {usual}. Is part of the download missing?"
        yield Finding("unusual count", facts.split, message)
    twice = [names for names in _names_by_pixels([facts]).values() if len(names) > 1]
    if twice:
        message = f"{len(twice)} images occur more than once, pixel for pixel, and so weigh more in training"
        yield Finding("duplicate within a split", facts.split, message, tuple(" = ".join(names) for names in twice))
    if facts.turned:
        message = (
            f"{len(facts.turned)} images have a camera's note (EXIF) to be shown turned or mirrored, which is not "
            "followed: labels drawn on what a viewer shows do not fit them. Store both as they are to be seen"
        )
        yield Finding("turned by EXIF", facts.split, message, facts.turned)


def between_splits(splits: Sequence[SplitFacts]) -> Iterator[Finding]:
    """Yield what only several splits together show."""
    shared = [
        names
        for names in _names_by_pixels(splits).values()
        if len({name.partition("/")[0] for name in names}) > 1  # names start with their split
    ]
    if shared:
        message = (
            f"{len(shared)} images are in more than one split, pixel for pixel: scores on one would be of images "
            "learnt by heart. Take them out of one"
        )
        yield Finding("duplicate between splits", "", message, tuple(" = ".join(names) for names in shared))
    by_name = {facts.split: facts for facts in splits}
    if "train" in by_name:
        trained = by_name["train"].counts
        for facts in splits:
            pairs = zip(facts.counts.names, facts.counts.pixels.tolist(), trained.pixels.tolist(), strict=True)
            unseen = tuple(name for name, here, there in pairs if here and not there)
            if unseen and trained.pixels.any():
                message = f"{len(unseen)} classes are scored here, but no training pixel has them: {', '.join(unseen)}"
                yield Finding("class without training pixels", facts.split, message, unseen)
    yield from _of_masks(splits)


def _of_errors(facts: SplitFacts) -> Iterator[Finding]:
    grouped: dict[str, list[DataError]] = defaultdict(list)
    for error in facts.errors:
        grouped[next(kind for cls, kind in _OF_ERRORS if isinstance(error, cls))].append(error)
    for kind, errors in grouped.items():
        message = f"{len(errors)} of {facts.num_images} images cannot be used"
        if kind == "unknown label id":
            message += f": {_ids_of(errors)}"
        yield Finding(kind, facts.split, message, tuple(map(str, errors)))


def _ids_of(errors: Sequence[DataError]) -> str:
    pixels: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for error in errors:
        if isinstance(error, LabelIdError):
            pixels.update(error.ids)
            files.update(error.ids.keys())
    by_size = sorted(pixels, key=lambda value: (len(value), value))  # 9 before 10
    return ", ".join(f"{value} ({pixels[value]} pixels in {files[value]} files)" for value in by_size)


def _of_labels(facts: SplitFacts) -> Iterator[Finding]:
    without = tuple(image.name for image in facts.images if image.pixels is None)
    if without and facts.split in TRAINED_ON:
        yield Finding("no labels", facts.split, f"{len(without)} images have no labels", without)
    if facts.counts.num_images == 0:
        return
    if not facts.counts.pixels.any():
        message = "no pixel of any image has a class: every id in the files is ignored"
        yield Finding("nothing labelled", facts.split, message)
        return
    void = tuple(image.name for image in facts.images if image.is_void)
    if void:
        yield Finding("all-void image", facts.split, f"{len(void)} images have no pixel with a class", void)
    if absent := facts.counts.absent:
        message = f"{len(absent)} of {len(facts.counts.names)} classes have no pixel: {', '.join(absent)}"
        yield Finding("absent class", facts.split, message, absent)


def _of_masks(splits: Sequence[SplitFacts]) -> Iterator[Finding]:
    """Masks of 0 and 255 whose 255, meant as a class, is ignored."""
    seen = {label for facts in splits for image in facts.images for label in image.pixels or {}}
    space = splits[0].label_space if splits else LabelSpace(("",), ((0, 0, 0),))
    if seen == {0, IGNORE_INDEX} and space.num_classes > 1:
        yield Finding("mask of 0 and 255", "", f"in every image {lost_foreground(space.names)}")


def _names_by_pixels(splits: Sequence[SplitFacts]) -> Mapping[bytes, list[str]]:
    names: dict[bytes, list[str]] = defaultdict(list)
    for facts in splits:
        for image in facts.images:
            names[image.digest].append(f"{facts.split}/{image.name}")
    return names
