"""Train: a recipe to a run folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelcontrast.errors import RecipeError, RunError

if TYPE_CHECKING:
    from pixelcontrast.recipe.root import Recipe

RECIPE_HELP = "Name of a shipped recipe (see `pixelcontrast list`), or path of a .yaml file."
SET_HELP = (
    "Change an option, such as data.batch_size=4, loss.0.weight=2, model.head=fcn or contrast=null; the value is YAML."
    " base=contrast/released lays a whole recipe on this one. Repeatable, in order."
)
DATA_HELP = "Change an option of data, such as data.root=PATH. Repeatable, in order."
# Processes that Lightning starts beside this one find the run folder here.
_RUN_DIR = "PIXELCONTRAST_RUN_DIR"

Recipes = Annotated[str, typer.Argument(metavar="RECIPE", help=RECIPE_HELP, show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP, show_default=False)]
DataOverrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=DATA_HELP, show_default=False)
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as `train` wrote it.", show_default=False)]


def train(
    recipe: Recipes,
    *,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Run folder. By default the first free of runs/RECIPE/1, 2, ...")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes, memory and time per step, picture the first batch, stop.")
    ] = False,
    print_recipe: Annotated[
        bool, typer.Option("--print-recipe", help="Print the recipe with every option resolved, stop.")
    ] = False,
) -> None:
    """Train a recipe; evaluate at the end; write scores, pictures and the deployed weights."""
    from pixelcontrast.recipe.root import dump, load

    loaded = load(recipe, overrides or ())
    if print_recipe:
        typer.echo(dump(loaded), nl=False)
        return
    from rich.console import Console

    console = Console()
    runs = Path("runs") / recipe_title(recipe)
    if dry_run:
        from pixelcontrast.engine.planning import plan

        plan(loaded, picture=(run_dir.parent if run_dir else runs) / "first_batch.png", console=console)
        return
    from pixelcontrast.engine.training import train as train_recipe

    folder = _run_folder(run_dir, runs, resume=resume)
    if resume:
        require_same_run(folder, loaded)
    scores = train_recipe(loaded, recipe_text=dump(loaded), run_dir=folder, resume=resume, console=console)
    console.print(scores.table(f"validation after {scores.step} steps"))
    console.print(f"run folder: {folder}", highlight=False, soft_wrap=True)


def recipe_of_run(run: Path, overrides: list[str] | None) -> Recipe:
    """The recipe of a run that has its weights, with changes of where its data lies.

    Raises:
        UserError: If it is no such run, or something else than `data` is changed.
    """
    from pixelcontrast.engine.run_folder import RunFolder
    from pixelcontrast.recipe.root import load

    require_sections(overrides or (), "data")
    folder = RunFolder(run)
    folder.require_weights()
    if not folder.recipe.exists():
        raise RunError(f"{run} has no recipe.yaml, which says what data it was trained on; expected a run folder.")
    return load(str(folder.recipe), overrides or ())


def recipe_title(recipe: str) -> str:
    """Folder below runs/ for a recipe: a shipped one's name, or a file's stem."""
    if not recipe.endswith((".yaml", ".yml")):
        return recipe
    return Path(recipe).name.rpartition(".")[0].strip(".") or "recipe"


def _run_folder(run_dir: Path | None, runs: Path, *, resume: bool) -> Path:
    from pixelcontrast.engine.run_folder import next_run_folder

    if run_dir is not None:
        return run_dir
    if _RUN_DIR in os.environ and "LOCAL_RANK" in os.environ:
        return Path(os.environ[_RUN_DIR])
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError("several processes share one run folder; name it with --run-dir")
    used = sorted((p for p in runs.glob("*") if p.name.isdecimal()), key=lambda p: int(p.name)) if resume else []
    folder = used[-1] if used else next_run_folder(runs)
    os.environ[_RUN_DIR] = str(folder)
    return folder


def require_same_run(folder: Path, recipe: Recipe) -> None:
    """A resumed run must be the run that was begun; where and how fast it runs may change."""
    from pixelcontrast.recipe.difference import changed_since

    begun = folder / "recipe.yaml"
    if changed := changed_since(begun, recipe):
        listed = "\n".join(f"  {line}" for line in changed)
        raise RunError(
            f"{folder} was begun with another recipe; it differs in\n{listed}\n"
            f"Go on with `pixelcontrast train {begun} --run-dir {folder} --resume`, or choose another --run-dir."
        )


def require_sections(overrides: Sequence[str], *sections: str) -> None:
    """Refuse changes of what made a network what it is.

    Raises:
        RecipeError: If a `--set` is of another section.
    """
    for assignment in overrides:
        if assignment.partition("=")[0].split(".")[0].strip() not in sections:
            known = " and ".join(f"{section}.*" for section in sections)
            raise RecipeError(f"--set {assignment}: only {known} can be changed; the rest is the trained network's")
