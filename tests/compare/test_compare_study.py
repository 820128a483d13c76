"""A comparison with processes that stand in for training: what is resumed, what is reported, what is written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from pixelcontrast.compare import jobs as jobs_module
from pixelcontrast.compare.arms import choose_arms, recipe_of
from pixelcontrast.compare.equality import require_declared
from pixelcontrast.compare.jobs import Finished, Job
from pixelcontrast.compare.pair import table_of_two, tall_pictures
from pixelcontrast.compare.plan import Plan, alone_in, prepare
from pixelcontrast.compare.results import Comparison, as_json
from pixelcontrast.compare.studies import load_study, study_names
from pixelcontrast.compare.study import compare, gather
from pixelcontrast.compare.tables import as_markdown
from pixelcontrast.engine.scores import Scores
from pixelcontrast.errors import RecipeError, RunError, Stopped
from pixelcontrast.recipe.root import dump, load

RECIPE = "synthetic/hrnet_w18_small"
FAKE_TRAINING = """
import json, shutil, sys
from pathlib import Path
recipe, folder = Path(sys.argv[1]), Path(sys.argv[2])
arm, seed = folder.parent.name, int(folder.name.removeprefix("seed_"))
if (arm, seed) == ("contrast", 1) and not Path("repaired").exists():
    sys.exit("no more memory")
