"""A check as tables for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from pixelcontrast.data.check.facts import SplitFacts
from pixelcontrast.data.check.findings import Finding
from pixelcontrast.data.check.run import Check

SHOWN = 3  # sizes of images, and details of a finding, that a terminal is given


def split_table(check: Check) -> Table:
    """Images, sizes and ignored pixels of each split."""
    table = Table(title=f"{check.data}: splits", title_justify="left")
    table.add_column("split")
    for column in ("images", "with labels", "unusable", "ignored pixels %"):
        table.add_column(column, justify="right")
    table.add_column("height x width")
    for facts in check.splits:
        counts = facts.counts
        total = int(counts.pixels.sum()) + counts.ignored
        table.add_row(
            facts.split,
            str(facts.num_images),
            str(counts.num_images),
            str(len(facts.errors)),
            f"{100 * counts.ignored / total:.2f}" if total else "",
            _sizes(facts),
        )
    return table


def class_table(check: Check) -> Table:
    """Share of the labelled pixels, and number of images, of each class in each split."""
    table = Table(title=f"{check.data}: classes", title_justify="left")
    table.add_column("class")
    for facts in check.splits:
        table.add_column(f"{facts.split}: pixels %", justify="right")
        table.add_column("images", justify="right")
    for number, name in enumerate(check.splits[0].label_space.names):
        row = [escape(name)]
        for facts in check.splits:
            images = int(facts.counts.images[number])
            row += [f"{100 * float(facts.counts.shares[number]):.3f}" if images else "absent", str(images)]
        table.add_row(*row)
    return table


def finding_lines(finding: Finding) -> Iterator[str]:
    """A finding on one line, and the first few of its details on one each."""
    where = f"{finding.split}: " if finding.split else ""
    yield f"{finding.severity}: {where}{finding.kind}: {finding.message}"
    yield from (f"    {detail}" for detail in finding.details[:SHOWN])
    if len(finding.details) > SHOWN:
        yield f"    and {len(finding.details) - SHOWN} more"


def as_json(check: Check) -> dict[str, Any]:
    """Everything a check found, as plain values: pixels and images by class, sizes, statistics, findings in full."""
    return {
        "data": check.data,
        "errors": check.number_of("error"),
        "warnings": check.number_of("warning"),
        "classes": list(check.splits[0].label_space.names),
        "splits": {facts.split: _split_json(facts) for facts in check.splits},
        "findings": [
            {
                "severity": finding.severity,
                "kind": finding.kind,
                "split": finding.split,
                "message": finding.message,
                "details": list(finding.details),
            }
            for finding in check.findings
        ],
    }


def _split_json(facts: SplitFacts) -> dict[str, Any]:
    counts = facts.counts
    mean, deviation = facts.statistics
    classes = zip(counts.names, counts.pixels.tolist(), counts.shares.tolist(), counts.images.tolist(), strict=True)
    return {
        "images": facts.num_images,
        "labelled_images": counts.num_images,
        "unusable_images": len(facts.errors),
        "sizes": {f"{height}x{width}": number for (height, width), number in facts.sizes.items()},
        "ignored_pixels": counts.ignored,
        "band_mean": mean,
        "band_standard_deviation": deviation,
        "classes": {
            name: {"pixels": pixels, "share": share, "images": images} for name, pixels, share, images in classes
        },
    }


def _sizes(facts: SplitFacts) -> str:
    shown = [f"{height}x{width} ({number})" for (height, width), number in list(facts.sizes.items())[:SHOWN]]
    more = len(facts.sizes) - SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
