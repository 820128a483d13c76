"""Compare ways to train: the full comparison, and the quickstart's pair of runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pixelcontrast.cli.running import Overrides, Recipes, recipe_title, require_same_run

_QUICKSTART = "synthetic/hrnet_w18_small"


def compare(
    recipe: Recipes,
    *,
    overrides: Overrides = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated; the first is what the others are compared with. `cross_entropy` is the recipe with"
            " contrast: null, `contrast` the recipe as it is (contrast at its defaults if it has none). By default"
            " these two, or all of the study.",
            show_default=False,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            help="Set of arms to choose from: the name of a shipped one (see `pixelcontrast list`), or a .yaml file.",
            show_default=False,
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: KEY=VALUE ...'",
            help="One arm more: the recipe with these options changed. Repeatable.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each arm; seeds count up from the recipe's.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; cores and GPUs are divided between them.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Folder. By default runs/compare/RECIPE.")] = None,
    commands: Annotated[
        bool,
        typer.Option(
            "--commands",
            help="Train nothing: print the command of each run that is not done, one a line, for a cluster's queue,"
            " and write the tables of the runs that are.",
        ),
    ] = False,
) -> None:
    """Train a recipe in several ways over several seeds, and judge the paired differences.

    What is done is not done again, what stopped goes on; a failed run is reported and the rest goes on.
    """
    from rich.console import Console

    from pixelcontrast.compare.arms import choose_arms
    from pixelcontrast.compare.plan import alone_in, prepare
    from pixelcontrast.compare.studies import load_study
    from pixelcontrast.compare.study import compare as compare_arms
    from pixelcontrast.compare.study import gather
    from pixelcontrast.compare.tables import as_markdown
    from pixelcontrast.recipe.root import load

    loaded = load(recipe, overrides or ())
    chosen = choose_arms(
        [name.strip() for name in (arms or "").split(",") if name.strip()],
        arm or (),
        loaded,
        study=load_study(study) if study else (),
    )
    folder = output or Path("runs") / "compare" / recipe_title(recipe) / (Path(study).stem if study else "")
    with alone_in(folder, partial(typer.echo, err=True)):
        plan = prepare(recipe, overrides or (), arms=chosen, num_seeds=seeds, first_seed=loaded.seed, output=folder)
        for warning in plan.warnings():
            typer.echo(f"warning: {warning}", err=True)
        if commands:
            gather(plan)
            for command in plan.commands():
                typer.echo(command)
            return
        comparison, failures = compare_arms(plan, parallel=jobs, console=Console(soft_wrap=True))
    typer.echo(as_markdown(comparison))
    typer.echo("written: " + ", ".join(str(folder / name) for name in ("compare.md", "compare.json", "report.html")))
    if failures:
        typer.echo(f"{failures} runs failed; the same command tries them again", err=True)
        raise typer.Exit(1)


def quickstart(
    *,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder of the two runs. By default the first free of runs/quickstart/1, 2, ...")
    ] = None,
) -> None:
    """Train the synthetic recipe twice, cross entropy alone and with contrast, and show both."""
    from rich.console import Console

    from pixelcontrast.compare.pair import table_of_two, tall_pictures
    from pixelcontrast.engine.run_folder import next_run_folder
    from pixelcontrast.engine.training import train
    from pixelcontrast.recipe.root import dump, load

    console = Console()
    folder = run_dir or next_run_folder(Path("runs") / "quickstart")
    recipes = {
        "cross entropy": load(_QUICKSTART, [*(overrides or ()), "contrast=null"]),
        "with contrast": load(_QUICKSTART, overrides or ()),
    }
    runs = {name: folder / name.replace(" ", "_") for name in recipes}
    scores = {}
    for name, recipe in recipes.items():
        console.rule(name)
        begun = (runs[name] / "recipe.yaml").exists()
        require_same_run(runs[name], recipe)
        scores[name] = train(recipe, recipe_text=dump(recipe), run_dir=runs[name], resume=begun, console=console)
    pictures = tall_pictures({name: run / "pictures" for name, run in runs.items()}, folder / "pictures")
    console.print(table_of_two(scores))
    console.print(
        f"{len(pictures)} pictures, both runs in each: open {folder / 'pictures'}", highlight=False, soft_wrap=True
    )