folder.mkdir(parents=True, exist_ok=True)
shutil.copy(recipe, folder / "recipe.yaml")
iou = 50.0 + seed + (2.0 + 0.5 * seed if arm == "contrast" else 0.0)
scores = dict(
    mIoU=iou, aAcc=90.0, mAcc=60.0, IoU={"road": iou, "pole": None}, accuracy={"road": 90.0, "pole": None},
    label_share={"road": 100.0, "pole": 0.0}, absent=["pole"], protocol="toy val", images=1, counts=[[1, 0], [0, 0]],
    step=1,
)
(folder / "scores.partial").write_text(json.dumps(scores))
(folder / "scores.partial").replace(folder / "scores.json")  # in one piece, as a run writes it
speed = {"step": 0, "images_per_second": 8.0 if arm == "contrast" else 10.0, "peak_bytes": 2_000_000}
(folder / "speed.jsonl").write_text(json.dumps(speed))
(folder / "provenance.jsonl").write_text(json.dumps({"commit": "abc", "threads": 1 + seed}))
Path("ran").open("a").write(f"{arm}/{seed} ")
"""


@pytest.fixture
def _fake_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text(FAKE_TRAINING)
    monkeypatch.setattr(Job, "command", lambda job: [sys.executable, str(script), str(job.recipe), str(job.folder)])
    monkeypatch.setattr("pixelcontrast.compare.plan.require_equal_starts", lambda _: ("first weights",))


def plan(num_seeds: int = 2, overrides: tuple[str, ...] = ()) -> Plan:
    arms = choose_arms(["cross_entropy", "contrast"], [], load(RECIPE))
    return prepare(RECIPE, overrides, arms=arms, num_seeds=num_seeds, first_seed=0, output=Path("out"))


def run(*, num_seeds: int = 2, overrides: tuple[str, ...] = ()) -> tuple[Comparison, int]:
    with Path("console.txt").open("a") as file:
        return compare(plan(num_seeds, overrides), parallel=2, console=Console(file=file, width=200))


@pytest.mark.usefixtures("_fake_training")
def test_a_failed_run_is_reported_and_only_it_is_run_again() -> None:
    comparison, failures = run()
    assert failures == 1
    assert sorted(comparison.runs["contrast"]) == [0]
    assert "contrast, seed 1: failed, exit code 1" in Path("console.txt").read_text()
    assert "no more memory" in Path("console.txt").read_text()

    text = Path("out/compare.md").read_text()
    assert "| cross_entropy | 2 | 50.50 | 0.71 | 50.00 51.00 |" in text
    assert "| contrast | 1 | 52.00 | - | 0: 52.00 | +2.00 (1 of 2 seeds) |" in text
    assert "| road | 50.50 | +2.00 - (1 of 2 seeds) |" in text

    Path("repaired").touch()
    Path("ran").write_text("")
    comparison, failures = run()
    assert failures == 0
    assert Path("ran").read_text() == "contrast/1 "
    stored = json.loads(Path("out/compare.json").read_text())
    assert stored["scores"] == {"cross_entropy": {"0": 50.0, "1": 51.0}, "contrast": {"0": 52.0, "1": 53.5}}
    assert stored["difference"]["contrast"]["mean"] == pytest.approx(2.25)
    assert set(stored["difference"]["contrast"]) >= {"mean", "low", "high", "p"}
    assert stored["difference_by_class"]["contrast"].keys() == {"road"}
    assert set(stored["hours_by_run"]["contrast"]) == {"0", "1"}
    page = Path("out/report.html").read_text()
    assert "<h1>synthetic/hrnet_w18_small: cross_entropy, contrast</h1>" in page
    assert "<b>+2.2</b> points of mIoU with contrast against cross entropy" in page
    text = Path("out/compare.md").read_text()
    assert "| contrast | 2 | 52.75 | 1.06 | 52.00 53.50 | +2.25 |" in text
    assert "| pole | absent | - |" in text
    assert "- left out of the means, as in neither labels nor predictions: pole" in text
    assert "their protocol" not in text
    assert stored["cost"]["contrast"] == {"images_per_second": 8.0, "peak_bytes": 2_000_000}
    assert "| contrast | 8.0 | 1.25 | 2 | 1.00 |" in text
    assert (stored["commit"], stored["threads"]) == ("abc", "1, 2")
    assert "the runs differ in their threads" in text
    assert "equal over the arms, as checked before training: first weights" in text


@pytest.mark.usefixtures("_fake_training")
def test_runs_can_be_trained_elsewhere_and_gathered() -> None:
    Path("repaired").touch()
    commands = plan().commands()
    assert len(commands) == 4
    subprocess.run(commands[0], shell=True, check=True)  # noqa: S602 - as a queue does
    assert plan().commands() == commands[1:]
    assert gather(plan()).runs.keys() == {"cross_entropy", "contrast"}
    assert (
        "0.00 hours of runs in all, those of 1 runs trained elsewhere not counted" in Path("out/compare.md").read_text()
    )
    for command in commands[1:]:
        subprocess.run(command, shell=True, check=True)  # noqa: S602
    comparison = gather(plan())
    assert plan().commands() == []
    found = comparison.difference("contrast")
    assert found is not None
    assert found.mean == pytest.approx(2.25)
    assert Path("out/report.html").exists()


@pytest.mark.usefixtures("_fake_training")
def test_runs_of_another_recipe_are_not_mixed_in() -> None:
    run(num_seeds=1)
    with pytest.raises(RunError, match=r"another recipe.*\n.*trainer.max_steps: \d+, now 7"):
        run(num_seeds=1, overrides=("trainer.max_steps=7",))
    run(num_seeds=1, overrides=("trainer.checkpoint_every=7",))  # does not change what comes out


@pytest.mark.usefixtures("_fake_training")
def test_a_damaged_run_is_told_before_any_is_trained() -> None:
    Path("repaired").touch()
    run(num_seeds=1)
    ran = Path("ran").read_text()
    for damage, told in (
        ("{", "remove it, and the command that wrote it"),
        (None, "scored on the classes street, pole"),
    ):
        scores = Path("out/contrast/seed_0/scores.json")
        whole = scores.read_text()
        scores.write_text(damage or whole.replace("road", "street"))
        with pytest.raises(RunError, match=told):
            run(num_seeds=2)
        assert Path("ran").read_text() == ran
        scores.write_text(whole)


@pytest.mark.usefixtures("_fake_training")
def test_a_run_that_ends_with_unusable_scores_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("repaired").touch()
    train = Path("train.py")
    train.write_text(train.read_text().replace("json.dumps(scores)", 'json.dumps(scores) if seed else "{"'))
    with pytest.raises(RunError, match="seed_0"):
        run(num_seeds=2)
    assert len(Path("ran").read_text().split()) == 4
    assert "warning: out" in Path("console.txt").read_text()


@pytest.mark.usefixtures("_fake_training")
def test_the_report_shows_what_was_compared() -> None:
    Path("repaired").touch()
    run(num_seeds=2)
    assert "over 2 seeds" in Path("out/report.html").read_text()
    run(num_seeds=1)
    assert "over 2 seeds" not in Path("out/report.html").read_text()


def test_one_comparison_at_a_time_is_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelcontrast.files._PATIENCE", 0.2)
    said: list[str] = []
    with (
        alone_in(tmp_path / "out", said.append),
        pytest.raises(RunError, match="another process compares in .*out; wait for its end"),
        alone_in(tmp_path / "out", said.append),
    ):
        pass
    assert "waiting two minutes" in said[0]
    with alone_in(tmp_path / "out", said.append):
        pass
    assert len(said) == 1


@pytest.mark.usefixtures("_fake_training")
def test_a_damaged_recipe_of_a_run_is_named() -> None:
    run(num_seeds=1)
    Path("out/contrast/seed_0/recipe.yaml").write_text("")
    with pytest.raises(RunError, match=r"seed_0.recipe.yaml, with which the run was begun, cannot be read"):
        run(num_seeds=1)


@pytest.mark.usefixtures("_fake_training")
def test_every_way_that_runs_were_scored_in_is_told() -> None:
    train = Path("train.py")
    train.write_text(train.read_text().replace('"toy val"', '"toy val" + ", mirrored" * (arm == "contrast")'))
    run(num_seeds=1)
    text = Path("out/compare.md").read_text()
    assert "toy val; toy val, mirrored" in text
    assert "note: the runs differ in their protocol" in text
    assert json.loads(Path("out/compare.json").read_text())["protocol"] == "toy val; toy val, mirrored"


def test_nothing_done_is_still_a_table() -> None:
    nothing = Comparison("r", (), {"a": (), "b": ("seed=1",)}, (0,), {"a": {}, "b": {}}, {})
    assert as_json(nothing)["difference"] == {}
    assert "no run is done" in as_markdown(nothing)


def test_hours_of_other_arms_and_seeds_of_the_folder_are_kept_and_not_counted() -> None:
    hours = {"a": {0: 1.0, 1: 16.0}, "b": {0: 2.0}, "earlier": {0: 4.0}}
    some = Comparison("r", (), {"a": (), "b": ("seed=1",)}, (0,), {"a": {}, "b": {}}, hours)
    assert as_json(some)["hours"] == 3
    assert as_json(some)["hours_by_run"]["earlier"] == {"0": 4}
    text = as_markdown(some)
    assert "3.00 hours of runs in all" in text
    assert "1.00 to 1.00" in text


def test_the_command_trains_by_the_public_command(tmp_path: Path) -> None:
    job = Job("a", 0, tmp_path / "r.yaml", tmp_path / "run", tmp_path / "log")
    assert job.command()[1:4] == ["-m", "pixelcontrast", "train"]
    assert job.command()[-1] == "--resume"


def test_an_interrupt_stops_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    monkeypatch.setattr(Job, "command", lambda job: [sys.executable, "-c", script, f"{job.log}.pid"])
    started: list[int] = []

    def interrupted(*_: object) -> None:
        while not (found := [p for p in tmp_path.glob("log*.pid") if p.read_text()]):
            time.sleep(0.02)
        started.append(int(found[0].read_text()))
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs_module, "as_completed", interrupted)
    jobs = [Job("a", seed, tmp_path / "r", tmp_path / "run", tmp_path / f"log{seed}") for seed in (0, 1)]
    with pytest.raises(KeyboardInterrupt):
        jobs_module.run_jobs(jobs, parallel=1, report=lambda _: None)
    assert not list(tmp_path.glob("log1.pid"))
    for _ in range(100):
        time.sleep(0.05)
        try:
            os.kill(started[0], 0)
        except ProcessLookupError:
            return
    pytest.fail("the run outlives the comparison")


@pytest.mark.usefixtures("hang_ups_count")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_lets_each_run_end_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    script = (
        "import signal, sys, time\n"
        "def stop(*_):\n    time.sleep(1)\n    open(sys.argv[1], 'w').write('saved')\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\nopen(sys.argv[1], 'w').write('training')\ntime.sleep(60)"
    )
    monkeypatch.setattr(Job, "command", lambda job: [sys.executable, "-c", script, f"{job.log}.state"])

    def terminated(*_: object) -> None:
        while not any(p.read_text() for p in tmp_path.glob("log*.state")):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(jobs_module, "as_completed", terminated)
    before = signal.getsignal(number)
    jobs = [Job("a", seed, tmp_path / "r", tmp_path / "run", tmp_path / f"log{seed}") for seed in (0, 1)]
    reported: list[Finished] = []
    with pytest.raises(Stopped) as stop:
        jobs_module.run_jobs(jobs, parallel=1, report=reported.append)
    assert stop.value.exit_code == code
    (stopped,) = reported  # its hours count; the second run never began
    assert (stopped.job, stopped.stopped, stopped.problem) == (jobs[0], True, None)
    assert stopped.hours > 1 / 3600
    assert [(p.name, p.read_text()) for p in tmp_path.glob("log*.state")] == [("log0.state", "saved")]
    assert signal.getsignal(number) == before


class TestGpus:
    @pytest.mark.parametrize(
        ("visible", "count", "parallel", "expected"),
        [
            (None, 0, 2, [[], []]),
            (None, 1, 3, [["0"], ["0"], ["0"]]),
            (None, 4, 1, [["0", "1", "2", "3"]]),
            (None, 8, 3, [["0", "1"], ["2", "3"], ["4", "5"]]),
            (None, 2, 3, [["0"], ["1"], ["0"]]),
            ("5,GPU-6f", 2, 2, [["5"], ["GPU-6f"]]),
            ("", 0, 1, [[]]),
        ],
    )
    def test_each_run_has_as_many_gpus_of_its_own_as_there_are(
        self,
        visible: str | None,
        count: int,
        parallel: int,
        expected: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        have_gpus(monkeypatch, count, visible)
        assert jobs_module.gpu_shares(parallel) == expected

    def test_runs_see_their_own_gpu_and_give_it_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        have_gpus(monkeypatch, 2, "3,7")
        script = (
            "import os, sys, time; open(sys.argv[1], 'w').write(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(0.5)"
        )
        monkeypatch.setattr(Job, "command", lambda job: [sys.executable, "-c", script, f"{job.log}.gpu"])
        jobs = [Job("a", seed, tmp_path / "r", tmp_path / "run", tmp_path / f"log{seed}") for seed in range(4)]
        jobs_module.run_jobs(jobs, parallel=2, report=lambda _: None)
        assert sorted(path.read_text() for path in tmp_path.glob("*.gpu")) == ["3", "3", "7", "7"]

    @pytest.mark.usefixtures("_fake_training")
    def test_more_devices_than_a_run_has_are_refused_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        have_gpus(monkeypatch, 4, None)
        with pytest.raises(RecipeError, match="trainer.devices=4: of 2 runs at a time, each has 2 of this machine's"):
            run(num_seeds=1, overrides=("trainer.devices=4",))
        assert not Path("ran").exists()
        run(num_seeds=1, overrides=("trainer.devices=4", "trainer.accelerator=cpu"))


def have_gpus(monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "a GPU")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


class TestArms:
    def test_arms_change_the_recipe_in_what_they_say(self) -> None:
        arms = choose_arms(["cross_entropy"], ["hardest: contrast.mining=hardest contrast.memory=null"], load(RECIPE))
        alone, hardest = (recipe_of(arm, RECIPE, (), seed=5) for arm in arms)
        assert (alone.contrast, alone.seed) == (None, 5)
        assert hardest.contrast is not None
        assert (hardest.contrast.mining, hardest.contrast.memory) == ("hardest", None)

    def test_contrast_is_at_its_defaults_where_the_recipe_has_none(self) -> None:
        bare = load(RECIPE, ["contrast=null"])
        arm = choose_arms(["cross_entropy", "contrast"], [], bare)[1]
        assert recipe_of(arm, RECIPE, ["contrast=null"], seed=0).contrast is not None

    @pytest.mark.parametrize(
        ("names", "definitions", "expected"),
        [
            (["contrst", "cross_entropy"], [], "no arm 'contrst'.*Did you mean 'contrast'"),
            (["contrast"], [], "at least two arms"),
            (["contrast"], ["hardest contrast.mining=hardest"], "expected 'NAME: KEY=VALUE"),
            (["contrast"], ["report.html: contrast.weight=1"], "expected 'NAME: KEY=VALUE"),
            (["contrast"], ["contrast: contrast.weight=1"], "there is an arm of that name"),
            (["contrast"], ["later: seed=1"], "all arms have the same seeds; choose the first by --set seed=N"),
        ],
    )
    def test_what_cannot_be_compared_is_said(self, names: list[str], definitions: list[str], expected: str) -> None:
        with pytest.raises(RecipeError, match=expected):
            choose_arms(names, definitions, load(RECIPE))

    def test_a_wrong_option_names_its_arm(self) -> None:
        arm = choose_arms(["contrast"], ["bad: contrast.minning=hardest"], load(RECIPE))[1]
        with pytest.raises(RecipeError, match=r"arm bad: contrast.minning: unknown key. Did you mean 'mining'\?"):
            recipe_of(arm, RECIPE, (), seed=0)


class TestStudies:
    @pytest.mark.parametrize("name", study_names())
    def test_each_shipped_study_holds_recipes_that_differ_as_declared(self, name: str) -> None:
        recipe = load("camvid/hrnet_w18_small")
        arms = choose_arms([], [], recipe, study=load_study(name))
        recipes = [recipe_of(arm, "camvid/hrnet_w18_small", (), seed=0) for arm in arms]
        assert len({dump(recipe) for recipe in recipes}) == len(arms), "two arms are one"
        for arm, recipe in zip(arms[1:], recipes[1:], strict=True):
            require_declared(recipes[0], arm, recipe, baseline_arm=arms[0])

    def test_arms_that_are_one_recipe_are_refused_before_anything_is_trained(self, tmp_path: Path) -> None:
        source = "camvid/hrnet_w18_small_in_batch"
        arms = choose_arms([], [], load(source), study=load_study("memory"))
        with pytest.raises(RecipeError, match="arms 'in_batch' and 'both' are one recipe"):
            prepare(source, (), arms=arms, num_seeds=1, first_seed=0, output=tmp_path)
        assert not [*tmp_path.iterdir()]

    def test_an_arm_of_a_study_names_no_seed_either(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("arms: {a: [contrast=null], b: [seed=2]}")
        with pytest.raises(RecipeError, match="arm b: all arms have the same seeds; choose the first by --set seed=N"):
            choose_arms([], [], load(RECIPE), study=load_study(str(path)))

    def test_some_arms_of_a_study_can_be_chosen(self) -> None:
        arms = choose_arms(["cross_entropy", "both"], [], load(RECIPE), study=load_study("memory"))
        assert [arm.name for arm in arms] == ["cross_entropy", "both"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("arms: {a: [seed=1]}", "two or more"),
            ("arms: {a: [seed=1], b: seed=2}", "arm b: expected a mapping"),
            ("arms: {a: [seed=1], ../b: [seed=2]}", "expected a name of letters"),
            ("[1, 2]", "two or more"),
            ("arms: [", "not YAML"),
        ],
    )
    def test_what_is_no_study_is_said(self, tmp_path: Path, text: str, expected: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(RecipeError, match=expected):
            load_study(str(path))

    def test_the_nearest_name_is_told(self) -> None:
        with pytest.raises(RecipeError, match=r"Did you mean 'mining'\?"):
            load_study("minning")


class TestPair:
    def test_one_table_holds_both_and_the_difference(self, tmp_path: Path) -> None:
        def scores(iou: float) -> Scores:
            return Scores(iou, 90.0, 60.0, {"road": iou, "pole": None}, {}, {}, (), "toy", 1, [[1]], 1)

        with (tmp_path / "out").open("w") as file:
            Console(file=file, width=80).print(
                table_of_two({"cross entropy": scores(50.0), "with contrast": scores(51)})
            )
        text = (tmp_path / "out").read_text()
        assert "+1.00" in text
        assert "absent" in text

    def test_pictures_of_one_image_are_stacked(self, tmp_path: Path) -> None:
        from PIL import Image

        for name, files in {"a": ("x.png", "y.png"), "b": ("x.png",)}.items():
            (tmp_path / name).mkdir()
            for file in files:
                Image.new("RGB", (20, 10)).save(tmp_path / name / file)
        (path,) = tall_pictures({"a": tmp_path / "a", "b": tmp_path / "b"}, tmp_path / "both")
        assert path.name == "x.png"
        with Image.open(path) as picture:
            assert picture.height > 20


def test_what_is_odd_in_several_arms_is_told_once() -> None:
    odd, even = (load(RECIPE, [f"schedule.warmup_steps={steps}"]) for steps in (360, 20))
    recipes = {("a", 0): odd, ("a", 1): odd, ("b", 0): odd, ("c", 0): even}
    plan = Plan(source=RECIPE, overrides=(), arms=(), recipes=recipes, jobs=(), equal=(), output=Path("out"))
    assert [*plan.warnings()] == [
        "a, b: the warm-up does not end: schedule.warmup_steps is 360, of trainer.max_steps 360"
    ]
