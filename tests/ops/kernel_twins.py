"""Compares the Triton kernels with their twins on the CPU; run with TRITON_INTERPRET=1, see test_kernels.py."""

import sys

import torch
import torch.nn.functional as F

from pixelcontrast.ops import contrast_key_sets, pixel_contrast_loss
from pixelcontrast.ops.kernels import mining as kernels
from pixelcontrast.ops.mining import seed_tensor
from pixelcontrast.ops.selection import Rule, mine_anywhere
from pixelcontrast.ops.windows import KeySets
from pixelcontrast.types import PixelSet


def compare_losses(n: int, batch_rows: int, memory_rows: int, num_classes: int, dim: int, dtype: torch.dtype) -> None:
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


def compare_choices(rule: Rule, n: int, batch_rows: int, memory_rows: int, num_classes: int) -> None:
    """Small whole numbers, so that many similarities are equal and all are exact."""
    m = batch_rows + memory_rows
    anchors, keys = torch.randint(-2, 3, (n, 3)).float(), torch.randint(-2, 3, (m, 3)).float()
    keys[torch.rand(m) < 0.05] = torch.nan
    keys[torch.rand(m) < 0.05] = torch.inf
    labels, key_labels = torch.randint(-1, num_classes, (n,)), torch.randint(-1, num_classes, (m,))
    own_key = torch.randint(-1, m, (n,)) if m else None
    sets = KeySets(
        keys[:batch_rows], key_labels[:batch_rows], keys[batch_rows:], key_labels[batch_rows:], own_key
    )  # fmt: skip
    mined = [
        list(mine(anchors, labels, sets, seed=seed_tensor(m, anchors.device), rule=rule))
        for mine in (kernels.mine_on_triton, mine_anywhere)
    ]
    for kind in ("positives", "negatives"):
        rows, expected = (torch.cat([getattr(part, kind) for part in parts]) for parts in mined)
        assert torch.equal(rows, expected), (rule, kind, rows, expected)
        values = (torch.cat([getattr(part, f"{kind[:-1]}_similarity") for part in parts]) for parts in mined)
        got, want = (similarity[rows >= 0] for similarity in values)
        torch.testing.assert_close(got, want, equal_nan=True)


def compare_mined_losses(mining: str, dtype: torch.dtype) -> None:
    anchors, batch = (F.normalize(torch.randn(rows, 20), dim=1).requires_grad_() for rows in (12, 30))
    memory = F.normalize(torch.randn(300, 20), dim=1).to(dtype)
    labels, batch_labels, memory_labels = (torch.randint(-1, 3, (rows,)) for rows in (12, 30, 300))
    memory[memory_labels < 0] = torch.nan
    losses = [
        contrast_key_sets(
            anchors, labels, PixelSet(batch, batch_labels), PixelSet(memory, memory_labels),
            own_key=torch.arange(12), mining=mining, positives_per_anchor=7, negatives_per_anchor=40,
            pool_share=0.3, implementation=implementation,
        )
        for implementation in ("triton", "auto")
    ]  # fmt: skip
    torch.testing.assert_close(*losses)
    for got, want in zip(*(torch.autograd.grad(loss, (anchors, batch)) for loss in losses), strict=True):
        torch.testing.assert_close(got, want)


def streaming() -> None:
    compare_losses(70, 30, 300, 3, 20, torch.float32)
    compare_losses(5, 0, 130, 2, 16, torch.float32)
    compare_losses(8, 20, 0, 1, 7, torch.float32)
    compare_losses(3, 1, 1, 40, 4, torch.float32)
    # the interpreter multiplies bfloat16 by its bit patterns, so float16 stands for the half-size formats
    compare_losses(40, 30, 200, 4, 32, torch.float16)


def mining() -> None:
    kernels._BLOCK = 128  # so that a small problem has several blocks
    for rule in ("semi_hard", "hardest", "random"):
        compare_choices(Rule(rule, 20, 40, 0.1), 4, 30, 400, 3)
        compare_choices(Rule(rule, 3, 5, 0.5), 4, 0, 200, 2)
        compare_choices(Rule(rule, 1, 0, 1.0), 2, 70, 0, 1)
        compare_choices(Rule(rule, 2, 2, 0.1), 2, 0, 0, 1)
        compare_mined_losses(rule, torch.float32)
    compare_mined_losses("semi_hard", torch.float16)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    {"streaming": streaming, "mining": mining}[sys.argv[1]]()
