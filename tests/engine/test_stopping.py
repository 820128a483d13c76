"""Signals: a step is ended, the state saved, a known exit code, and what to type to go on."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from typer.testing import CliRunner

from pixelcontrast.cli.app import app
from pixelcontrast.engine import evaluation, stopping
from pixelcontrast.engine.checkpoints import checkpoints_in, newest_whole_checkpoint, step_of
from pixelcontrast.engine.stopping import StopSignals
from pixelcontrast.errors import RunError, Stopped
from pixelcontrast.recipe.root import Recipe, dump
from training_runs import before_each_batch, metrics_of, run, shortened

SLURM = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_NODEID": "0"}
SLURM |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODELIST": "localhost", "SLURM_NTASKS_PER_NODE": "1"}


@pytest.fixture(autouse=True)
def _handlers_come_back(hang_ups_count: None) -> Iterator[None]:
    taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in taken]
    yield
    assert [signal.getsignal(number) for number in taken] == before


def sends(*numbers: int, at: int) -> Callable[[int], None]:
    """Send signals to this process in one training step."""
    left = list(numbers)

    def act(step: int) -> None:
        while step == at and left:
            os.kill(os.getpid(), left.pop(0))

    return act


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_step_saves_says_how_to_go_on_and_exits_with_128_and_its_number(
    recipe: Recipe, tmp_path: Path, number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.yaml").write_text(dump(shortened(recipe, accumulate=2)))
    folder = tmp_path / "a run"
    arguments = ["train", str(tmp_path / "recipe.yaml"), "--run-dir", str(folder)]
    with before_each_batch(monkeypatch, sends(number, at=1)):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == code
    assert [step_of(each) for each in checkpoints_in(folder / "checkpoints")] == [2]
    assert "stopped after step 2 of 6, which is saved; to go on:" in result.stdout
    command = result.stdout.strip().splitlines()[-1].strip()
    assert command == f"pixelcontrast train '{folder}/recipe.yaml' --run-dir '{folder}' --resume"
    assert "Traceback" not in result.output


def test_a_second_interrupt_stops_at_once(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = sends(signal.SIGINT, signal.SIGINT, at=1)
    with before_each_batch(monkeypatch, twice), pytest.raises(KeyboardInterrupt):
        run(shortened(recipe, checkpoint_every=1), tmp_path / "run")
    assert step_of(checkpoints_in(tmp_path / "run" / "checkpoints")[-1]) == 1
    _, printed = run(shortened(recipe, checkpoint_every=1), tmp_path / "run", resume=True)
    assert "resuming at step 1" in printed


def test_a_second_sigterm_changes_nothing(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with before_each_batch(monkeypatch, sends(signal.SIGTERM, signal.SIGTERM, at=1)), pytest.raises(Stopped):
        run(recipe, tmp_path / "run")
    assert step_of(checkpoints_in(tmp_path / "run" / "checkpoints")[-1]) == 2


def test_under_nohup_a_lost_terminal_changes_nothing(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with before_each_batch(monkeypatch, sends(signal.SIGHUP, at=1)):
            run(recipe, tmp_path / "run")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "run" / "scores.json").exists()


def test_an_evaluation_is_cut_short_and_made_up_for(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shortened(recipe, max_steps=4, evaluate_every=2, checkpoint_every=4)
    run(recipe, tmp_path / "whole")
    predict, calls = evaluation.predict, 0

    def session(signal_at: int, **options: bool) -> None:
        def told_to_stop(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == signal_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return predict(*arguments, **named)

        monkeypatch.setattr(evaluation, "predict", told_to_stop)
        run(recipe, tmp_path / "parts", **options)

    with pytest.raises(Stopped):
        session(1)  # in the first of the validation's three images
    assert calls == 1, "no image is predicted after the one in hand"
    assert [step_of(each) for each in checkpoints_in(tmp_path / "parts" / "checkpoints")] == [2]
    assert [line for line in metrics_of(tmp_path / "parts") if "val/mIoU" in line] == []
    with pytest.raises(Stopped):
        session(calls + 3 + 2, resume=True)  # in the second of the final evaluation
    assert calls == 1 + 3 + 2
    assert not (tmp_path / "parts" / "scores.json").exists()
    session(0, resume=True)
    assert calls == 1 + 3 + 2 + 3, "the validation is not done again"
    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")
    assert (tmp_path / "parts" / "scores.json").read_text() == (tmp_path / "whole" / "scores.json").read_text()


def test_slurm_is_asked_once_to_start_the_job_again_after_the_step_is_saved(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    checkpoints = tmp_path / "run" / "checkpoints"
    scontrol.write_text(f'#!/bin/sh\necho "$@" $(ls {checkpoints}) >> {log}\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with before_each_batch(monkeypatch, sends(signal.SIGUSR1, signal.SIGTERM, at=1)), pytest.raises(Stopped) as stop:
        run(recipe, tmp_path / "run")
    assert stop.value.exit_code == 128 + signal.SIGUSR1
    assert log.read_text().split() == ["requeue", "4711", "step_00000002.ckpt", "step_00000002.sha256"]
    assert not list(tmp_path.rglob("hpc_ckpt*")), "Lightning saves nothing in the midst of a step"
    _, printed = run(recipe, tmp_path / "run", resume=True)
    assert "resuming at step 2" in printed


def test_a_signal_that_comes_while_the_ranks_agree_counts_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of its time a rank waits for the others there."""
    monkeypatch.setattr(stopping, "is_distributed", lambda: True)
    monkeypatch.setattr(dist, "new_group", lambda **_: None)
    monkeypatch.setattr(dist, "all_reduce", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with StopSignals() as signals:
        assert signals.agreed() is None, "the others do not know of it"
        assert signals.agreed() == signal.SIGTERM


def test_without_the_main_thread_no_signal_is_taken() -> None:
    found = []

    def work() -> None:
        with StopSignals() as signals:
            found.append((signals.received, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(None, signal.SIG_DFL)]


def test_a_full_disk_stops_the_run_with_a_message_and_the_last_checkpoint_is_good(
    recipe: Recipe, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is written first, a checkpoint, a line, an event of TensorBoard."""
    recipe = shortened(recipe, max_steps=3, checkpoint_every=1, keep_checkpoints=9)
    run(recipe, tmp_path / "roomy")
    subprocess.run(["mount", "-o", f"remount,size={size_of(tmp_path / 'roomy') // 2}", str(small_disk)], check=True)
    with pytest.raises(RunError, match="no room on the disk for .*; free some"):
        run(recipe, small_disk / "run")
    good = newest_whole_checkpoint(small_disk / "run" / "checkpoints")
    assert good is not None
    assert good == checkpoints_in(good.parent)[-1]
    assert not list(small_disk.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    run(recipe, small_disk / "run", resume=True)
    ends = [each / "weights.safetensors" for each in (tmp_path / "roomy", small_disk / "run")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_signal_to_every_process_of_the_run_leaves_its_loaders_alive(recipe: Recipe, tmp_path: Path) -> None:
    """A terminal, SLURM and torchrun send a signal to the workers of the loader too."""
    recipe = replace(shortened(recipe, max_steps=500), data=replace(recipe.data, workers=2))
    (tmp_path / "recipe.yaml").write_text(dump(recipe))
    command = [sys.executable, "-m", "pixelcontrast", "train", str(tmp_path / "recipe.yaml"), "--run-dir"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        folder = tmp_path / f"run{code}"
        process = subprocess.Popen(
            [*command, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        wait_for(lambda folder=folder: checkpoints_in(folder / "checkpoints") != [])
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, out + err
        assert "to go on:" in out
        assert "Traceback" not in out + err
        assert err.count("ending the step and saving") == 1


def wait_for(happened: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
