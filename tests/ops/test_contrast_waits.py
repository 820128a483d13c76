"""What runs on a GPU has shapes that depend on no value: under fake tensors, which have none, a look at one raises."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from pixelcontrast.ops import mined, streaming
from pixelcontrast.ops.contrast import pixel_contrast_loss
from pixelcontrast.ops.selection import Rule, mine_anywhere
from pixelcontrast.ops.windows import KeySets


def sets(own_key: Tensor) -> KeySets:
    labels = torch.zeros(3000, dtype=torch.int64)
    return KeySets(torch.zeros(40, 8), labels[:40], torch.zeros(3000, 8), labels, own_key)


def stream(anchors: Tensor, labels: Tensor, own_key: Tensor) -> None:
    streaming._stream_anywhere(anchors, labels, sets(own_key), gradient=True, batch_gradient=True)


def mine(anchors: Tensor, labels: Tensor, own_key: Tensor) -> None:
    for name in ("semi_hard", "hardest", "random"):
        list(mine_anywhere(anchors, labels, sets(own_key), seed=labels[0], rule=Rule(name, 5, 9, 0.1)))


def weigh(anchors: Tensor, labels: Tensor, own_key: Tensor) -> None:
    rule, keys, one = Rule("semi_hard", 5, 9, 0.1), sets(own_key), torch.ones(())
    loss = mined._MinedLoss(anchors, keys, one, one, mined._add_rows)
    for part in mine_anywhere(anchors, labels, keys, seed=labels[0], rule=rule):
        loss.add(part, gradient=True, batch_gradient=True)


def dense(anchors: Tensor, labels: Tensor, own_key: Tensor) -> None:
    pixel_contrast_loss(anchors, labels, anchors, labels, own_key=own_key, implementation="dense")


@pytest.mark.parametrize("function", [stream, mine, weigh, dense])
def test_no_value_is_looked_at(function: object) -> None:
    with FakeTensorMode():
        function(torch.zeros(30, 8), torch.zeros(30, dtype=torch.int64), torch.zeros(30, dtype=torch.int64))


def test_a_look_at_a_value_would_be_seen() -> None:
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        bool(torch.zeros(()))
