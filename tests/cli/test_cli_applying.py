"""`evaluate` and `predict` as they are called: from what they take a network, what they leave, how they exit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from dataset_layouts import BUILDERS
from pixelcontrast.cli.app import app
from pixelcontrast.cli.applying import protocol_overrides
from pixelcontrast.data import Camvid
from pixelcontrast.engine.protocol import STANDARD_SCALES, EvaluationOptions
from pixelcontrast.engine.scores import Scores
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.recipe.root import Recipe, dump, parse

MODEL = ModelOptions(backbone="test_resnet", head=FCN())


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture
def camvid(tmp_path: Path) -> Camvid:
    options = BUILDERS[Camvid](tmp_path / "data").options
    assert isinstance(options, Camvid)
    return options


@pytest.fixture
def run_dir(camvid: Camvid, tmp_path: Path) -> Path:
    """A run folder as far as an evaluation is concerned, of 7 steps."""
    torch.manual_seed(0)
    space = camvid.label_space
    segmentor = Segmentor(MODEL, space.num_classes, class_names=space.names, palette=space.palette).eval()
    segmentor.save_pretrained(tmp_path / "run")
    (tmp_path / "run" / "recipe.yaml").write_text(dump(Recipe(model=MODEL, data=camvid)))
    state = {f"segmentor.{key}": value for key, value in segmentor.state_dict().items()}
    (tmp_path / "run" / "checkpoints").mkdir()
    torch.save({"state_dict": state | {"contrast.x": torch.ones(1)}}, tmp_path / "run/checkpoints/step_00000007.ckpt")
    return tmp_path / "run"


def scores_in(folder: Path) -> Scores:
    assert {path.name for path in folder.iterdir()} == {"scores.json", "images.npz", "examples", "pictures"}
    return Scores.load(folder / "scores.json")


def test_a_run_an_export_and_files_of_weights_score_alike(run_dir: Path, camvid: Camvid, tmp_path: Path) -> None:
    data = ("--set", f"data.root={camvid.root}", "--set", "data.workers=0")
    assert command("evaluate", run_dir, "--set", "data.workers=0").exit_code == 0
    expected = scores_in(run_dir / "evaluations" / "val")
    assert expected.protocol == "camvid val, 11 classes, single scale, whole image, labels at original size"

    exported = tmp_path / "exported"
    command("export", run_dir, "--format", "safetensors", "--output", exported)
    assert command("evaluate", exported, "--data", "camvid", *data).exit_code == 0
    assert scores_in(exported / "evaluations" / "camvid-val") == expected
    assert command("evaluate", exported / "weights.safetensors", "--data", "camvid", *data).exit_code == 0
    assert scores_in(exported / "evaluations" / "weights-camvid-val") == expected

    assert command("evaluate", run_dir / "checkpoints" / "step_00000007.ckpt", *data).exit_code == 0
    of_checkpoint = scores_in(run_dir / "checkpoints" / "evaluations" / "step_00000007-val")
    assert of_checkpoint.step == 7
    assert of_checkpoint.counts == expected.counts

    torch.save(Segmentor.from_pretrained(run_dir).state_dict(), tmp_path / "bare.pth")
    (tmp_path / "mine.yaml").write_text((run_dir / "recipe.yaml").read_text())
    arguments = ("evaluate", tmp_path / "bare.pth", "--recipe", tmp_path / "mine.yaml", "--output", tmp_path / "out")
    assert command(*arguments, *data).exit_code == 0
    assert scores_in(tmp_path / "out") == expected


def test_a_protocol_has_its_own_folder_and_its_words_in_the_scores(run_dir: Path) -> None:
    options = ("--scales", "0.5,1", "--flip", "--window", "32x48", "--overlap", 0.25, "--set", "data.workers=0")
    assert command("evaluate", run_dir, *options).exit_code == 0
    scores = scores_in(run_dir / "evaluations" / "val-scales_0.5_1-flip-window_32x48_overlap_0.25")
    assert scores.protocol.endswith(
        "scales 0.5, 1 and mirrored, windows of 32x48 with 25 % overlap, mean of softmax, labels at original size"
    )
    changed = ("--set", "evaluation.flip=true", "--set", "data.workers=0")
    assert command("evaluate", run_dir, *changed).exit_code == 0
    assert "mirrored" in scores_in(run_dir / "evaluations" / "val-flip").protocol


def test_an_evaluation_done_again_leaves_no_old_examples(run_dir: Path) -> None:
    stale = run_dir / "evaluations" / "val" / "examples" / "gone.label.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert command("evaluate", run_dir, "--set", "data.workers=0").exit_code == 0
    assert not stale.exists()


def test_another_data_set_must_have_the_same_classes(run_dir: Path, tmp_path: Path) -> None:
    root = tmp_path / "own"
    for folder in ("images", "labels"):
        (root / folder / "val").mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(root / folder / "val" / "a.png")
    for names, expected in ((["one"], "has 11 classes, but folder has 1"), (list("abcdefghijk"), "class 0 of the")):
        (root / "classes.yaml").write_text(json.dumps(names))
        result = command("evaluate", run_dir, "--data", "folder", "--set", f"data.root={root}")
        assert result.exit_code == 2
        assert expected in result.stderr


def test_another_data_set_is_not_looked_for_where_the_runs_own_lies(run_dir: Path) -> None:
    result = command("evaluate", run_dir, "--data", "folder")
    assert result.exit_code == 2
    assert "data.root=PATH" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["evaluate", "exported"], "--data camvid --set data.root=PATH"),
        (["evaluate", "exported", "--data", "camvit"], "Did you mean 'camvid'?"),
        (["evaluate", "exported", "--data", "camvid"], "data.root=PATH"),
        (["evaluate", "run", "--split", "vla"], "Did you mean 'val'?"),
        (["evaluate", "run", "--window", "512"], "expected HEIGHTxWIDTH"),
        (["evaluate", "run", "--window", "0x4"], "evaluation.window: expected a height and a width of at least 1"),
        (["evaluate", "run", "--scales", "small"], "evaluation.scales"),
        (["evaluate", "run", "--overlap", "0.5"], "add --window HEIGHTxWIDTH"),
        (["evaluate", "run", "--overlap", "1"], "evaluation.overlap: must be at least 0 and below 1"),
        (["evaluate", "run", "--multi-scale", "--scales", "1"], "both say the scales"),
        (["evaluate", "bare.pth", "--data", "camvid"], "--recipe NAME"),
        (["predict", "bare.pth", "photo.png", "--output", "out"], "--recipe NAME"),
        (["predict", "run", "nothing.png", "--output", "out"], "no file or folder at nothing.png"),
        (["predict", "run", "photo.png", "--output", "out", "--write", "overlays"], "Did you mean 'overlay'?"),
        (["predict", "run", "photo.png", "--output", "out", "--write", "cityscapes"], "19 classes"),
        (["predict", "run", "photo.png", "--output", "photo.png"], "photo.png cannot be made a folder"),
        (["predict", "run", "photo.png", "--output", "photo.png/x"], "photo.png/x cannot be made a folder"),
        (["predict", "exported/config.json", "photo.png", "--output", "out"], "expected a folder or a file of weights"),
        (["evaluate", "run", "--output", "photo.png"], "photo.png cannot be made a folder"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_dir, tmp_path / "exported")
    (tmp_path / "exported" / "recipe.yaml").unlink()
    torch.save({"x": torch.ones(1)}, tmp_path / "bare.pth")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "photo.png")
    result = command(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not (tmp_path / "out").exists()


def test_predict_lists_what_it_cannot_read_and_exits_with_1(run_dir: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(photos / "good.png")
    options = ("--output", tmp_path / "out", "--write", "labels", "--write", "colour", "--multi-scale")
    result = command("predict", run_dir, photos, *options)
    assert result.exit_code == 0
    assert "1 images predicted, 0 files skipped" in result.stdout
    (photos / "torn.png").write_bytes((photos / "good.png").read_bytes()[:60])
    result = command("predict", run_dir, photos, *options)
    assert result.exit_code == 1
    assert "torn.png" in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"labels", "colour"}
    assert [path.name for path in (tmp_path / "out" / "labels").iterdir()] == ["good.png"]


def test_outputs_are_no_inputs_of_the_next_time(run_dir: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "folder.png").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(photos / "a.png")
    for _ in range(2):
        result = command("predict", run_dir, photos, "--output", photos / "out", "--write", "labels")
        assert "1 images predicted, 0 files skipped" in result.stdout, result.stderr


def test_predict_takes_a_checkpoint_of_a_run(run_dir: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    checkpoint = run_dir / "checkpoints" / "step_00000007.ckpt"
    assert command("predict", checkpoint, tmp_path / "a.png", "--output", tmp_path / "out").exit_code == 0


def test_short_options_are_the_sections_options() -> None:
    def options(**given: object) -> EvaluationOptions:
        nothing: dict[str, object] = {"scales": None, "window": None, "overlap": None, "flip": False}
        values = {**nothing, "multi_scale": False, **given}
        return parse("data: synthetic", protocol_overrides(**values)).evaluation  # type: ignore[arg-type]

    assert options() == EvaluationOptions()
    assert options(multi_scale=True) == EvaluationOptions(scales=STANDARD_SCALES, flip=True)
    assert options(window="512x1024", overlap=0.5) == EvaluationOptions(window=(512, 1024), overlap=0.5)
    assert options(scales="1, 2") == EvaluationOptions(scales=(1.0, 2.0))
