"""Checks a whole data set: opens its splits, reads every file, and says what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pixelcontrast.data.check.facts import SplitFacts, gather
from pixelcontrast.data.check.findings import TRAINED_ON, Finding, Severity, between_splits, of_split
from pixelcontrast.data.options import DataOptions
from pixelcontrast.data.sources import Found
from pixelcontrast.errors import DataError


@dataclass(frozen=True)
class Check:
    """What a check came to.

    Attributes:
        data: Name of the data set.
        splits: Those that are there.
        findings: The gravest first.
    """

    data: str
    splits: tuple[SplitFacts, ...]
    findings: tuple[Finding, ...]

    def number_of(self, severity: Severity) -> int:
        """How many findings are that grave."""
        return sum(finding.severity == severity for finding in self.findings)


def check_data(
    options: DataOptions, *, workers: int = 1, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Check:
    """Read every image and label of every split there is.

    Args:
        options: The data set.
        workers: Threads that read.
        progress: Called with split, images read and images of the split.

    Raises:
        DataError: If no split can be opened: then there is nothing to check.
    """
    found, findings = _open_all(options)
    splits = []
    for split, here in found.items():
        done = 0

        def count(split: str = split, total: int = len(here.dataset)) -> None:
            nonlocal done
            done += 1
            progress(split, done, total)

        facts = gather(here.dataset, split=split, leftovers=here.leftovers, workers=workers, progress=count)
        findings += of_split(facts, published=options.published_counts.get(split, ()))
        splits.append(facts)
    findings += between_splits(splits)
    order = ("error", "warning", "note")
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Check(str(getattr(options, "name")), tuple(splits), tuple(findings))  # noqa: B009 - each set's own Literal


def _open_all(options: DataOptions) -> tuple[dict[str, Found], list[Finding]]:
    found, findings = {}, []
    refusal: DataError | None = None
    for split in options.splits:
        try:
            found[split] = options.find(split)
        except DataError as error:
            refusal = refusal or error
            kind = "split not there" if split in TRAINED_ON else "optional split not there"
            findings.append(Finding(kind, split, str(error)))
    if not found and refusal is not None:
        raise refusal
    return found, findings
