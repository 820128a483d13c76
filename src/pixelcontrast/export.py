"""Networks that leave the library: as a folder of safetensors, a torch.export program, or ONNX."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pixelcontrast.errors import RunError
from pixelcontrast.files import written_whole
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.resize import resize_logits

ExportFormat = Literal["safetensors", "torch_export", "onnx"]
LARGEST_BATCH, LARGEST_SIDE = 1024, 16384
# Two right ways to sum a convolution differ by this share of the largest logit.
TOLERANCE = 1e-3
SUFFIXES = {"torch_export": ".pt2", "onnx": ".onnx"}


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far it is from the network in PyTorch.

    Attributes:
        path: The file, or the folder for safetensors.
        num_bytes: Of the file, or of all files of the folder.
        difference: Largest absolute difference of a logit, over random images of two sizes and batches; with argmax
            inside, the share of pixels that are given another class.
        smallest_side: Least height and width of an image, in pixels; 1 takes any size.
    """

    path: Path
    num_bytes: int
    difference: float
    smallest_side: int


class Deployed(nn.Module):
    """A network as others run it: normalised images in, logits of the image's own size out, or class ids.

    Args:
        segmentor: The network; it is put into eval mode.
        argmax: Return class ids instead of logits.
    """

    def __init__(self, segmentor: Segmentor, *, argmax: bool = False) -> None:
        super().__init__()
        self.segmentor = segmentor.eval()
        self.argmax = argmax

    def forward(self, image: Float[Tensor, "b bands H W"]) -> Float[Tensor, "b k H W"] | Int[Tensor, "b H W"]:
        """Return what an image shows, at its own size."""
        logits = resize_logits(self.segmentor(image).logits, image.shape[-2:])
        return logits.argmax(dim=1) if self.argmax else logits


def export_model(
    segmentor: Segmentor, output: Path | str, *, format: ExportFormat, argmax: bool = False
) -> ExportReport:
    """Write a network in `format`, run what was written, and compare it with the network itself.

    Programs and ONNX files take any batch of normalised images, and any size of which both sides are longer than the
    backbone's largest stride (32 for most): padding and cropping are part of the graph. With them go `mean`, `std` and
    `class_names`, each as JSON: in an ONNX file's metadata, and as extra files of a program.

    Args:
        segmentor: The network, on any device; it is put into eval mode, and moved to the CPU if it is not there.
        output: The file to write, `.pt2` or `.onnx`; for safetensors the folder.
        format: `safetensors` for `Segmentor.from_pretrained`, `torch_export` for `torch.export.load`, `onnx`.
        argmax: Let the graph end with class ids instead of logits; not for safetensors, which hold no graph.

    Raises:
        RunError: If the network has no such graph, a library is missing, or what was written computes something else.
    """
    path = Path(output)
    if format == "safetensors":
        return _export_folder(segmentor, path, argmax=argmax)
    if path.suffix != SUFFIXES[format]:
        raise RunError(f"expected a file that ends in {SUFFIXES[format]} for {format}, got {path}")
    deployed = Deployed(segmentor.cpu(), argmax=argmax)
    program = trace(deployed)
    with written_whole(path) as partial:  # what computes something else is not left behind
        facts = _facts(segmentor)
        run: nn.Module
        if format == "onnx":
            run = _write_onnx(program, partial, facts, argmax=argmax)
        else:
            run = _write_program(program, partial, facts)
        difference = _difference(deployed, run)
    return ExportReport(path, path.stat().st_size, difference, _smallest_side(segmentor))


