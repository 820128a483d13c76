"""Run a step that was not finite again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pixelcontrast.cli.running import Run
from pixelcontrast.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from pixelcontrast.engine.diagnosis import Diagnosis

_MODULES_SHOWN = 8


def replay(
    run: Run,
    *,
    step: Annotated[
        int | None, typer.Option(min=0, help="Which of the kept steps; by default the last.", show_default=False)
    ] = None,
) -> None:
    """Run a step whose loss or gradient was not finite again, and show where that begins.

    Of a run on several ranks, each rank's batch. Exit code 1 if all of it comes out finite this time.
    """
    from rich.console import Console

    from pixelcontrast.engine.ranks import best_device
    from pixelcontrast.engine.replay import kept_files, replay_step
    from pixelcontrast.engine.run_folder import RunFolder
    from pixelcontrast.recipe.root import load

    folder = RunFolder(run)
    if not folder.recipe.exists():
        raise RunError(f"{run} has no recipe.yaml; expected a run folder, as `pixelcontrast train` wrote it.")
    recipe, device = load(str(folder.recipe)), best_device()
    console = Console(highlight=False, soft_wrap=True)
    found = False
    for file in kept_files(run, step):
        kept, diagnoses = replay_step(recipe, file, device=device)
        console.print(
            f"step {kept.step}, from {file}: {len(kept.batches)} batch(es) of {len(kept.class_names)} classes"
        )
        for number, diagnosis in enumerate(diagnoses):
            _show(diagnosis, number, console)
        found = found or diagnoses[-1].found
    if not found:
        console.print("all of it is finite here: it depended on the device, on other ranks or on compiled code")
        raise typer.Exit(1)


def _show(diagnosis: Diagnosis, number: int, console: Console) -> None:
    from rich.table import Table

    modules = Table(title=f"batch {number}: outputs in the order they are computed", title_justify="left")
    for column in ("module", "kind"):
        modules.add_column(column)
    for column in ("largest magnitude", "not finite %"):
        modules.add_column(column, justify="right")
    for seen in diagnosis.modules[-_MODULES_SHOWN:]:
        share = f"{100 * (1 - seen.finite):.3g}"
        style = "bold" if seen.finite < 1 else ""
        modules.add_row(seen.name, seen.kind, f"{seen.largest:.4g}", share, style=style)
    console.print(modules)
    for name, value in diagnosis.terms.items():
        console.print(f"  {name}: {value:.6g}")
    if diagnosis.gradients:
        console.print(f"  gradients not finite, first to last: {', '.join(diagnosis.gradients[:_MODULES_SHOWN])}")
    verdict = "not finite" if diagnosis.found else "finite"
    console.print(f"  {verdict}: {diagnosis.text()}")
