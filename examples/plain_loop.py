"""Pixel contrast in a plain PyTorch loop: warm-up, memory, a checkpoint that holds all of it, and figures to watch.

python examples/plain_loop.py
"""

import io

import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, one_hot

import pixelcontrast


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Images [b 3 H W] and labels [b H W]; 255 marks pixels without a label."""
    labels = torch.randint(0, 4, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    images = one_hot(labels, 4)[..., :3].movedim(-1, 1) + 0.3 * torch.randn(2, 3, 64, 64)
    labels[:, ::7] = 255
    return images, labels


def train(steps: int = 20) -> list[float]:
    body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
    model = nn.Sequential(body, nn.Conv2d(32, 4, 1))
    contrast = pixelcontrast.attach(
        model,
        at="0",
        num_classes=4,
        start_step=5,  # the first steps are cross entropy alone
        memory=pixelcontrast.MemoryOptions(pixels_per_class=500, regions_per_class=100),
    )
    optimizer = torch.optim.SGD([*model.parameters(), *contrast.parameters()], lr=0.05, momentum=0.9)
    losses = []
    for step in range(steps):
        images, labels = scene()
        logits = model(images)
        loss = cross_entropy(interpolate(logits, labels.shape[1:], mode="bilinear"), labels, ignore_index=255)
        losses.append(float(loss.detach()))
        loss = loss + contrast(labels, logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            figures = {name: float(contrast.statistics[name]) for name in ("loss", "chance_level", "floor")}
            print(f"step {step + 1}: cross entropy {losses[-1]:.2f}, contrast {figures}")
    checkpoint = io.BytesIO()  # a file, in earnest; the model's weights are those of the plain network
    parts = {"model": model, "contrast": contrast, "optimizer": optimizer}
    torch.save({name: part.state_dict() for name, part in parts.items()}, checkpoint)
    contrast.detach()
    return losses


if __name__ == "__main__":
    train()
