"""The contrast operators inside torch.compile: one graph, few nodes, no recompilation along a schedule."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelcontrast.ops import contrast_key_sets, mine_keys, pixel_contrast_loss
from pixelcontrast.types import PixelSet

pytestmark = pytest.mark.compiled


def unit(rows: int) -> Tensor:
    return F.normalize(torch.randn(rows, 8), dim=1)


def step(
    anchors: Tensor,
    labels: Tensor,
    memory: Tensor,
    memory_labels: Tensor,
    temperature: Tensor,
    seed: Tensor,
    mining: str,
) -> Tensor:
    batch = PixelSet(anchors * 1.0, labels)
    own_key = torch.arange(anchors.shape[0])
    return contrast_key_sets(
        anchors, labels, batch, PixelSet(memory, memory_labels),
        temperature=temperature, own_key=own_key, mining=mining, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("mining", ["all", "semi_hard"])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_one_graph_gives_the_same_loss_and_gradient(mining: str, backend: str) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(step, fullgraph=True, backend=backend)
    anchors, labels = unit(30).requires_grad_(), torch.randint(-1, 3, (30,))
    memory, memory_labels = unit(2000), torch.randint(-1, 3, (2000,))
    for temperature, seed in ((0.1, 5), (0.07, 6)):
        arguments = (anchors, labels, memory, memory_labels, torch.tensor(temperature), torch.tensor(seed), mining)
        plain, other = step(*arguments), compiled(*arguments)
        assert torch.isclose(plain, other)
        gradients = [torch.autograd.grad(loss, anchors)[0] for loss in (plain, other)]
        torch.testing.assert_close(*gradients)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("mining", ["all", "semi_hard"])
def test_the_number_of_operators_depends_on_no_size(mining: str) -> None:
    counts = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        counts.append(sum(node.op == "call_function" for node in graph.graph.nodes))
        return graph

    for rows, num_classes in ((500, 2), (9000, 90)):
        torch._dynamo.reset()
        memory_labels = torch.arange(rows) % num_classes
        torch.compile(step, fullgraph=True, backend=count)(
            unit(12).requires_grad_(), torch.arange(12) % num_classes, unit(rows), memory_labels,
            torch.tensor(0.1), torch.tensor(1), mining,
        )  # fmt: skip
    assert counts[0] == counts[1] < 60


def test_public_functions_compile() -> None:
    torch._dynamo.reset()

    def both(anchors: Tensor, labels: Tensor, seed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dense = pixel_contrast_loss(anchors, labels, anchors, labels)
        positives, _ = mine_keys(anchors, labels, anchors, labels, seed=seed)
        streamed = pixel_contrast_loss(anchors, labels, anchors, labels, implementation="streaming")
        return dense, streamed, positives

    anchors, labels, seed = unit(20).requires_grad_(), torch.arange(20) % 3, torch.tensor(4)
    dense, streamed, positives = torch.compile(both, fullgraph=True, backend="aot_eager")(anchors, labels, seed)
    torch.testing.assert_close(dense, streamed)
    assert torch.equal(positives, both(anchors, labels, seed)[2])
