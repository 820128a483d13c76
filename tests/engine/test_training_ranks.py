"""The whole command on two ranks, as torchrun starts it: two real processes over gloo."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pixelcontrast.engine.scores import Scores
from pixelcontrast.recipe.root import Recipe, dump


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ranks_train_one_network_and_count_each_image_once(recipe: Recipe, tmp_path: Path) -> None:
    two = replace(recipe, trainer=replace(recipe.trainer, devices=2, max_steps=4, checkpoint_every=4))
    (tmp_path / "recipe.yaml").write_text(dump(two))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    train = ["-m", "pixelcontrast", "train", str(tmp_path / "recipe.yaml"), "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(
        [*torchrun, *train], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert Scores.load(tmp_path / "run" / "scores.json").images == 3  # of 3: an odd split has no padding
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 3]
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("*.ckpt")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    stored = (state["contrast.memory.labels"] >= 0).sum()
    assert stored > 0, "the memory is in the checkpoint"
