"""Pixel contrast as a Lightning callback: the LightningModule stays as it is.

python examples/lightning_callback.py
"""

from typing import Any

import lightning
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, one_hot

import pixelcontrast


class ContrastCallback(lightning.Callback):
    """Adds contrast to what `training_step` returns, for batches (images, labels) and `module.model`.

    `configure_optimizers` must use `self.parameters()`, which then hold the projection. Under DDP, state in_channels.
    Checkpoints keep contrast apart, so that the module loads them with the callback and without.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options  # of pixelcontrast.attach

    def setup(self, trainer: lightning.Trainer, module: Any, stage: str) -> None:
        if stage != "fit" or hasattr(module, "contrast"):
            return
        module.contrast = pixelcontrast.attach(module.model, **self.options)
        seen: list[torch.Tensor] = []
        module.model.register_forward_hook(lambda _, inputs, logits: seen.append(logits))
        plain_step = module.training_step

        def training_step(batch: Any, batch_idx: int) -> torch.Tensor:
            seen.clear()
            loss = plain_step(batch, batch_idx) + module.contrast(batch[1], seen[-1])
            module.log("contrast", module.contrast.statistics.get("loss", 0.0))
            return loss

        module.training_step = training_step
        module.on_load_checkpoint = lambda checkpoint: checkpoint["state_dict"].update(checkpoint["contrast"])

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        checkpoint["contrast"] = {key: state.pop(key) for key in list(state) if key.startswith("contrast.")}


class Network(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 4, 1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        images, labels = batch
        return cross_entropy(interpolate(self.model(images), labels.shape[1:], mode="bilinear"), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


if __name__ == "__main__":
    labels = torch.randint(0, 4, (8, 4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    data = torch.utils.data.TensorDataset(one_hot(labels, 4)[..., :3].movedim(-1, 1).float(), labels)
    trainer = lightning.Trainer(max_steps=8, callbacks=[ContrastCallback(at="0", num_classes=4)])
    trainer.fit(Network(), torch.utils.data.DataLoader(data, batch_size=2))
