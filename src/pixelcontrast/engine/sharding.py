"""Weights, gradients and optimiser state shared out over the ranks (FSDP2, `torch.distributed.fsdp.fully_shard`).

For networks that do not fit on one device with their gradients and momentum. Files stay what they are without it: a
checkpoint holds whole tensors, written by the first rank, so that a run may go on with another number of ranks, or
without sharding.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.strategy import Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from pixelcontrast.contrast import PixelContrast
from pixelcontrast.nn.segmentor import Segmentor

# Layers are gathered whole one at a time; each gathering costs a message, which small ones are not worth.
_LEAST_PARAMETERS = 1_000_000


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, with checkpoints of one file that goes through the trainer's CheckpointIO.

    Lightning's own way to read one leaves out what is no registered buffer, so the memory.
    """

    def __init__(self, *, num_ranks: int) -> None:
        super().__init__(data_parallel_size=num_ranks, tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """The trainer hands the optimiser's state to `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole tensors, on the first rank; every rank must ask."""
        assert self.lightning_module is not None
        return {name: self._whole(value) for name, value in self.lightning_module.state_dict().items()}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Whole tensors, on the first rank, under the numbers that torch gives parameters; every rank must ask."""
        state = getattr(optimizer, "_optimizer", optimizer).state_dict()
        return {name: self._whole(value) for name, value in state.items()}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: FBT001
        """Every rank reads the file, and takes its share of each tensor later."""
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:  # noqa: FBT001, FBT002
        """Take this rank's share of the weights, and all of what is not shared out."""
        assert self.lightning_module is not None
        own = self.lightning_module.state_dict()
        shares = {key: _share(value, own.get(key)) for key, value in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(shares, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this rank's share of whatever has the shape of its parameter."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            shares = {
                number: {name: _share(value, parameters[number]) for name, value in each.items()}
                for number, each in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": shares})

    def _whole(self, state: Any) -> Any:
        """Tensors put together on the CPU, one after the other; the other ranks keep none."""
        if isinstance(state, Mapping):
            return {key: self._whole(value) for key, value in state.items()}
        if not isinstance(state, Tensor):
            return state
        gathered = whole(state)  # every rank takes part
        return gathered.detach().cpu() if self.is_global_zero else None


class WholeCopy:
    """A plain network beside the sharded one, to be evaluated and deployed: ranks evaluate different numbers of images.

    Args:
        segmentor: Before it is sharded.
    """

    def __init__(self, segmentor: Segmentor) -> None:
        self._sharded = segmentor
        self._copy = deepcopy(segmentor).requires_grad_(False).eval()

    @torch.no_grad()
    def refreshed(self) -> Segmentor:
        """The network with the weights that the sharded one has now; every rank must ask."""
        targets = self._copy.to(next(self._sharded.parameters()).device).state_dict()
        for name, value in self._sharded.state_dict().items():
            targets[name].copy_(whole(value))
        return self._copy


def shard(segmentor: Segmentor, criteria: nn.ModuleList, mesh: DeviceMesh) -> None:
    """Share a network's parameters out over the ranks of a mesh, layer by layer, and those of the projections.

    The memory is not sharded: each rank compares its anchors with all of it.
    """
    segmentor.to(memory_format=torch.contiguous_format)  # fully_shard takes no weights in channels-last order
    for layer in _layers(segmentor):
        fully_shard(layer, mesh=mesh)
    fully_shard(segmentor, mesh=mesh)
    for criterion in criteria:
        assert isinstance(criterion, PixelContrast)
        if criterion.head is not None:
            fully_shard(criterion.head, mesh=mesh)
            register_fsdp_forward_method(criterion.head, "project")


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from its shares, if it is shared out; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _layers(network: nn.Module) -> list[nn.Module]:
    """Links of the network's chains that are worth a gathering of their own, inner ones first."""
    found: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, nn.Sequential | nn.ModuleList):
            found += [link for link in module if _size(link) >= _LEAST_PARAMETERS and not _is_chain(link)]
    return found[::-1]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_chain(module: nn.Module) -> bool:
    """A list has no forward pass, around which it could be gathered; a chain's links are taken one by one."""
    return isinstance(module, nn.Sequential | nn.ModuleList)


def _share(value: Any, like: Any) -> Any:
    """This rank's share of a whole tensor, if `like` is shared out and of its shape."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
