"""Explore: a local page on which one clicks a pixel and sees its kin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelcontrast.cli.running import DataOverrides, recipe_of_run

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN [RUN2]", help="Run folder, and another to look at beside it.", show_default=False),
]


def explore(
    runs: Runs,
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen at; any other than the default lets other machines see the data.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="By default the first free one from 7860 on.", show_default=False),
    ] = None,
    overrides: DataOverrides = None,
) -> None:
    """Open a local page: click a pixel, and see what else is like it, in this image, in others, and in training.

    Neighbours in the training images need an index: `pixelcontrast embed RUN --index`. See docs/explore.md.
    """
    from pixelcontrast.errors import RunError
    from pixelcontrast.explore.serving import require_gradio, serve

    if len(runs) > 2:
        raise RunError(f"expected one run, or two to look at side by side, got {len(runs)}")
    require_gradio()
    recipes = [recipe_of_run(run, overrides) for run in runs]
    from pixelcontrast.explore.desk import Desk
    from pixelcontrast.explore.runs import ExploredRun

    desk = Desk([ExploredRun(run, recipe) for run, recipe in zip(runs, recipes, strict=True)])
    desk.splits.require_one()
    for explored in desk.runs:
        if explored.index is None:
            typer.echo(f"{explored.path} has no index of training images; make one: "
                       f"pixelcontrast embed {explored.path} --index", err=True)  # fmt: skip
    serve(desk, data=recipes[0].data.name, host=host, port=port, say=typer.echo)
