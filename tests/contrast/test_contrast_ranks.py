"""Two real processes over gloo: memories agree, gradients are those of the mean loss, and nobody waits for ever."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor

import rank_worker
from pixelcontrast import pixel_contrast_loss
from pixelcontrast.contrast.criterion import ANCHORS
from pixelcontrast.contrast.memory import pixel_rows
from pixelcontrast.ops import sample_anchors
from pixelcontrast.ops.hashing import step_key
from pixelcontrast.ops.regions import unit_length
from rank_worker import CAPPED, CLASSES, STEPS, WORLD, Draw, batch_of, make_bank, uneven_batch_of
from reference.memory import LoopMemory

Results = dict[str, Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(rank_worker.work, args=(str(folder),), nprocs=WORLD)
    return [torch.load(Path(folder) / f"rank{rank}.pt", weights_only=True) for rank in range(WORLD)]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def filled_by_one_process(draw: Draw) -> dict[str, Tensor]:
    """The memory of one process that has the batches of both ranks."""
    bank = make_bank()
    for step in range(STEPS):
        features, labels, _ = (torch.cat(parts) for parts in zip(*(draw(r, step) for r in range(WORLD)), strict=True))
        bank.enqueue(unit_length(features), labels)
    return bank.state_dict()


def test_memories_are_bit_identical_on_all_ranks(ranks: list[Results]) -> None:
    assert same(ranks[0]["bank"], ranks[1]["bank"])
    assert same(ranks[0]["capped"], ranks[1]["capped"])


def test_the_memory_equals_that_of_one_process_with_the_whole_batch(ranks: list[Results]) -> None:
    state = filled_by_one_process(batch_of)
    assert torch.equal(ranks[0]["bank"]["labels"], state["labels"])
    torch.testing.assert_close(ranks[0]["bank"]["rows"], state["rows"])
    assert all(torch.equal(ranks[0]["bank"][name], state[name]) for name in ("cursors", "fill", "clock", "stamps"))
    pixels = torch.arange(len(state["labels"]) - 1).reshape(CLASSES, -1)[:, 5:].flatten()
    assert torch.equal(ranks[0]["bank"]["rows"][pixels], state["rows"][pixels])  # pixels are copied, not summed


def test_a_rank_may_have_fewer_images_than_another(ranks: list[Results]) -> None:
    assert same(ranks[0]["uneven"], ranks[1]["uneven"])
    state = filled_by_one_process(uneven_batch_of)
    assert all(torch.equal(ranks[0]["uneven"][name], state[name]) for name in state if name != "rows")
    regions = torch.arange(len(state["labels"]) - 1).reshape(CLASSES, -1)[:, :5].flatten()
    torch.testing.assert_close(ranks[0]["uneven"]["rows"][regions], state["rows"][regions])


def test_a_memory_that_one_rank_alone_has_loaded_is_told_on_all_of_them(ranks: list[Results]) -> None:
    assert ranks[0]["refused"] == ranks[1]["refused"]
    assert "different memories (calls, or places in a ring): 3, 0," in ranks[0]["refused"]
    assert "same checkpoint of contrast on every rank" in ranks[0]["refused"]


def test_a_cap_bounds_what_a_rank_sends_of_a_class(ranks: list[Results]) -> None:
    twin = LoopMemory(CLASSES, regions_per_class=0, pixels_per_class=11)
    for step in range(STEPS):
        for rank in range(WORLD):
            labels = batch_of(rank, step)[1]
            for c in range(CLASSES):
                drawn = sum(min(3, int((image == c).sum())) for image in labels)
                twin.store(1, [((0.0,), c)] * min(CAPPED, drawn))
    assert ranks[0]["capped"]["cursors"][1].tolist() == [cursors[1] for cursors in twin.cursors]


def test_gathered_keys_give_the_gradient_of_the_sum_of_all_losses(ranks: list[Results]) -> None:
    for step in (2, 3):
        features, anchors, labels = [], [], []
        for rank in range(WORLD):
            feature, label, logits = batch_of(rank, step)
            positions, found = sample_anchors(
                label, logits.argmax(1), num_classes=CLASSES, anchors_per_class=6,
                seed=step_key(0, torch.tensor(0), ANCHORS),
            )  # fmt: skip
            features.append(feature.requires_grad_())
            anchors.append(unit_length(pixel_rows(feature, positions)))
            labels.append(found)
        keys, key_labels = torch.cat(anchors), torch.cat(labels)
        losses = [
            pixel_contrast_loss(
                anchors[rank], labels[rank], keys, key_labels,
                own_key=torch.arange(len(anchors[rank])) + rank * len(anchors[rank]), implementation="dense",
            )
            for rank in range(WORLD)
        ]  # fmt: skip
        gradients = torch.autograd.grad(losses[0] + losses[1], features)
        for rank in range(WORLD):
            torch.testing.assert_close(ranks[rank]["keys"][f"loss{step}"], losses[rank].detach())
            torch.testing.assert_close(ranks[rank]["keys"][f"gradient{step}"], gradients[rank])
    assert float(ranks[1]["keys"]["loss3"]) == 0
    assert float(ranks[0]["keys"]["loss3"]) > 0


def test_training_in_parallel_keeps_weights_and_memories_equal(ranks: list[Results]) -> None:
    # running statistics are each rank's own until the next forward broadcasts them
    states = [{name: x for name, x in each["trained"].items() if "running" not in name} for each in ranks]
    assert same(*states)
    assert (ranks[0]["trained"]["contrast.memory.labels"] >= 0).sum() == CLASSES * (11 + 5)


def test_broadcast_of_buffers_leaves_each_rank_s_memory_alone(ranks: list[Results]) -> None:
    """Without gathering, each rank keeps its own samples: rank 0's do not overwrite them at a forward."""
    rows = [ranks[rank]["apart"]["contrast.memory.rows"] for rank in range(WORLD)]
    assert not torch.equal(rows[0], rows[1])
    assert int(ranks[1]["apart"]["contrast.memory.fill"].sum()) > 0
