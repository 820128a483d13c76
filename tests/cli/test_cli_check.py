"""`check` ends in 0, 1 or 2, and leaves a JSON and a sheet."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dataset_layouts import camvid
from pixelcontrast.cli.app import app


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    camvid(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments], catch_exceptions=False)


def test_warnings_alone_exit_with_0_and_strictly_with_1(root: Path) -> None:
    result = check("camvid", "--set", f"data.root={root}")
    assert result.exit_code == 0
    assert "absent class" in result.stdout
    assert "0 errors, 6 warnings" in result.stdout
    stored = json.loads(Path("runs/check/camvid/check.json").read_text())
    assert (stored["errors"], stored["warnings"]) == (0, 6)
    with Image.open("runs/check/camvid/sheet.png") as sheet:
        assert sheet.mode == "RGB"
    assert check("camvid", "--set", f"data.root={root}", "--strict").exit_code == 1


def test_errors_exit_with_1_and_name_the_file(root: Path) -> None:
    Image.new("L", (32, 24), 37).save(root / "valannot" / "val_2.png")
    result = check("camvid", "--set", f"data.root={root}", "--output", "here")
    assert result.exit_code == 1
    assert "val: unknown label id: 1 of 3 images cannot be used: 37 (768 pixels in 1 files)" in result.stdout
    assert "val_2.png: label id 37 at row 0, column 0" in result.stdout
    assert Path("here/sheet.png").exists()


def test_a_recipe_is_checked_by_its_data(root: Path) -> None:
    assert check("camvid/hrnet_w18_small", "--set", f"data.root={root}").exit_code == 0
    assert Path("runs/check/camvid/hrnet_w18_small/check.json").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["camvit"], "no data set is called 'camvit'. Did you mean 'camvid'?"),
        (["camvid/hrnet"], "no shipped recipe is called 'camvid/hrnet'"),
        (["camvid"], "set data.root=PATH"),
        (["camvid", "--set", "data.root=nowhere"], "nowhere does not exist"),
        (["camvid", "--set", "data.rot=x"], "data.rot: unknown key"),
        (["camvid", "--workers", "0"], "workers"),
        ([], "DATA"),
    ],
)
def test_wrong_use_exits_with_2(root: Path, arguments: list[str], expected: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not Path("runs").exists()
