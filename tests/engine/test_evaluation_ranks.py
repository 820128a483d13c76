"""Two ranks score a split as one does: to the last count, and with the same files."""

from pathlib import Path

import numpy as np
import pytest
import torch.multiprocessing as mp

from evaluation_rank_worker import WORLD, evaluate, work


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
