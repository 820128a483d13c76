"""MONAI's 3-D UNet: the lines marked `# contrast` are all that is added to the training script."""

import torch
from monai.networks.nets import UNet
from torch.nn.functional import cross_entropy

import pixelcontrast  # contrast

model = UNet(spatial_dims=3, in_channels=1, out_channels=4, channels=(8, 16, 32), strides=(2, 2))
contrast = pixelcontrast.attach(model, at="model.1", num_classes=4)  # contrast
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
optimizer.add_param_group({"params": contrast.parameters()})  # contrast

labels = torch.randint(0, 4, (2, 4, 4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
images = labels[:, None] + 0.1 * torch.randn(2, 1, 32, 32, 32)  # [b 1 D H W]
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
