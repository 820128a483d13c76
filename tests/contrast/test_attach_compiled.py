"""A compiled model feeds contrast as the plain one does."""

import copy

import pytest
import torch

from attach_models import CLASSES, Network, batch
from pixelcontrast import MemoryOptions, attach

pytestmark = pytest.mark.compiled
MEMORY = MemoryOptions(pixels_per_class=12, regions_per_class=4, pixels_per_region=3)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_one_graph_and_gives_the_same_losses_and_gradients(in_place: bool) -> None:
    torch._dynamo.reset()
    model = Network()
    twin = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    if in_place:
        model.compile(fullgraph=True, backend="aot_eager")
    results = []
    for network, call in ((model, model if in_place else compiled), (twin, twin)):
        torch.manual_seed(0)
        contrast = attach(call, at="neck", num_classes=CLASSES, in_channels=12, memory=MEMORY)
        losses = []
        for step in range(3):
            with torch._dynamo.config.patch(error_on_recompile=step > 0):
                images, labels = batch(step)
                loss = contrast(labels, call(images))
                network.zero_grad()
                loss.backward()
                losses.append(loss.detach())
        weight = network.stem[0].weight.grad
        assert weight is not None
        results.append((torch.stack(losses), weight))
        network.eval()
        before = call(images)
        contrast.detach()
        assert torch.equal(call(images), before)
        assert contrast._recorders[0].live is None
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo, after a graph break
def test_a_checkpointed_module_of_a_compiled_model_breaks_the_graph_there_and_works() -> None:
    torch._dynamo.reset()
    model, (images, labels) = Network(reentrant=False), batch()
    contrast = attach(model, at="neck", num_classes=CLASSES)
    contrast(labels, torch.compile(model, backend="aot_eager")(images)).backward()
    assert model.stem[0].weight.grad is not None
