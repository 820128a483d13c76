"""Export: a run's network in a file that runs elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pixelcontrast.cli.running import Run


class Format(StrEnum):
    """What can be written."""

    SAFETENSORS = "safetensors"
    TORCH_EXPORT = "torch_export"
    ONNX = "onnx"


def export(
    run: Run,
    *,
    format: Annotated[
        Format,
        typer.Option(
            help="`safetensors`: a folder for Segmentor.from_pretrained and `predict`; `torch_export`: a graph for"
            " torch.export.load; `onnx`: a graph for onnxruntime and others.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="File to write, .pt2 or .onnx; for safetensors the folder.", show_default=False)
    ],
    argmax: Annotated[
        bool, typer.Option("--argmax", help="Let the graph give class ids instead of logits.", show_default=False)
    ] = False,
) -> None:
    """Write a run's network, run what was written, and compare it with the network in PyTorch."""
    from pixelcontrast.engine.run_folder import RunFolder
    from pixelcontrast.errors import RunError
    from pixelcontrast.export import export_model
    from pixelcontrast.files import make_folder
    from pixelcontrast.nn.segmentor import Segmentor

    if format is not Format.SAFETENSORS and output.is_dir():
        raise RunError(f"--output {output} is a folder; name the file to write, such as {output}/network.onnx")
    make_folder(output if format is Format.SAFETENSORS else output.parent)
    segmentor = Segmentor.from_pretrained(RunFolder(run).require_weights())
    report = export_model(segmentor, output, format=format.value, argmax=argmax)
    typer.echo(f"written: {report.path} ({report.num_bytes / 1e6:.1f} MB)")
    what = "share of pixels of another class" if argmax else "largest difference of a logit"
    typer.echo(f"run and compared with the network in PyTorch: {what} {report.difference:.2g}")
    if report.smallest_side > 1:
        mean, std = ([float(f"{value:.4g}") for value in values] for values in (segmentor.mean, segmentor.std))
        rgb = segmentor.bands is None
        scale = "RGB divided by 255" if rgb else "bands in the units of their files (8 bits divided by 255)"
        typer.echo(f"input: images of any batch, height and width of at least {report.smallest_side}, normalised:")
        typer.echo(f"  {scale}, minus {mean}, divided by {std}; the file says so, too, and the classes")
