"""The whole command on several ranks, as torchrun starts it: real processes over gloo."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelcontrast.engine.checkpoints import checkpoints_in, step_of
from pixelcontrast.engine.scores import Scores
from pixelcontrast.engine.scoring import score_split
from pixelcontrast.nn.segmentor import Segmentor
from pixelcontrast.recipe.root import Recipe, dump
from training_runs import metrics_of, run, shortened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WORKER = Path(__file__).parents[1] / "train_rank_worker.py"


def command_of(recipe: Recipe, folder: Path, *, ranks: int, torchrun: tuple[str, ...] = ("--standalone",)) -> list[str]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".yaml")
    path.write_text(dump(recipe))
    start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", *torchrun, str(WORKER)]
    return [*start, str(folder.with_suffix(".ranks")), "train", str(path), "--run-dir", str(folder)]


def start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(process: subprocess.Popen[str], code: int | None = 0) -> str:
    out, _ = process.communicate()
    assert code is None or process.returncode == code, out
    return out


def ranks_of(folder: Path, count: int) -> list[dict[str, Any]]:
    return [torch.load(folder.with_suffix(".ranks") / f"rank{rank}.pt", weights_only=True) for rank in range(count)]


def on_ranks(recipe: Recipe, count: int, **trainer: Any) -> Recipe:
    recipe = shortened(recipe, devices=count, **trainer)
    return replace(recipe, data=replace(recipe.data, batch_size=4))


def wait_for(happened: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def steps_in(folder: Path) -> list[int]:
    return [int(line["step"]) for line in metrics_of(folder)] if (folder / "metrics.jsonl").exists() else []


@pytest.mark.parametrize(("ranks", "strategy"), [(2, "ddp"), (4, "ddp"), (2, "fsdp")])
def test_ranks_hold_one_network_and_one_memory_and_count_each_image_once(
    recipe: Recipe, tmp_path: Path, ranks: int, strategy: str
) -> None:
    """With a rank that has no anchor in two steps; the 3 validation images are no multiple of the ranks."""
    recipe = on_ranks(recipe, ranks, max_steps=4, checkpoint_every=4, evaluate_every=2, strategy=strategy)
    finish(start(command_of(recipe, tmp_path / "run", ranks=ranks), RANK_WORKER="unlabelled"))
    states = [rank["state"] for rank in ranks_of(tmp_path / "run", ranks)]
    statistics = {name for name in states[0] if "running_" in name}  # of each rank's own images
    for state in states[1:]:
        assert all(torch.equal(states[0][name], state[name]) for name in states[0].keys() - statistics)
    assert (states[0]["contrast.memory.labels"] >= 0).sum() > 0
    scores = Scores.load(tmp_path / "run" / "scores.json")
    assert scores.images == 3
    deployed = Segmentor.from_pretrained(tmp_path / "run")
    alone = score_split(deployed, recipe.data, "val", device=torch.device("cpu"), step=4, protocol=recipe.evaluation)
    assert scores.counts == alone.counts, "the scores are those of the weights that were written"
    assert steps_in(tmp_path / "run") == [0, 1, 2, 2, 3]


def test_sharded_ranks_hold_a_share_and_learn_what_whole_ones_do(recipe: Recipe, tmp_path: Path) -> None:
    """Stopped and resumed too, with another number of ranks and without sharding; the file is the same."""
    recipe = on_ranks(recipe, 2, max_steps=4, checkpoint_every=2, keep_checkpoints=9, ema_decay=0.5)
    for strategy in ("ddp", "fsdp"):
        finish(start(command_of(shortened(recipe, strategy=strategy), tmp_path / strategy, ranks=2)))
    whole, shared = (ranks_of(tmp_path / name, 2) for name in ("ddp", "fsdp"))
    assert all(0.4 < rank["held"] / whole[0]["held"] < 0.6 for rank in shared)
    for name, value in whole[0]["state"].items():
        torch.testing.assert_close(shared[0]["state"][name], value, rtol=1e-3, atol=1e-4, msg=name)
    for name in ("parts", "alone"):
        begin_from(tmp_path / "fsdp", step=2, folder=tmp_path / name)
    finish(start([*command_of(shortened(recipe, strategy="fsdp"), tmp_path / "parts", ranks=2), "--resume"]))
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("fsdp", "parts")]
    assert weights[0] == weights[1]
    run(shortened(recipe, devices=1), tmp_path / "alone", resume=True)


@pytest.mark.parametrize("contrast", [True, False])
def test_another_number_of_ranks_sees_the_same_samples_and_stays_near(
    recipe: Recipe, tmp_path: Path, *, contrast: bool
) -> None:
    """What docs/ranks.md promises of a resume on 2 ranks after 3 steps on 1."""
    recipe = on_ranks(recipe, 1, max_steps=6, checkpoint_every=3, keep_checkpoints=9)
    recipe = replace(
        recipe, data=replace(recipe.data, scale=(1.0, 2.0)), contrast=recipe.contrast if contrast else None
    )
    finish(start(command_of(recipe, tmp_path / "one", ranks=1), RANK_WORKER="frozen"))
    begin_from(tmp_path / "one", step=3, folder=tmp_path / "two")
    command = command_of(shortened(recipe, devices=2), tmp_path / "two", ranks=2)
    out = finish(start([*command, "--resume"], RANK_WORKER="frozen"))
    assert "ranks 1, now 2" in " ".join(out.split())
    (one,), two = ranks_of(tmp_path / "one", 1), ranks_of(tmp_path / "two", 2)
    for (step, names), own, other in zip(one["seen"][3:], two[0]["seen"], two[1]["seen"], strict=True):
        assert own[0] == other[0] == step
        assert (*own[1], *other[1]) == tuple(names)
    losses = [(a + b) / 2 for a, b in zip(two[0]["losses"], two[1]["losses"], strict=True)]
    expected = one["losses"][3:]
    assert losses[0] == pytest.approx(expected[0], rel=1e-5), "the same weights on the same pixels"
    assert losses == pytest.approx(expected, rel=0.01 if contrast else 1e-5), "each rank draws its own anchors"
    if not contrast:
        for name, value in one["state"].items():
            torch.testing.assert_close(two[0]["state"][name], value, rtol=1e-5, atol=1e-6, msg=name)


def begin_from(run: Path, *, step: int, folder: Path) -> None:
    """A run folder as it was after a step of another run."""
    (folder / "checkpoints").mkdir(parents=True)
    for file in ("recipe.yaml", f"checkpoints/step_{step:08d}.ckpt", f"checkpoints/step_{step:08d}.sha256"):
        (folder / file).write_bytes((run / file).read_bytes())


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_others_with_a_message_and_the_run_can_go_on(
    recipe: Recipe, tmp_path: Path, victim: int
) -> None:
    recipe = on_ranks(recipe, 2, max_steps=8, checkpoint_every=1)
    command = command_of(recipe, tmp_path / "run", ranks=2)
    process = start(command, RANK_WORKER="slow")
    wait_for(lambda: len(steps_in(tmp_path / "run")) >= 2)
    os.kill(int((tmp_path / "run.ranks" / f"pid{victim}").read_text()), signal.SIGKILL)
    began = time.monotonic()
    out = finish(process, None)
    assert process.returncode != 0
    assert time.monotonic() - began < 60
    assert f"another process of this run has ended or cannot be reached, so that this one (rank {1 - victim})" in out
    finish(start([*command, "--resume"]))
    assert steps_in(tmp_path / "run") == list(range(8))


def test_a_signal_to_the_launcher_stops_all_ranks_after_one_step(recipe: Recipe, tmp_path: Path) -> None:
    recipe = on_ranks(recipe, 2, max_steps=500, checkpoint_every=1000)
    command = command_of(recipe, tmp_path / "run", ranks=2)
    process = start(command, RANK_WORKER="slow")
    wait_for(lambda: len(steps_in(tmp_path / "run")) >= 2)
    process.send_signal(signal.SIGTERM)
    out = finish(process, None)
    assert process.returncode != 0
    assert "to go on:" in out
    (saved,) = checkpoints_in(tmp_path / "run" / "checkpoints")
    assert step_of(saved) == len(steps_in(tmp_path / "run"))


def test_a_signal_to_one_rank_stops_all(recipe: Recipe, tmp_path: Path) -> None:
    recipe = on_ranks(recipe, 2, max_steps=500, checkpoint_every=1000)
    process = start(command_of(recipe, tmp_path / "run", ranks=2), RANK_WORKER="slow")
    wait_for(lambda: len(steps_in(tmp_path / "run")) >= 2)
    os.kill(int((tmp_path / "run.ranks" / "pid1").read_text()), signal.SIGTERM)
    out = finish(process, None)
    assert "to go on:" in out
    assert len(checkpoints_in(tmp_path / "run" / "checkpoints")) == 1


def test_two_nodes_on_one_machine_train_one_network(recipe: Recipe, tmp_path: Path) -> None:
    """As docs/ranks.md launches them, with two addresses of the loopback in place of two machines."""
    recipe = replace(on_ranks(recipe, 1, max_steps=3, checkpoint_every=3), seed=1)
    recipe = shortened(recipe, num_nodes=2)
    nodes = [
        start(
            command_of(
                recipe, tmp_path / "run", ranks=1,
                torchrun=("--nnodes=2", f"--node-rank={node}", "--master-addr=127.0.0.1", "--master-port=29617"),
            )
        )
        for node in range(2)
    ]  # fmt: skip
    for node in nodes:
        finish(node)
    states = [rank["state"] for rank in ranks_of(tmp_path / "run", 2)]
    learned = [name for name in states[0] if "running_" not in name]
    assert all(torch.equal(states[0][name], states[1][name]) for name in learned)
    assert Scores.load(tmp_path / "run" / "scores.json").images == 3


def test_the_ranks_that_the_command_starts_itself_stop_in_good_order(recipe: Recipe, tmp_path: Path) -> None:
    """Without torchrun: one command, two devices."""
    recipe = on_ranks(recipe, 2, max_steps=500, checkpoint_every=1000)
    (tmp_path / "recipe.yaml").write_text(dump(recipe))
    train = [sys.executable, "-m", "pixelcontrast", "train", str(tmp_path / "recipe.yaml"), "--run-dir"]
    process = start([*train, str(tmp_path / "run")])
    wait_for(lambda: len(steps_in(tmp_path / "run")) >= 1)
    process.send_signal(signal.SIGTERM)
    out = finish(process, 143)
    assert "to go on:" in out
    assert "Traceback" not in out
