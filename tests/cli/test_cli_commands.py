"""What the command says and how it exits; the training behind it has its own tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import pixelcontrast
from pixelcontrast.cli import running
from pixelcontrast.cli.app import app
from pixelcontrast.engine.examples import Choice
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.tally import Tally
from pixelcontrast.recipe.root import dump, load

RECIPE = "synthetic/hrnet_w18_small"


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIXELCONTRAST_RUN_DIR", "")  # so that it is taken back afterwards
    monkeypatch.delenv("PIXELCONTRAST_RUN_DIR")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", RECIPE, "--set", "contrast.temprature=0.2"], "Did you mean 'temperature'?"),
        (["train", RECIPE, "--set", "data.batch_size=eight"], "data.batch_size: expected an integer, got 'eight'"),
        (["train", RECIPE, "--set", "data.batch_size=0"], "data.batch_size: expected at least 1, got 0"),
        (["train", RECIPE, "--set", "data=camvit"], "got 'camvit'. Did you mean 'camvid'?"),
        (["train", "camvid/hrnet_w18_smal"], "Did you mean 'camvid/hrnet_w18_small'?"),
        (["train", "mine.yaml"], "no recipe at mine.yaml"),
        (["train", "camvid/hrnet_w18_small"], "data.root=PATH"),
        (["train", "camvid/hrnet_w18_small", "--dry-run"], "data.root=PATH"),
        (["train", "camvid/hrnet_w18_small", "--set", "data.root=nowhere"], "nowhere"),
        (["train", RECIPE, "--set", "optimizer.lr=-1"], "optimizer.lr: must be at least 0, got -1.0"),
        (["train", RECIPE, "--set", "optimizer={name: sgd, momentum: 1}"], "below 1, got 1"),
        (["train", RECIPE, "--set", "optimizer={name: adamw, betas: [1.5, 0.9]}"], "below 1, got 1.5"),
        (["train", RECIPE, "--set", "schedule.power=-1"], "power: must be at least 0, got -1"),
        (["train", RECIPE, "--set", "schedule={name: cosine, warmup_steps: -1}"], "warmup_steps: must be at least 0"),
        (["train", RECIPE, "--set", "trainer.auxiliary_weight=-1"], "auxiliary_weight: must be at least 0, got -1"),
        (["train", RECIPE, "--set", "trainer.gradient_clip=0"], "gradient_clip: must be positive, got 0"),
        (["train", RECIPE, "--set", "trainer.devices=0"], "devices: must be at least 1, or auto, got 0"),
        (["train", RECIPE, "--set", "trainer.accelerator=cuda"], "trainer: "),
        (["train", RECIPE, "--set", "trainer.precision=fp16"], "fp16 is for GPUs"),
        (["train", RECIPE, "--set", "loss=[]"], "must list at least one term"),
        (["train", RECIPE, "--set", "loss=[dice, dice]"], "and each only once, got ['dice', 'dice']"),
        (["train", RECIPE, "--set", "loss=[{name: cross_entropy, class_weights: [1, 2]}]"], "for each of"),
        (["train", RECIPE, "--set", "contrast.ignore_index=3"], "ignore_index must be 255"),
        (["train", RECIPE, "--set", "base=[contrast/relased]"], "Did you mean 'contrast/released'?"),
        (["train", RECIPE, "--run-dir", "file/run"], "file"),
        (["schema", "--output", "file/schema.json"], "file"),
        (["evaluate", "nowhere"], "no run folder at nowhere"),
        (["evaluate", "nowhere", "--set", "seed=1"], "only data.* and evaluation.* can be changed"),
        (["predict", "nowhere", "x.png", "--output", "out"], "no run folder at nowhere"),
        (["predict", ".", "x.png", "--output", "out", "--recipe", RECIPE], "the folder . holds its own"),
        (["embed", "nowhere"], "no run folder at nowhere"),
        (["report", "nowhere"], "no folder at nowhere"),
        (["report", "."], "no run in ."),
        (["report"], "RUN"),
        (["explore", "a", "b", "c"], "expected one run, or two"),
        (["embed", "nowhere", "--regions", "5"], "--regions are those of an index; add --index"),
        (["embed", "nowhere", "--set", "contrast=null"], "only data.* can be changed"),
        (["compare", RECIPE, "--arms", "contrst"], "no arm 'contrst'"),
        (["compare", RECIPE, "--set", "sede=1"], "sede: unknown key. Did you mean 'seed'?"),
        (["list", "recipies"], "recipies"),
        (["train"], "RECIPE"),
        (["trian"], "trian"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message_and_exit_code_2(arguments: list[str], expected: str) -> None:
    Path("file").touch()
    result = command(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.output
    assert not Path("runs").exists(), "a mistake leaves nothing behind"


def record_runs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stand in for training: the run folders it was asked to train in."""
    calls: list[Path] = []

    def stand_in(*_: object, run_dir: Path, **__: object) -> Scores:
        calls.append(run_dir)
        nothing = Tally.zeros(1, 2, torch.device("cpu"))
        return Scores.from_tally(nothing, ("a", "b"), Choice((), (), ()), protocol="", images=1, step=1)

    monkeypatch.setattr("pixelcontrast.engine.training.train", stand_in)
    return calls


