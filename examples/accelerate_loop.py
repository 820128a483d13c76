"""Pixel contrast in a loop on Accelerate: `accelerate launch examples/accelerate_loop.py`, on any number of processes.

Contrast needs no preparing: it follows the features' device, and averages its own gradients over processes.
"""

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, one_hot

import pixelcontrast


def train(epochs: int = 3) -> list[float]:
    accelerator = Accelerator(gradient_accumulation_steps=2)
    labels = torch.randint(0, 4, (8, 4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    data = torch.utils.data.TensorDataset(one_hot(labels, 4)[..., :3].movedim(-1, 1).float(), labels)
    model = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 4, 1))

    contrast = pixelcontrast.attach(model, at="0", num_classes=4)
    optimizer = torch.optim.AdamW([*model.parameters(), *contrast.parameters()], lr=1e-2)
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    accelerator.register_for_checkpointing(contrast)

    losses = []
    for _ in range(epochs):
        for images, targets in loader:
            with accelerator.accumulate(model):
                logits = model(images)
                loss = cross_entropy(interpolate(logits, targets.shape[1:], mode="bilinear"), targets)
                loss = loss + contrast(targets, logits)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(float(loss.detach()))
    accelerator.print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    contrast.detach()
    return losses


if __name__ == "__main__":
    train()
