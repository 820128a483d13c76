"""What each of two ranks does in `test_attach_ranks`; a module of its own, so that a fresh process can import it."""

import os
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from attach_models import CLASSES, Network, batch
from pixelcontrast import MemoryOptions, attach

WORLD = 2


def train(rank: int) -> dict[str, Tensor]:
    """Three steps under DistributedDataParallel; ranks draw different projections; rank 1 once has no labels.

    Before them rank 0 validates alone, as a check of a validation does: nobody else is waited for.
    """
    torch.manual_seed(0)
    model = Network()
    torch.manual_seed(rank)
    contrast = attach(
        model, at="neck", num_classes=CLASSES, memory=MemoryOptions(pixels_per_class=9, regions_per_class=3)
    )
    if rank == 0:
        with torch.no_grad():
            images, labels = batch(0)
            contrast(labels, model.eval()(images))
        model.train()
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD([*parallel.parameters(), *contrast.parameters()], lr=0.1)
    for step in range(3):
        images, labels = batch(10 * step + rank)
        if rank == step == 1:
            labels = torch.full_like(labels, 255)
        logits = parallel(images)
        loss = nn.functional.cross_entropy(logits, labels[:, ::4, ::4], ignore_index=255, reduction="sum") + contrast(
            labels, logits
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gradients = {f"gradient.{name}": p.grad for name, p in contrast.named_parameters() if p.grad is not None}
    return dict(contrast.state_dict()) | gradients


def train_frozen(rank: int) -> dict[str, Tensor]:
    """The projection after a step of a model in eval mode, as with frozen statistics; ranks draw different ones."""
    model, (images, labels) = Network().eval(), batch(rank)
    torch.manual_seed(rank)
    contrast = attach(model, at="neck", num_classes=CLASSES, seed=rank)
    contrast(labels, model(images)).backward()
    torch.optim.SGD(contrast.parameters(), lr=0.1).step()
    return {name: parameter.detach() for name, parameter in contrast.named_parameters()}


def refuse_unequal_calls(rank: int) -> str:
    """What a rank says where rank 0 alone has loaded a checkpoint, and is past the warm-up for it."""
    model, (images, labels) = Network(), batch(rank)
    contrast = attach(model, at="neck", num_classes=CLASSES, in_channels=12, start_step=2)
    if rank == 0:
        contrast.set_extra_state(torch.tensor(4))
    try:
        contrast(labels, model(images))
    except ValueError as error:
        return str(error)
    return ""


def main(rank: int, folder: str) -> None:
    os.environ |= {"OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    warnings.simplefilter("error")  # as the suite has it; a new process does not
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    try:
        torch.save((train(rank), train_frozen(rank), refuse_unequal_calls(rank)), Path(folder) / f"rank{rank}.pt")
    finally:
        dist.destroy_process_group()
