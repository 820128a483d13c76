"""A timm ViT with a linear head: the lines marked `# contrast` are all that is added to the training script."""

import timm
import torch
from torch.nn.functional import cross_entropy, interpolate, one_hot

import pixelcontrast  # contrast


class LinearHead(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=0)
        self.head = torch.nn.Linear(192, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.backbone.forward_features(images)[:, 1:]  # without the class token
        return self.head(tokens).mT.unflatten(-1, (4, 4))


model = LinearHead()
contrast = pixelcontrast.attach(model, at="backbone.norm", num_classes=4, grid=(4, 4))  # contrast
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
optimizer.add_param_group({"params": contrast.parameters()})  # contrast

labels = torch.randint(0, 4, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)  # [b H W]
images = one_hot(labels, 4)[..., :3].movedim(-1, 1) + 0.1 * torch.randn(2, 3, 64, 64)
losses = []
for _ in range(8):
    logits = model(images)
    loss = cross_entropy(interpolate(logits, labels.shape[1:], mode="bilinear"), labels)
    loss = loss + contrast(labels, logits)  # contrast
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
