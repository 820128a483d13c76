"""What one would write without this library: a step in plain PyTorch, and one with pytorch-metric-learning."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


class DenseStep:
    """Sampling, Eq. 3 with an n x m matrix, and first-in-first-out memories of pixels and regions, in plain PyTorch.

    Args:
        num_classes: Of the labels.
        dim: Of the embeddings.
        per_class: Pixels, and as many regions, that the memory holds of each class.
        anchors_per_class: Half of them wrongly predicted, where there are so many.
        device: Of everything.
    """

    def __init__(self, num_classes: int, dim: int, per_class: int, anchors_per_class: int, device: str) -> None:
        self.num_classes, self.anchors_per_class = num_classes, anchors_per_class
        self.memory = F.normalize(torch.randn(num_classes, 2, per_class, dim, device=device), dim=-1)
        self.labels = torch.arange(num_classes, device=device).repeat_interleave(2 * per_class)

    def __call__(self, features: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        pixels = F.normalize(features, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
        anchors, anchor_labels = self.anchors(pixels, labels, logits)
        keys = torch.cat([anchors, self.memory.flatten(0, 2)])
        key_labels = torch.cat([anchor_labels, self.labels])
        loss = dense_loss(anchors, anchor_labels, keys, key_labels)
        self.enqueue(pixels.detach(), labels)
        return loss

    def anchors(self, pixels: Tensor, labels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        flat, wrong = labels.flatten(), (logits.argmax(dim=1) != labels).flatten()
        chosen = []
        for label in range(self.num_classes):
            hard, easy = ((flat == label) & mask for mask in (wrong, ~wrong))
            half = self.anchors_per_class // 2
            for mask in (hard, easy):
                rows = mask.nonzero().squeeze(1)
                chosen.append(rows[torch.randperm(rows.shape[0], device=rows.device)[:half]])
        rows = torch.cat(chosen)
        return pixels[rows], flat[rows]

    def enqueue(self, pixels: Tensor, labels: Tensor) -> None:
        capacity = self.memory.shape[2]
        if not capacity:
            return
        images = pixels.view(labels.shape[0], -1, pixels.shape[1])
        for image, image_labels in zip(images, labels.flatten(1), strict=True):
            for label in range(self.num_classes):
                region = image[image_labels == label]
                if not region.shape[0]:
                    continue
                some = region[torch.randperm(region.shape[0], device=region.device)[:10]]
                for kind, new in enumerate((some, F.normalize(region.mean(dim=0, keepdim=True), dim=1))):
                    self.memory[label, kind] = torch.cat([self.memory[label, kind, new.shape[0] :], new])


def dense_loss(anchors: Tensor, anchor_labels: Tensor, keys: Tensor, key_labels: Tensor) -> Tensor:
    """Eq. 3 at temperature 0.1; the first keys are the anchors themselves."""
    similarity = anchors @ keys.T / 0.1
    same = anchor_labels[:, None] == key_labels
    positive = same.clone()
    positive.fill_diagonal_(False)
    negatives = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    terms = F.softplus(negatives - similarity) * positive
    return (terms.sum(dim=1) / positive.sum(dim=1)).mean()


def pytorch_metric_learning_loss(
    num_classes: int, dim: int, memory_size: int, device: str
) -> Callable[[Tensor, Tensor], Tensor]:
    """SupConLoss in CrossBatchMemory, whose queue is full; called with embeddings and labels."""
    from pytorch_metric_learning.losses import CrossBatchMemory, SupConLoss

    loss = CrossBatchMemory(SupConLoss(temperature=0.1), dim, memory_size=memory_size)
    loss.embedding_memory.copy_(F.normalize(torch.randn(memory_size, dim), dim=1))
    loss.label_memory.copy_(torch.arange(memory_size) % num_classes)
    loss.has_been_filled = True
    return loss.to(device)


def pytorch_metric_learning_step(dense: DenseStep, memory_size: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The same on the anchors that `dense` samples from a map of embeddings."""
    device = str(dense.memory.device)
    loss = pytorch_metric_learning_loss(dense.num_classes, dense.memory.shape[-1], memory_size, device)

    def step(features: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        pixels = F.normalize(features, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
        return loss(*dense.anchors(pixels, labels, logits))

    return step
