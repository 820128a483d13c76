"""What a piece of code asks of torch: which operators, how often, and how large their results are."""

from collections import Counter

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "item", "bincount"}
"""Operators that copy to the host, or whose result's shape depends on values: on a GPU they stop the device."""


class OperatorLog(TorchDispatchMode):
    """Counts operators, and sizes of the results that do not alias an input."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.sizes: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.counts[name] += 1
        inputs = {x.untyped_storage().data_ptr() for x in args if isinstance(x, Tensor)}
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in inputs:
                self.sizes.append((name, tensor.untyped_storage().nbytes()))
        return out

    @property
    def num_calls(self) -> int:
        return sum(self.counts.values())

    @property
    def largest(self) -> int:
        return max((size for _, size in self.sizes), default=0)
