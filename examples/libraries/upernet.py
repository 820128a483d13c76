"""Hugging Face UperNet: the lines marked `# contrast` are all that is added to the training script."""

import torch
from torch.nn.functional import cross_entropy, one_hot
from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

import pixelcontrast  # contrast

# tiny and untrained here; in earnest UperNetForSemanticSegmentation.from_pretrained("openmmlab/upernet-convnext-tiny")
stages = ["stage1", "stage2", "stage3", "stage4"]
backbone = ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], out_features=stages)
config = UperNetConfig(
    backbone_config=backbone, hidden_size=32, num_labels=4, pool_scales=[1, 2], auxiliary_in_channels=24
)
model = UperNetForSemanticSegmentation(config)
contrast = pixelcontrast.attach(model, at="decode_head.fpn_bottleneck", num_classes=4)  # contrast
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
optimizer.add_param_group({"params": contrast.parameters()})  # contrast

labels = torch.randint(0, 4, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)  # [b H W]
images = one_hot(labels, 4)[..., :3].movedim(-1, 1) + 0.1 * torch.randn(2, 3, 64, 64)
losses = []
for _ in range(8):
    logits = model(images).logits
    loss = cross_entropy(logits, labels)
    loss = loss + contrast(labels, logits)  # contrast
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