def test_a_used_run_folder_is_not_overwritten() -> None:
    Path("used").mkdir()
    Path("used/file").touch()
    result = command("train", RECIPE, "--run-dir", "used")
    assert result.exit_code == 2
    assert "--resume" in result.stderr


def test_a_run_goes_on_with_its_own_recipe_only(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("used").mkdir()
    Path("used/recipe.yaml").write_text(dump(load(RECIPE)))
    result = command("train", RECIPE, "--run-dir", "used", "--resume", "--set", "seed=5")
    assert result.exit_code == 2
    assert "seed: 0, now 5" in result.stderr
    calls = record_runs(monkeypatch)
    assert command("train", RECIPE, "--run-dir", "used", "--resume", "--set", "data.workers=0").exit_code == 0
    assert calls == [Path("used")]


def test_a_quickstart_goes_on_with_its_own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Path("quick/cross_entropy")
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(dump(load(RECIPE, ["contrast=null"])))
    result = command("quickstart", "--run-dir", "quick", "--set", "seed=5")
    assert result.exit_code == 2
    assert "seed: 0, now 5" in result.stderr


def test_processes_that_would_train_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = command("train", RECIPE, "--run-dir", "run", "--set", "trainer.accelerator=cpu")
    assert result.exit_code == 2
    assert "torchrun started 2 processes, but trainer.num_nodes x trainer.devices is 1 x 1" in result.stderr
    assert not Path("run").exists()


class TestRunFolder:
    def test_a_new_run_takes_the_next_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = record_runs(monkeypatch)
        Path("runs", RECIPE, "1").mkdir(parents=True)
        assert command("train", RECIPE).exit_code == 0
        assert command("train", RECIPE, "--resume").exit_code == 0
        assert calls == [Path("runs", RECIPE, "2"), Path("runs", RECIPE, "1")]

    def test_several_processes_share_the_first_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = running._run_folder(None, Path("runs/x"), resume=False)
        first.mkdir(parents=True)
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert running._run_folder(None, Path("runs/x"), resume=False) == first

    def test_processes_started_from_outside_must_be_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert "--run-dir" in command("train", RECIPE).stderr


def test_print_recipe_prints_what_loads_as_the_same() -> None:
    result = command("train", RECIPE, "--set", "model.head=fcn", "--print-recipe")
    assert result.exit_code == 0
    Path("again.yaml").write_text(result.stdout)
    assert load("again.yaml") == load(RECIPE, ["model.head=fcn"])


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pixelcontrast.engine.training.train", interrupted)
    result = command("train", RECIPE)
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_list_shows_every_part() -> None:
    shown = command("list").stdout
    for name in (RECIPE, "camvid/hrnet_w18_small", "contrast/released", "head: fcn", "camvid", "loss: cross_entropy"):
        assert name in shown
    assert "head: fcn" not in command("list", "recipes").stdout


def test_schema_is_json() -> None:
    assert "properties" in json.loads(command("schema").stdout)
    command("schema", "--output", "deep/schema.json")
    assert json.loads(Path("deep/schema.json").read_text()) == json.loads(command("schema").stdout)


def test_version() -> None:
    assert pixelcontrast.__version__ in command("--version").stdout


def test_help_imports_no_torch() -> None:
    program = (
        "import sys; sys.argv = ['pixelcontrast', *sys.argv[1:]]\n"
        "from pixelcontrast.cli import main\n"
        "try: main()\n"
        "finally: print({'torch', 'lightning', 'numpy'} & set(sys.modules), file=sys.stderr)\n"
    )
    for arguments in (["--help"], ["train", "--help"], ["list", "recipes"]):
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "set()"


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "pixelcontrast", "train", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no shipped recipe is called 'nowhere'")
