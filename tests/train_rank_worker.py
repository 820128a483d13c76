"""The train command on one rank, which leaves what the rank holds at the end: `torchrun ... train_rank_worker.py OUT`.

More arguments are the command's own. RANK_WORKER may name one more thing to do:
`unlabelled`: on the last rank no pixel of steps 1 and 2 has a label; `slow`: every step takes a second longer;
`frozen`: batch norm uses its running statistics, nothing is dropped out, and every pixel has a label, so that a mean
over ranks is the mean over the whole batch.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pixelcontrast.cli import main
from pixelcontrast.engine.module import SegmentationTask
from pixelcontrast.engine.sharding import whole
from pixelcontrast.types import Batch


def work(output: Path, what: str) -> None:
    step, seen, losses = SegmentationTask.training_step, [], []
    loaded = SegmentationTask.transfer_batch_to_device

    def training_step(task: SegmentationTask, batch: Batch, batch_idx: int) -> Tensor:
        seen.append((task.global_step, batch.names))
        if what == "slow":
            time.sleep(1)
        if what == "frozen":
            task.segmentor.eval()
        loss = step(task, batch, batch_idx)
        losses.append(task.parts["loss/cross_entropy"].item())
        return loss

    def transfer(task: SegmentationTask, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        batch = loaded(task, batch, device, dataloader_idx)
        if what == "unlabelled" and task.global_rank == task.trainer.world_size - 1 and task.global_step in (1, 2):
            return replace(batch, labels=torch.full_like(batch.labels, 255))
        if what == "frozen":
            return replace(batch, labels=batch.labels.where(batch.labels != 255, 0))
        return batch

    def on_train_end(task: SegmentationTask) -> None:
        state = {name: whole(value).clone() for name, value in task.state_dict().items()}
        held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in task.segmentor.parameters())
        output.mkdir(parents=True, exist_ok=True)
        torch.save(
            {"state": state, "seen": seen, "losses": losses, "held": held}, output / f"rank{task.global_rank}.pt"
        )

    SegmentationTask.training_step = training_step  # type: ignore[method-assign]
    SegmentationTask.transfer_batch_to_device = transfer  # type: ignore[method-assign]
    SegmentationTask.on_train_end = on_train_end  # type: ignore[method-assign]
    (output / f"pid{os.environ.get('RANK', 0)}").write_text(str(os.getpid()))
    main()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv.pop(1))
    folder.mkdir(parents=True, exist_ok=True)
    work(folder, os.environ.get("RANK_WORKER", ""))
