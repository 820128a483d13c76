"""Eq. 3 as one operator: it computes the gradient in the forward pass, for the loss is linear in what comes in.

Backward scales what forward stored and reads no key, so a memory may be written between the two. A graph compiled by
torch.compile holds one node for it, whatever the number of keys.
"""

from typing import Any

import torch
from torch import Tensor

from pixelcontrast.ops.cpu_streaming import stream_on_cpu
from pixelcontrast.ops.windows import FixedWindows, KeySets, Stream


def stream_contrast(
    anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, temperature: Tensor, triton: bool = False
) -> Tensor:
    """Eq. 3 against every key; scalar. Gradients flow into anchors, batch keys and temperature, never into the memory.

    Args:
        anchors: [n d], float32 or float64.
        anchor_labels: [n] int64, negative for a row that is not there.
        sets: The keys; those of the batch in the anchors' dtype.
        temperature: Scalar in the anchors' dtype.
        triton: Whether by the kernels of `kernels.contrast`.
    """
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in (anchors, sets.batch, temperature))
    loss: Tensor = _stream(
        anchors, anchor_labels, sets.batch, sets.batch_labels, sets.memory.detach(), sets.memory_labels, temperature,
        sets.own_key, triton=triton, gradient=wanted, batch_gradient=wanted and sets.batch.requires_grad,
    )[0]  # fmt: skip
    return loss


@torch.library.custom_op("pixelcontrast::stream", mutates_args=())
def _stream(
    anchors: Tensor,
    anchor_labels: Tensor,
    batch: Tensor,
    batch_labels: Tensor,
    memory: Tensor,
    memory_labels: Tensor,
    temperature: Tensor,
    own_key: Tensor | None,
    *,
    triton: bool,
    gradient: bool,
    batch_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss and its gradient with respect to anchors, batch keys and temperature."""
    run = stream_on_cpu if anchors.device.type == "cpu" else _stream_anywhere
    if triton:
        from pixelcontrast.ops.kernels.contrast import stream_on_triton as run
    sets = KeySets(batch, batch_labels, memory, memory_labels, own_key)
    with torch.autocast(anchors.device.type, enabled=False):
        # rows that are not there may hold anything, even NaN, which a weight of 0 would not undo
        scaled = anchors.where((anchor_labels >= 0)[:, None], 0) / temperature
        loss, of_scaled, of_batch = run(scaled, anchor_labels, sets, gradient=gradient, batch_gradient=batch_gradient)
        return loss, of_scaled / temperature, of_batch, -(scaled * of_scaled).sum() / temperature


def _stream_anywhere(
    anchors: Tensor, anchor_labels: Tensor, sets: KeySets, *, gradient: bool, batch_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `stream_on_cpu`, for a device that must not be waited for: shapes depend on no value."""
    own = sets.own_rows()
    return Stream(anchors, anchor_labels, sets.count_positives(anchor_labels), gradient).run(
        FixedWindows(sets.batch, sets.batch_labels, anchors, own[0]),
        FixedWindows(sets.memory, sets.memory_labels, anchors, own[1]),
        sets.batch if batch_gradient else None,
    )


def shapes_of_gradients(
    anchors: Tensor, anchor_labels: Tensor, batch: Tensor, *_: Any, batch_gradient: bool, **__: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What an operator (anchors, _, batch, _, memory, _, temperature, ...) returns, without values."""
    of_batch = torch.empty_like(batch if batch_gradient else batch[:0])
    return anchors.new_empty(()), torch.empty_like(anchors), of_batch, anchors.new_empty(())


_stream.register_fake(shapes_of_gradients)


@torch.library.custom_op("pixelcontrast::scale", mutates_args=())
def _scale(gradient: Tensor, incoming: Tensor) -> Tensor:
    return gradient * incoming


@_scale.register_fake
def _(gradient: Tensor, incoming: Tensor) -> Tensor:
    return torch.empty_like(gradient)


def _refuse(ctx: Any, incoming: Tensor) -> tuple[None, None]:
    raise RuntimeError(
        "the streaming loss computes its gradient in the forward pass, which cannot be differentiated again; "
        'use pixel_contrast_loss(..., implementation="dense") for second derivatives'
    )


_scale.register_autograd(_refuse)


def keep_gradients(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: tuple[Tensor, ...]
) -> None:
    """Store what forward computed for `scale_gradients`."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:])


def scale_gradients(ctx: Any, incoming: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    """Backward of an operator (anchors, _, batch, _, memory, _, temperature, ...) -> gradients."""
    needs = ctx.needs_input_grad
    scaled = dict(zip((0, 2, 6), ctx.saved_tensors, strict=True))
    return tuple(_scale(scaled[i], incoming) if needs[i] and i in scaled else None for i in range(len(needs)))


_stream.register_autograd(scale_gradients, setup_context=keep_gradients)
