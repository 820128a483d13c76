"""Two ranks score a split as one does: to the last count, and with the same files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.multiprocessing as mp

from evaluation_rank_worker import WORLD, evaluate, work
from pixelcontrast.data import Camvid
from pixelcontrast.nn.heads import FCN
from pixelcontrast.nn.options import ModelOptions
from pixelcontrast.nn.segmentor import Segmentor


@pytest.mark.slow
def test_two_ranks_score_as_one_and_write_the_same_files(camvid_root: Path, tmp_path: Path) -> None:
    alone = evaluate(camvid_root, tmp_path / "one")
    mp.start_processes(work, args=(str(camvid_root), str(tmp_path)), nprocs=WORLD, start_method="spawn")
    alone.save(tmp_path / "alone.json")
    texts = {name: (tmp_path / f"{name}.json").read_text() for name in ("alone", "rank0", "rank1")}
    assert texts["rank0"] == texts["rank1"] == texts["alone"]
    files = {
        folder: {p.relative_to(tmp_path / folder): p.read_bytes() for p in (tmp_path / folder).rglob("*.*")}
        for folder in ("one", "two")
    }
    counts = [np.load(tmp_path / folder / "images.npz") for folder in files]
    assert all(np.array_equal(counts[0][key], counts[1][key]) for key in counts[0])
    for held in files.values():
        del held[Path("images.npz")]  # a zip, which holds the time of its making
    assert files["one"] == files["two"]
    assert len(files["one"]) == 6 + 3 * 6


@pytest.mark.slow
def test_the_command_shares_the_work_under_torchrun(camvid_root: Path, tmp_path: Path) -> None:
    space = Camvid().label_space
    model = ModelOptions(backbone="test_resnet", head=FCN())
    Segmentor(model, 11, class_names=space.names, palette=space.palette).save_pretrained(tmp_path / "network")
    data = ["--data", "camvid", "--set", f"data.root={camvid_root}", "--set", "data.workers=0"]
    evaluate = ["-m", "pixelcontrast", "evaluate", str(tmp_path / "network"), *data, "--output"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for launcher, folder in (([], "one"), (torchrun, "two")):
        done = subprocess.run(
            [sys.executable, *launcher, *evaluate, str(tmp_path / folder)],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("mIoU") == 1, "one process speaks"
    one, two = (json.loads((tmp_path / folder / "scores.json").read_text()) for folder in ("one", "two"))
    assert one == two
