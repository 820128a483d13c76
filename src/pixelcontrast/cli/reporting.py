"""Report: one page that shows runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, or a folder of runs such as that of `compare` (ARM/seed_N).",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            help="File to write. By default report.html in the folder, or here for several.", show_default=False
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the page. By default model and data set.")] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Show RUN/evaluations/NAME, as `evaluate` wrote it, instead of the training's own."
        ),
    ] = None,
) -> None:
    """Write one HTML file that shows a run, or several beside each other; it opens offline.

    Runs that differ in their seed alone are shown as mean and spread. `pixelcontrast embed RUN` before it adds maps.
    """
    from pixelcontrast.report.page import write_report

    path = output or (runs[0] if len(runs) == 1 else Path()) / "report.html"
    written = write_report(runs, path, title=title, evaluation=evaluation)
    for note in written.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {written.path} ({written.num_bytes / 1e6:.1f} MB)")
