"""The whole contrast step under torch.compile: one graph, equal results, and no copy of the memory."""

import copy
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import Tensor
from torch._inductor.utils import run_and_get_code

import rank_worker
from pixelcontrast import MemoryOptions, PixelContrast

pytestmark = pytest.mark.compiled

MEMORY = MemoryOptions(pixels_per_class=97, regions_per_class=14, pixels_per_region=4)


def batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (2, 16, 16), generator=generator)
    return torch.randn(2, 6, 8, 8, generator=generator), labels, torch.randn(2, 3, 4, 4, generator=generator)


def run(criterion: torch.nn.Module, seed: int) -> tuple[Tensor, Tensor]:
    features, labels, logits = batch(seed)
    features.requires_grad_()
    loss = criterion(features, labels, logits)
    loss.backward()
    assert features.grad is not None
    return loss.detach(), features.grad


def check(criterion: PixelContrast, backend: str) -> None:
    torch._dynamo.reset()
    twin = copy.deepcopy(criterion)
    compiled = torch.compile(criterion, fullgraph=True, backend=backend)
    for seed in range(3):
        for ours, theirs in zip(run(compiled, seed), run(twin, seed), strict=True):
            torch.testing.assert_close(ours, theirs)
    states = criterion.state_dict(), twin.state_dict()
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name])
    assert int(criterion.step) == 3
    figures = criterion.statistics, twin.statistics
    assert figures[0].keys() == figures[1].keys()
    for name, value in figures[0].items():
        torch.testing.assert_close(value, figures[1][name])


@pytest.mark.parametrize(
    ("projection", "mining", "groups"),
    [("dense", "semi_hard", "class"), ("sampled", "all", "image_class"), ("none", "hardest", "class")],
)
def test_a_step_is_one_graph_with_the_same_results(projection: str, mining: str, groups: str) -> None:
    options = {"projection": projection, "mining": mining, "anchor_groups": groups}
    criterion = PixelContrast(
        6, 3, embedding_dim=5, memory=MEMORY, final_temperature=0.3, temperature_steps=5, **options
    )  # type: ignore[arg-type]
    check(criterion, "aot_eager")


def test_steps_do_not_recompile() -> None:
    torch._dynamo.reset()
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]):  # type: ignore[no-untyped-def]
        graphs.append(graph)
        return graph.forward

    criterion = PixelContrast(6, 3, embedding_dim=5, memory=MEMORY, final_temperature=0.3, temperature_steps=2)
    compiled = torch.compile(criterion, fullgraph=True, backend=count)
    for seed in range(4):
        compiled(*batch(seed))
    assert len(graphs) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_generated_code_gives_the_same_results_and_does_not_copy_the_memory() -> None:
    criterion = PixelContrast(6, 3, projection="none", mining="all", memory=MEMORY)
    _, code = run_and_get_code(lambda: check(criterion, "inductor"))
    assert "pixelcontrast.overwrite" in "".join(code)
    assert f"empty_strided_cpu(({3 * (97 + 14) + 1}, 6)" not in "".join(code)


def test_a_step_that_gathers_ranks_is_one_graph(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(rank_worker.train_in_one_graph, (str(tmp_path),), nprocs=rank_worker.WORLD)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert int(first["clock"]) == 3
    assert int(first["fill"].sum()) > 0
