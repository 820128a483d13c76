"""A GPU that is not there: tensors on "cuda:0" with shapes and no values; what looks at a value raises."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Within it tensors and modules are made on the fake GPU, unless they are told otherwise."""
    ample = 2**36
    # Modules cannot be moved under fake tensors; here they are made where they are to be.
    here = patch.object(torch.nn.Module, "to", lambda module, *_, **__: module)
    room = patch.object(torch.cuda, "mem_get_info", lambda *_: (ample, ample))
    with here, room, FakeTensorMode(), torch.device("cuda:0"):
        yield


class Crossings(TorchDispatchMode):
    """Notes the operations that copy between host and GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, _: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        result = function(*arguments, **(named or {}))
        tensors = [each for each in tree_leaves((arguments, named, result)) if isinstance(each, Tensor)]
        if "copy" in str(function) and len({each.device.type for each in tensors}) > 1:
            self.seen.append(str(function))
        return result
