"""Two real ranks: contrast is outside of DistributedDataParallel, and stays equal on both all the same."""

from pathlib import Path

import torch
import torch.multiprocessing

import attach_rank_worker


def test_two_ranks_hold_one_projection_and_one_memory_and_refuse_two_pasts(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(attach_rank_worker.main, (str(tmp_path),), nprocs=attach_rank_worker.WORLD)
    results = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    (first, frozen, refused), (second, also_frozen, also_refused) = results
    assert all(torch.equal(frozen[name], also_frozen[name]) for name in frozen)
    assert refused == also_refused
    assert "different calls in training: 4, 0," in refused
    assert len(first) == len(second) == 2 + 4 + 6 + 4  # counters, weights, memory, gradients
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert int(first["criteria.0.memory.fill"].sum()) > 0
