"""What each of two ranks does in `test_contrast_ranks`; a module of its own, so that a fresh process can import it."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pixelcontrast import MemoryBank, MemoryOptions, PixelContrast
from pixelcontrast.ops.regions import unit_length

WORLD = 2
STEPS = 6
CLASSES = 4
CAPPED = 3
Draw = Callable[[int, int], tuple[Tensor, Tensor, Tensor]]


def batch_of(rank: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels and logits of one rank; rank 1 sees one class at step 1 and nothing at step 3."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    features = torch.randn(2, 5, 6, 7, generator=generator)
    labels = torch.randint(0, CLASSES, (2, 6, 7), generator=generator)
    if rank == 1:
        labels = {1: torch.full_like(labels, 2), 3: torch.full_like(labels, 255)}.get(step, labels)
    return features, labels, torch.randn(2, CLASSES, 6, 7, generator=generator)


def uneven_batch_of(rank: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same, of one image only on rank 1 at step 1 and on rank 0 at step 2."""
    images = 1 if (rank, step) in {(1, 1), (0, 2)} else 2
    features, labels, logits = batch_of(rank, step)
    return features[:images], labels[:images], logits[:images]


def make_bank(**options: int) -> MemoryBank:
    return MemoryBank(CLASSES, 5, pixels_per_class=11, regions_per_class=5, pixels_per_region=3, **options)


def fill_bank(rank: int, draw: Draw = batch_of, **options: int) -> dict[str, Tensor]:
    bank = make_bank(**options)
    for step in range(STEPS):
        features, labels, _ = draw(rank, step)
        bank.enqueue(unit_length(features), labels)
    return {name: value.clone() for name, value in bank.state_dict().items()}


def refuse_unequal_memories(rank: int) -> str:
    """What a rank says where rank 0 alone has loaded a memory."""
    bank = make_bank()
    if rank == 0:
        bank.clock += 3
    features, labels, _ = batch_of(rank, 0)
    try:
        bank.enqueue(unit_length(features), labels)
    except ValueError as error:
        return str(error)
    return ""


def gather_keys(rank: int) -> dict[str, Tensor]:
    """Loss and gradient with the in-batch keys of both ranks, at the step where rank 1 has no anchor and before it."""
    results = {}
    for step in (2, 3):
        criterion = PixelContrast(5, CLASSES, projection="none", mining="all", gather_keys=True, anchors_per_class=6)
        features, labels, logits = batch_of(rank, step)
        features.requires_grad_()
        if rank == 0:  # a validation there alone: nobody is waited for
            criterion.eval()(features, labels, logits)
            criterion.train()
        loss = criterion(features, labels, logits)
        loss.backward()
        assert features.grad is not None
        results |= {f"loss{step}": loss.detach(), f"gradient{step}": features.grad}
    return results


class Network(nn.Module):
    def __init__(self, gather_ranks: bool | None) -> None:
        super().__init__()
        self.body = nn.Conv2d(5, 8, 1)
        self.head = nn.Conv2d(8, CLASSES, 1)
        self.norm = nn.BatchNorm2d(8)  # buffers, which DistributedDataParallel broadcasts
        self.contrast = PixelContrast(
            8, CLASSES, embedding_dim=6, memory=MemoryOptions(pixels_per_class=11, regions_per_class=5),
            gather_ranks=gather_ranks,
        )  # fmt: skip

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features = self.norm(self.body(images))
        loss: Tensor = self.contrast(features, labels, self.head(features))
        return loss + self.head(features).square().mean()


def train(rank: int, gather_ranks: bool | None) -> dict[str, Tensor]:
    torch.manual_seed(5)
    network = nn.parallel.DistributedDataParallel(Network(gather_ranks))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for step in range(STEPS):
        images, labels, _ = batch_of(rank, step)
        optimizer.zero_grad()
        network(images, labels).backward()
        optimizer.step()
    module = network.module
    assert isinstance(module, Network)
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def train_in_one_graph(rank: int, folder: str) -> None:
    join(rank, folder)
    criterion = PixelContrast(5, CLASSES, memory=MemoryOptions(pixels_per_class=11, regions_per_class=5))
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    for step in range(3):
        features, labels, logits = batch_of(rank, step)
        compiled(features.requires_grad_(), labels, logits).backward()
    torch.save(criterion.memory.state_dict(), Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def join(rank: int, folder: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    store = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)


def work(rank: int, folder: str) -> None:
    warnings.simplefilter("error")  # as the suite has it; a new process does not
    join(rank, folder)
    results = {
        "bank": fill_bank(rank),
        "uneven": fill_bank(rank, uneven_batch_of),
        "refused": refuse_unequal_memories(rank),
        "capped": fill_bank(rank, candidates_per_class=CAPPED),
        "keys": gather_keys(rank),
        "trained": train(rank, None),
        "apart": train(rank, gather_ranks=False),
    }
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
