"""Hugging Face SegFormer: the lines marked `# contrast` are all that is added to the training script."""

import torch
from torch.nn.functional import cross_entropy, interpolate, one_hot
from transformers import SegformerConfig, SegformerForSemanticSegmentation

import pixelcontrast  # contrast

# tiny and untrained here; in earnest SegformerForSemanticSegmentation.from_pretrained("nvidia/mit-b0", num_labels=4)
sizes = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]}
model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=4, decoder_hidden_size=32, **sizes))
contrast = pixelcontrast.attach(model, at="decode_head.linear_fuse", num_classes=4)  # contrast
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
optimizer.add_param_group({"params": contrast.parameters()})  # contrast

labels = torch.randint(0, 4, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)  # [b H W]
images = one_hot(labels, 4)[..., :3].movedim(-1, 1) + 0.1 * torch.randn(2, 3, 64, 64)
losses = []
for _ in range(8):
    logits = model(images).logits
    loss = cross_entropy(interpolate(logits, labels.shape[1:], mode="bilinear"), labels)
    loss = loss + contrast(labels, logits)  # contrast
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
