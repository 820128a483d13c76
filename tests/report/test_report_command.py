"""From training to the page by the commands a user types, on a real if small run."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import dataset_layouts
from pixelcontrast.cli.app import app


def command(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_trained_run_is_embedded_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIXELCONTRAST_RUN_DIR", "")
    root = dataset_layouts.camvid(tmp_path / "camvid").options.root
    options = [
        f"data.root={root}", "data.batch_size=2", "data.crop_size=[32,32]", "data.workers=0",
        "model.backbone=resnet10t", "model.head=fcn", "trainer.accelerator=cpu",
        "trainer.max_steps=4", "trainer.log_every=1", "trainer.evaluate_every=2",
    ]  # fmt: skip
    for arm, more in (("cross_entropy", ["contrast=null"]), ("contrast", [])):
        changes = [argument for option in (*options, *more) for argument in ("--set", option)]
        command("train", "camvid/hrnet_w18_small", *changes, "--run-dir", f"runs/{arm}/seed_0")
        assert "pixels of" in command("embed", f"runs/{arm}/seed_0", "--pixels", "110").stdout
    assert "regions" in command("embed", "runs/contrast/seed_0", "--index", "--pixels", "22", "--regions", "22").stdout
    shown = command("report", "runs", "--title", "Two arms")
    assert shown.stdout.startswith("report: runs/report.html")
    page = (tmp_path / "runs/report.html").read_text()
    for text in ("Two arms", "cross entropy", "Contrast loss", "tapped features", "projected", "Worst of contrast"):
        assert text in page
    assert str(tmp_path) not in page
