"""What `export` writes is run and compared, and an exported folder is as good as the run it came from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from pixelcontrast.cli.app import app
from pixelcontrast.nn.costs import LISTED
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.ops.resize import resize_logits


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder as far as the network is concerned."""
    palette = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    segmentor = Segmentor(ModelOptions(backbone="test_resnet", head=FCN()), 3, class_names="abc", palette=palette)
    segmentor.save_pretrained(tmp_path / "run")
    return tmp_path / "run"


def test_an_exported_folder_loads_and_predicts_as_the_run_does(run_dir: Path, tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    result = command("export", run_dir, "--format", "safetensors", "--output", exported)
    assert result.exit_code == 0
    assert "largest difference of a logit 0" in result.stdout
    image = torch.randn(1, 3, 64, 64)
    one, two = (Segmentor.from_pretrained(folder)(image).logits for folder in (run_dir, exported))
    assert torch.equal(one, two)

    picture = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(picture)
    for folder in (run_dir, exported):
        assert command("predict", folder, picture, "--output", tmp_path / "of" / folder.name).exit_code == 0
    files = [sorted((tmp_path / "of" / name).rglob("*.png")) for name in ("run", "exported")]
    assert len(files[0]) == 3
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--format", "onnx", "--output", "model.bin"], "ends in .onnx"),
        (["--format", "safetensors", "--output", "model", "--argmax"], "expected a format with a graph"),
        (["--format", "onxx", "--output", "model.onnx"], "onxx"),
        (["--format", "onnx"], "--output"),
        (["--format", "onnx", "--output", "folder.onnx"], "folder.onnx is a folder; name the file"),
        (["--format", "onnx", "--output", "file/model.onnx"], "file cannot be made a folder"),
        (["--format", "safetensors", "--output", "file"], "file cannot be made a folder"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    result = command("export", run_dir, *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    result = command("export", tmp_path, "--format", "safetensors", "--output", tmp_path / "exported")
    assert result.exit_code == 2
    assert "no weights.safetensors" in result.stderr


@pytest.mark.compiled
@pytest.mark.parametrize("argmax", [False, True])
def test_a_program_is_run_compared_and_computes_what_the_network_does(
    run_dir: Path, tmp_path: Path, argmax: bool
) -> None:
    file = tmp_path / "model.pt2"
    result = command("export", run_dir, "--format", "torch_export", "--output", file, *(["--argmax"] if argmax else []))
    assert result.exit_code == 0
    assert "compared with the network in PyTorch" in result.stdout
    assert "height and width of at least 33" in result.stdout
    image = torch.randn(1, 3, 45, 70)
    output = torch.export.load(file).module()(image)
    logits = resize_logits(Segmentor.from_pretrained(run_dir)(image).logits, (45, 70))
    torch.testing.assert_close(output, logits.argmax(1) if argmax else logits, rtol=0, atol=1e-5)


@pytest.mark.compiled
@pytest.mark.slow
def test_onnx_is_run_compared_and_computes_what_the_network_does(run_dir: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file = tmp_path / "model.onnx"
    result = command("export", run_dir, "--format", "onnx", "--output", file, "--argmax")
    assert result.exit_code == 0
    assert "share of pixels of another class" in result.stdout
    image = np.zeros((2, 3, 50, 97), np.float32)
    (classes,) = runtime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"image": image})
    assert classes.shape == (2, 50, 97)


def test_list_models_says_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelcontrast.nn.costs.LISTED", LISTED[:1])
    shown = command("list", "models").stdout
    (line,) = (line for line in shown.splitlines() if line.strip().startswith("hrnet_w18_small"))
    assert "1.54 M" in line
    assert "16.7 G" in line
    assert "FLOPs" not in command("list").stdout
