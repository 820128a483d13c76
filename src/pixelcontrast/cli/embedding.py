"""Embed: pixels of a split as arrays, to be plotted or searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelcontrast.cli.running import DataOverrides, Run, recipe_of_run
from pixelcontrast.errors import RunError


def embed(
    run: Run,
    *,
    split: Annotated[
        str | None, typer.Option(help="Split of the data set. By default val; train for an index.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write. By default RUN/embeddings.npz or RUN/index.npz.", show_default=False),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="Write an index of pixels and regions, in which `explore` finds neighbours.")
    ] = False,
    pixels: Annotated[
        int | None,
        typer.Option(min=1, max=50_000, help="Pixels of all classes together. By default 1500; 10000 for an index."),
    ] = None,
    regions: Annotated[
        int | None,
        typer.Option(min=1, max=50_000, help="Regions of all classes together, for an index. By default 10000."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice: runs embedded under one seed show the same pixels.")] = 0,
    overrides: DataOverrides = None,
) -> None:
    """Write embeddings of a run's network: pixels of a split, equally many of each class, for `report` and for you.

    What the file holds is in docs/report.md.
    """
    from rich.console import Console

    from pixelcontrast.engine.embedding_files import Arrays
    from pixelcontrast.engine.embedding_splits import embed_split, index_split
    from pixelcontrast.engine.run_folder import RunFolder

    if regions is not None and not index:
        raise RunError("--regions are those of an index; add --index, or leave --regions out")
    recipe = recipe_of_run(run, overrides)
    console = Console()
    written: Arrays
    if index:
        path = output or RunFolder(run).index
        written = found = index_split(
            run,
            recipe,
            split or "train",
            pixels=pixels or 10_000,
            regions=regions or 10_000,
            seed=seed,
            console=console,
        )
        what = f"{len(found.pixel_label)} pixels and {len(found.region_label)} regions"
    else:
        path = output or RunFolder(run).embeddings
        written = chosen = embed_split(run, recipe, split or "val", pixels=pixels or 1500, seed=seed, console=console)
        what = f"{len(chosen.label)} pixels"
    written.save(path)
    size = path.stat().st_size / 1e6
    console.print(f"{what} of {len(written.names)} images: {path} ({size:.1f} MB)", highlight=False, soft_wrap=True)