def trace(deployed: Deployed) -> torch.export.ExportedProgram:
    """Trace a network into a graph of a dynamic batch, height and width.

    Raises:
        RunError: If the backbone's code depends on the size of the image, as windowed transformers' does.
    """
    _check_traceable(deployed.segmentor)
    least = _smallest_side(deployed.segmentor)
    height, width = (torch.export.Dim(name, min=least, max=LARGEST_SIDE) for name in ("height", "width"))
    shapes: Any = ({0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH), 2: height, 3: width},)
    example = torch.zeros(2, deployed.segmentor.in_channels, 2 * least + 1, 3 * least + 2)
    try:
        with torch.no_grad(), _maps_in_plain_order(deployed.segmentor.backbone):
            return torch.export.export(deployed, (example,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # the tracer passes on whatever the traced code raises
        raise _untraceable(deployed.segmentor, str(error).strip().splitlines()[0]) from error


@contextmanager
def _maps_in_plain_order(backbone: nn.Module) -> Iterator[None]:
    """Copy maps that are views in another memory order, as ConvNeXt's are.

    An operator that asks for the order would bind the graph to the widths at which the answer is the same.
    """

    def copied(_module: nn.Module, _images: Any, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(each.contiguous() for each in maps)

    handle = backbone.register_forward_hook(copied)
    try:
        yield
    finally:
        handle.remove()


def _check_traceable(segmentor: Segmentor) -> None:
    """Refuse at once what the tracer would refuse after minutes."""
    modules = segmentor.backbone.modules()
    if any(hasattr(module, size) for module in modules for size in ("window_size", "partition_size")):
        raise _untraceable(segmentor, "its windows are laid out for one size at a time")


def _untraceable(segmentor: Segmentor, reason: str) -> RunError:
    return RunError(
        f"backbone '{segmentor.options.backbone}' cannot be traced for images of any size ({reason}); "
        "export it as safetensors, or train a convolutional backbone"
    )


def _smallest_side(segmentor: Segmentor) -> int:
    """A side of one cell would be traced as a constant, for a size of 1 is broadcast."""
    return int(segmentor.backbone.pad_multiple) + 1


def _export_folder(segmentor: Segmentor, folder: Path, *, argmax: bool) -> ExportReport:
    if argmax:
        raise RunError("expected a format with a graph (torch_export or onnx) for argmax, got safetensors")
    if folder.is_file():
        raise RunError(f"expected a folder to write safetensors, configuration and model card to, got a file: {folder}")
    segmentor.cpu().save_pretrained(folder)
    loaded = Deployed(Segmentor.from_pretrained(folder))
    num_bytes = sum(each.stat().st_size for each in folder.iterdir() if each.is_file())
    return ExportReport(folder, num_bytes, _difference(Deployed(segmentor), loaded), smallest_side=1)


def _facts(segmentor: Segmentor) -> dict[str, str]:
    """What a program that runs the graph must know, as JSON."""
    known = {"mean": segmentor.mean, "std": segmentor.std, "class_names": segmentor.class_names}
    return {name: json.dumps(list(values)) for name, values in known.items()}


def _write_program(program: torch.export.ExportedProgram, path: Path, facts: Mapping[str, str]) -> nn.Module:
    with path.open("wb") as file:  # a path that does not end in .pt2 makes torch warn
        torch.export.save(program, file, extra_files=dict(facts))
    with warnings.catch_warnings():  # torch 2.11 says so of the bytes that it has just read itself
        warnings.filterwarnings("ignore", message="The given buffer is not writable", category=UserWarning)
        with path.open("rb") as file:
            return torch.export.load(file).module()


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, facts: Mapping[str, str], *, argmax: bool
) -> OnnxModule:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter asks for it late, and less clearly
    except ImportError as error:
        raise RunError(
            f"ONNX needs {error.name}, which is not installed: pip install 'pixelcontrast[export]'"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations, which a user cannot act on
        graph = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=["image"],
            dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),  # their names in the file
            output_names=["classes" if argmax else "logits"],
            verbose=False,
        )
    assert graph is not None
    graph.model.metadata_props.update(facts)
    graph.save(path, external_data=False)
    return OnnxModule(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))


class OnnxModule(nn.Module):
    """An ONNX file that is called as a module."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session

    def forward(self, image: Float[Tensor, "b bands H W"]) -> Tensor:
        """Run onnxruntime on the CPU."""
        (output,) = self.session.run(None, {"image": image.numpy()})
        return torch.from_numpy(output)


def _difference(deployed: Deployed, written: nn.Module) -> float:
    """Compare on images unlike the one that was traced; raise RunError if they differ by more than rounding."""
    least = _smallest_side(deployed.segmentor)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    bands = deployed.segmentor.in_channels
    for shape in ((1, bands, least, 4 * least), (3, bands, 3 * least - 3, 2 * least)):
        image = torch.randn(shape, generator=generator)
        with torch.no_grad():
            expected, found = deployed(image), written(image)
        if deployed.argmax:
            difference, allowed = (expected != found).double().mean().item(), TOLERANCE
        else:
            difference = (expected - found).abs().max().item()
            allowed = TOLERANCE * max(1.0, expected.abs().max().item())
        if not difference <= allowed:
            raise RunError(f"what was written differs from the network by {difference:.3g}, more than {allowed:.3g}")
        worst = max(worst, difference)
    return worst
