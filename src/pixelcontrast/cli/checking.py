"""Check: is a data set what it should be, before a night of training is spent on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelcontrast.cli.running import Overrides, recipe_title
from pixelcontrast.files import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from pixelcontrast.data.check import Check
    from pixelcontrast.data.options import DataOptions

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def check(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Name of a data set (see `pixelcontrast list data`), or a recipe, whose data is checked.",
            show_default=False,
        ),
    ],
    *,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for check.json and sheet.png. By default runs/check/DATA."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings, too, end in exit code 1.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read files; by default one a core.", show_default=False)
    ] = None,
) -> None:
    """Read every file of a data set; count, tell what is wrong, draw a sheet to look at.

    Exit codes: 0 sound, or warnings alone; 1 errors, or warnings with --strict; 2 wrong use, or nothing to check.
    """
    from rich.console import Console

    from pixelcontrast.data.check import contact_sheet
    from pixelcontrast.data.check.report import as_json
    from pixelcontrast.engine.pictures import save_picture
    from pixelcontrast.engine.provenance import core_count
    from pixelcontrast.recipe.root import load_data

    options = load_data(data, overrides or ())
    console = Console(soft_wrap=True)
    result = _checked(options, workers or core_count(), console)
    _show(result, console)
    folder = output or Path("runs") / "check" / recipe_title(data)
    write_text(folder / "check.json", json.dumps(as_json(result), indent=1) + "\n")
    datasets = {facts.split: options.find(facts.split).dataset for facts in result.splits}
    save_picture(folder / "sheet.png", contact_sheet(result.splits, datasets))
    errors, warnings = result.number_of("error"), result.number_of("warning")
    console.print(f"{errors} errors, {warnings} warnings; {folder / 'check.json'}, {folder / 'sheet.png'}")
    if errors or (strict and warnings):
        raise typer.Exit(1)


def _checked(options: DataOptions, workers: int, console: Console) -> Check:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pixelcontrast.data.check import check_data

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {split: bar.add_task(split, total=None, start=False) for split in options.splits}

        def show(split: str, done: int, total: int) -> None:
            if done == 1:
                bar.start_task(tasks[split])
            bar.update(tasks[split], completed=done, total=total)

        return check_data(options, workers=workers, progress=show)


def _show(result: Check, console: Console) -> None:
    from pixelcontrast.data.check.report import class_table, finding_lines, split_table

    console.print(split_table(result))
    console.print(class_table(result))
    for finding in result.findings:
        for line in finding_lines(finding):
            console.print(line, style=_STYLES[finding.severity], markup=False, highlight=False)
