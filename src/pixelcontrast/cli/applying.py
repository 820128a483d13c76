"""What one does with a trained network: evaluate, predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelcontrast.cli.running import require_sections
from pixelcontrast.errors import RecipeError, RunError

if TYPE_CHECKING:
    from pixelcontrast.nn.segmentor import Segmentor
    from pixelcontrast.recipe.root import Recipe

SOURCE_HELP = (
    "Run folder as `train` wrote it, folder as `export` wrote it, or file of weights (.safetensors, .pth, or .ckpt of a"
    " training)."
)
DATA_HELP = (
    "Name of a data set, where no recipe lies beside the weights or another one is meant; its options by"
    " --set data.KEY=VALUE."
)
RECIPE_HELP = "Recipe the weights were trained by, where none lies beside them: a shipped name or a .yaml file."

SET_HELP = "Change an option of data or evaluation, such as data.root=PATH or data.workers=8. Repeatable, in order."

Source = Annotated[Path, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)]
TrainedBy = Annotated[str | None, typer.Option("--recipe", metavar="RECIPE", help=RECIPE_HELP, show_default=False)]
Scales = Annotated[
    str | None,
    typer.Option(metavar="S,S,...", help="Predict the image at these scales, such as 0.5,1,2.", show_default=False),
]
Flip = Annotated[bool, typer.Option("--flip", help="Predict it mirrored as well, at each scale.", show_default=False)]
MultiScale = Annotated[
    bool,
    typer.Option(
        "--multi-scale", help="Short for --scales 0.5,0.75,1,1.25,1.5,1.75 --flip, as papers do.", show_default=False
    ),
]
Window = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Predict windows of this size that slide over the image.", show_default=False),
]
Overlap = Annotated[
    float | None,
    typer.Option(help="Share of a window that the next one covers again; 1/3 by default.", show_default=False),
]


def evaluate(
    source: Source,
    *,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    data: Annotated[str | None, typer.Option(metavar="DATA", help=DATA_HELP, show_default=False)] = None,
    recipe: TrainedBy = None,
    scales: Scales = None,
    flip: Flip = False,
    multi_scale: MultiScale = False,
    window: Window = None,
    overlap: Overlap = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder. By default evaluations/[STEM-][DATA-]SPLIT[-PROTOCOL] beside the weights.", show_default=False
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP, show_default=False)
    ] = None,
) -> None:
    """Score a network on a split: scores.json, counts by image, examples and pictures.

    By default each image is predicted once, whole, at its own size. Several processes share the work under torchrun.
    """
    from rich.console import Console

    from pixelcontrast.engine.networks import evaluation_beside, steps_trained
    from pixelcontrast.engine.run_folder import EvaluationFolder
    from pixelcontrast.engine.runs import evaluate_network
    from pixelcontrast.files import make_folder

    require_sections(overrides or (), "data", "evaluation")
    if not source.exists():
        raise RunError(f"no run folder at {source}; expected a run, an exported folder or a file of weights.")
    protocol = protocol_overrides(scales, window, overlap, flip=flip, multi_scale=multi_scale)
    changes = [*(overrides or ()), *protocol]
    trained_by = _recipe_of(source, recipe, data, changes)
    segmentor = _load(source, trained_by)
    resolved = trained_by or _data_alone(source, data, changes)
    if overlap is not None and resolved.evaluation.window is None:
        raise RecipeError("--overlap is that of windows, and images are taken whole; add --window HEIGHTxWIDTH")
    name = "-".join(part for part in (data, split, resolved.evaluation.name) if part)
    folder = evaluation_beside(source, name) if output is None else EvaluationFolder(output)
    make_folder(folder.path)
    console = Console()
    scores = evaluate_network(
        segmentor,
        resolved.data,
        resolved.evaluation,
        split=split,
        step=steps_trained(source),
        folder=folder,
        console=console,
    )
    if scores is not None:
        console.print(scores.table(f"{source}: {split}"))
        console.print(f"scores, counts, examples, pictures: {folder.path}", highlight=False, soft_wrap=True)


def predict(
    source: Source,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Images, videos, folders of them, or patterns such as 'a/**/*.jpg'.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option(help="Folder that takes a folder of each kind of output.", show_default=False)
    ],
    write: Annotated[
        list[str],
        typer.Option(
            metavar="KIND,...",
            help="What to write: labels (class ids), colour, overlay, probabilities (.npz of float16), cityscapes"
            " (label ids for its test server). Repeatable.",
        ),
    ] = ["labels,colour,overlay"],  # noqa: B006 - typer copies it
    batch_size: Annotated[int, typer.Option(min=1, help="Images of equal size that are predicted at once.")] = 4,
    recipe: TrainedBy = None,
    scales: Scales = None,
    flip: Flip = False,
    multi_scale: MultiScale = False,
    window: Window = None,
    overlap: Overlap = None,
) -> None:
    """Predict images and videos without labels, each under its own name and at its own size.

    Images of more than 4 million pixels are predicted in windows, whose overlap --overlap is too. Exit codes: 0 all
    predicted; 1 some files could not be read, and are listed; 2 wrong use.
    """
    from rich.console import Console

    from pixelcontrast.engine.inputs import find_inputs
    from pixelcontrast.engine.outputs import OutputWriter, choose_outputs
    from pixelcontrast.engine.runs import predict_with_network
    from pixelcontrast.files import make_folder
    from pixelcontrast.recipe.root import parse

    if recipe is not None and source.is_dir():
        raise RunError(f"--recipe is that of a file of weights; the folder {source} holds its own, so leave it out")
    kinds = choose_outputs([word.strip() for word in ",".join(write).split(",") if word.strip()])
    changes = protocol_overrides(scales, window, overlap, flip=flip, multi_scale=multi_scale)
    protocol = parse(
        "data: synthetic", changes, name="protocol"
    ).evaluation  # any data set: its files are not asked for
    segmentor = _load(source, _recipe_of(source, recipe, None, ()) if source.is_file() else None)
    found, writer = find_inputs(inputs, leave_out=output), OutputWriter(output, kinds, segmentor)
    make_folder(output)
    predicted = predict_with_network(
        segmentor,
        found,
        writer,
        protocol,
        batch_size=batch_size,
        console=Console(),
    )
    for message in predicted.skipped:
        typer.echo(f"skipped: {message}", err=True)
    windows = f" ({predicted.windowed} in windows, for their size)" if predicted.windowed else ""
    typer.echo(f"{predicted.written} images predicted{windows}, {len(predicted.skipped)} files skipped: {output}")
    if predicted.skipped:
        raise typer.Exit(1)


def protocol_overrides(
    scales: str | None, window: str | None, overlap: float | None, *, flip: bool, multi_scale: bool
) -> list[str]:
    """The short options of a protocol as `--set` says them.

    Raises:
        RecipeError: If one cannot be read, or two contradict each other.
    """
    if multi_scale and scales is not None:
        raise RecipeError("--multi-scale and --scales both say the scales; give one of them")
    changes = [f"evaluation.scales=[{scales}]"] if scales is not None else []
    if multi_scale:
        from pixelcontrast.engine.protocol import STANDARD_SCALES

        changes.append(f"evaluation.scales={list(STANDARD_SCALES)}")
    if flip or multi_scale:
        changes.append("evaluation.flip=true")
    if window is not None:
        height, cross, width = window.lower().partition("x")
        if not cross or not height.isdecimal() or not width.isdecimal():
            raise RecipeError(f"--window {window}: expected HEIGHTxWIDTH in pixels, such as 512x1024")
        changes.append(f"evaluation.window=[{height}, {width}]")
    if overlap is not None:
        changes.append(f"evaluation.overlap={overlap}")
    return changes


def _recipe_of(source: Path, recipe: str | None, data: str | None, overrides: Sequence[str]) -> Recipe | None:
    """What the weights were trained by, with another data set if one is named; None if that is not known."""
    from pixelcontrast.engine.networks import recipe_beside
    from pixelcontrast.recipe.root import load

    name = recipe or recipe_beside(source)
    if name is None:
        return None
    changes = [f"data={data}"] if data is not None else []
    if changes and load(str(name), changes).data.name != load(str(name)).data.name:
        changes.insert(0, "data.root=null")  # another data set lies elsewhere
    return load(str(name), [*changes, *overrides])


def _data_alone(source: Path, data: str | None, overrides: Sequence[str]) -> Recipe:
    from pixelcontrast.recipe.root import parse

    if data is None:
        raise RunError(
            f"{source} has no recipe.yaml beside it that says what data it was trained on; name the data set, such as "
            "--data camvid --set data.root=PATH (see `pixelcontrast list data`), or its recipe: --recipe NAME"
        )
    return parse(f"data: {data}", overrides, name="--data")


def _load(source: Path, trained_by: Recipe | None) -> Segmentor:
    from pixelcontrast.engine.networks import load_network, untrained_network

    if trained_by is None:
        return load_network(source)
    return load_network(source, untrained=lambda: untrained_network(trained_by.model, trained_by.data))
