"""segmentation_models_pytorch FPN: the lines marked `# contrast` are all that is added to the training script."""

import segmentation_models_pytorch as smp
import torch
from torch.nn.functional import cross_entropy, one_hot

import pixelcontrast  # contrast

model = smp.FPN("resnet18", encoder_weights=None, classes=4)
contrast = pixelcontrast.attach(model, at="decoder", num_classes=4)  # contrast
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
optimizer.add_param_group({"params": contrast.parameters()})  # contrast

labels = torch.randint(0, 4, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)  # [b H W]
images = one_hot(labels, 4)[..., :3].movedim(-1, 1) + 0.1 * torch.randn(2, 3, 64, 64)
losses = []
for _ in range(8):
    logits = model(images)
    loss = cross_entropy(logits, labels)
    loss = loss + contrast(labels, logits)  # contrast
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
