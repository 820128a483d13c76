"""Compares the Triton kernels with the dense loss on the CPU; run with TRITON_INTERPRET=1, see test_kernels.py."""

import torch
import torch.nn.functional as F

from pixelcontrast.ops import contrast_key_sets, pixel_contrast_loss
from pixelcontrast.types import PixelSet


def compare(n: int, batch_rows: int, memory_rows: int, num_classes: int, dim: int, dtype: torch.dtype) -> None:
    def unit(rows: int) -> torch.Tensor:
        return F.normalize(torch.randn(rows, dim), dim=1)

    def labels(rows: int) -> torch.Tensor:
        return torch.randint(-1, num_classes, (rows,))

    anchors, batch = unit(n).requires_grad_(), unit(batch_rows).requires_grad_()
    anchor_labels, batch_labels, memory_labels = labels(n), labels(batch_rows), labels(memory_rows).sort().values
    memory = unit(memory_rows).to(dtype)
    own_key = torch.randint(-1, batch_rows + memory_rows, (n,))
    expected = pixel_contrast_loss(
        anchors, anchor_labels, torch.cat([batch, memory.float()]), torch.cat([batch_labels, memory_labels]),
        own_key=own_key, implementation="dense",
    )  # fmt: skip
    memory[memory_labels < 0] = torch.nan
    loss = contrast_key_sets(
        anchors, anchor_labels, PixelSet(batch, batch_labels), PixelSet(memory, memory_labels),
        own_key=own_key, mining="all", implementation="triton",
    )  # fmt: skip
    tolerance = {"atol": 1e-5, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.02, "rtol": 0.02}
    torch.testing.assert_close(loss, expected, **tolerance)
    gradients = torch.autograd.grad(loss, (anchors, batch)), torch.autograd.grad(expected, (anchors, batch))
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, **tolerance)
    with torch.no_grad():
        torch.testing.assert_close(
            contrast_key_sets(
                anchors, anchor_labels, PixelSet(batch, batch_labels), PixelSet(memory, memory_labels),
                own_key=own_key, mining="all", implementation="triton",
            ),
            loss,
        )  # fmt: skip


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    compare(70, 30, 300, 3, 20, torch.float32)
    compare(5, 0, 130, 2, 16, torch.float32)
    compare(8, 20, 0, 1, 7, torch.float32)
    compare(3, 1, 1, 40, 4, torch.float32)
    # the interpreter multiplies bfloat16 by its bit patterns, so float16 stands for the half-size formats
    compare(40, 30, 200, 4, 32, torch.float16)
