"""What is exported computes what the network computes, and holds no trace of the contrast that trained it."""

import importlib
import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from pixelcontrast import export
from pixelcontrast.contrast import PixelContrast
from pixelcontrast.errors import RunError
from pixelcontrast.export import Deployed, export_model, trace
from pixelcontrast.losses import CrossEntropy
from pixelcontrast.nn.heads import FCN, OCR, Head
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor

HEADS = [head() for head in get_args(Head)]


def small(head: Head) -> Segmentor:
    return Segmentor(ModelOptions(backbone="test_resnet", head=head, auxiliary=True), 3)


def trained(*, contrast: bool) -> Segmentor:
    torch.manual_seed(0)
    segmentor = small(OCR())
    criterion = PixelContrast(segmentor.feature_channels, 3) if contrast else None
    optimizer = torch.optim.SGD(segmentor.parameters(), lr=0.01)
    labels = torch.randint(0, 3, (2, 64, 64))
    for _ in range(2):
        output = segmentor(torch.randn(2, 3, 64, 64))
        loss = CrossEntropy()(output.logits, labels)
        if criterion is not None:
            loss = loss + criterion(output.features, labels, output.logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return segmentor


def graph(segmentor: Segmentor) -> list[tuple[str, str, str, str]]:
    program = trace(Deployed(segmentor))
    return [(node.op, node.name, str(node.target), str(node.args)) for node in program.graph.nodes]


def test_a_folder_is_read_back_exactly(tmp_path: Path) -> None:
    report = export_model(small(FCN()), tmp_path / "folder", format="safetensors")
    assert report.difference == 0.0
    assert report.num_bytes == sum(each.stat().st_size for each in report.path.iterdir())


@pytest.mark.parametrize("format", ["torch_export", "onnx"])
def test_the_suffix_is_the_formats(tmp_path: Path, format: str) -> None:
    with pytest.raises(RunError, match="expected a file that ends in"):
        export_model(small(FCN()), tmp_path / "model.bin", format=format)


def test_argmax_needs_a_graph(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a format with a graph"):
        export_model(small(FCN()), tmp_path, format="safetensors", argmax=True)


def test_contrast_adds_no_weight() -> None:
    with_contrast, without = (trained(contrast=each).state_dict() for each in (True, False))
    assert {name: x.shape for name, x in with_contrast.items()} == {name: x.shape for name, x in without.items()}
    assert any(not torch.equal(with_contrast[name], without[name]) for name in without)


@pytest.mark.compiled
def test_the_graph_is_the_same_node_for_node_with_contrast_and_without() -> None:
    assert graph(trained(contrast=True)) == graph(trained(contrast=False))


@pytest.mark.compiled
@pytest.mark.slow
def test_the_onnx_graph_is_the_same_node_for_node_with_contrast_and_without(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    graphs = []
    for contrast in (True, False):
        report = export_model(trained(contrast=contrast), tmp_path / f"{contrast}.onnx", format="onnx")
        nodes = onnx.load(report.path).graph.node
        graphs.append([(node.op_type, list(node.input), list(node.output)) for node in nodes])
    assert len(graphs[0]) > 100
    assert graphs[0] == graphs[1]


@pytest.mark.compiled
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_a_program_takes_any_batch_and_size(tmp_path: Path, head: Head) -> None:
    report = export_model(small(head), tmp_path / "model.pt2", format="torch_export")
    assert report.difference < 1e-5
    assert report.smallest_side == 33


@pytest.mark.compiled
def test_graphs_say_what_images_and_classes_they_are_for(tmp_path: Path) -> None:
    segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 3, class_names=("road", "sky", "tree"))
    files = dict.fromkeys(("mean", "std", "class_names"), "")
    export_model(segmentor, tmp_path / "model.pt2", format="torch_export")
    torch.export.load(tmp_path / "model.pt2", extra_files=files)
    facts = [files]
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):
        report = export_model(segmentor, tmp_path / "model.onnx", format="onnx")
        facts.append(
            importlib.import_module("onnxruntime").InferenceSession(report.path).get_modelmeta().custom_metadata_map
        )
    for each in facts:
        assert json.loads(each["class_names"]) == ["road", "sky", "tree"]
        assert tuple(json.loads(each["mean"])) == segmentor.mean
        assert tuple(json.loads(each["std"])) == segmentor.std


@pytest.mark.compiled
@pytest.mark.parametrize("argmax", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_onnx_takes_any_batch_and_size(tmp_path: Path, argmax: bool) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    report = export_model(small(FCN()), tmp_path / "model.onnx", format="onnx", argmax=argmax)
    assert report.difference < 1e-4


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["test_convnext", "mobilenetv3_small_100", "hrnet_w18_small", "resnet18d"])
def test_onnx_of_each_convolutional_family(tmp_path: Path, backbone: str) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    segmentor = Segmentor(ModelOptions(backbone=backbone), 3)
    assert export_model(segmentor, tmp_path / "model.onnx", format="onnx").difference < 1e-4


@pytest.mark.compiled
def test_a_backbone_of_permuted_maps_is_exported_for_any_size(tmp_path: Path) -> None:
    segmentor = Segmentor(ModelOptions(backbone="test_convnext", head=FCN()), num_classes=3)
    assert export_model(segmentor, tmp_path / "model.pt2", format="torch_export").difference < 1e-4


@pytest.mark.compiled
def test_a_program_that_computes_something_else_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("old")
    write = export._write_program

    def half(*arguments: object) -> torch.nn.Module:
        program = write(*arguments)
        return lambda image: program(image) * 0.5

    monkeypatch.setattr(export, "_write_program", half)
    with pytest.raises(RunError, match="what was written differs from the network by"):
        export_model(small(FCN()), path, format="torch_export")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]
