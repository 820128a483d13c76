"""Pixel contrast in Hugging Face's Trainer.

python examples/huggingface_trainer.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.nn.functional import one_hot
from transformers import SegformerConfig, SegformerForSemanticSegmentation, Trainer, TrainingArguments

import pixelcontrast


class ContrastTrainer(Trainer):
    """A Trainer whose loss is the model's own plus contrast; `contrast` is what `pixelcontrast.attach` returned."""

    def __init__(self, *arguments: Any, contrast: pixelcontrast.AttachedContrast, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.contrast = contrast

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(*arguments)
        optimizer.add_param_group({"params": list(self.contrast.parameters())})
        return optimizer

    def compute_loss(self, model: Any, inputs: Any, **options: Any) -> Any:
        return_outputs = options.pop("return_outputs", False)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **options)
        loss = loss + self.contrast(inputs["labels"], outputs.logits)
        return (loss, outputs) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *arguments: Any) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, *arguments)
        self.contrast.load_state_dict(torch.load(Path(resume_from_checkpoint) / "contrast.pt"))

    def save_model(self, output_dir: str | None = None, **options: Any) -> None:
        super().save_model(output_dir, **options)  # the model alone, as it is deployed
        torch.save(self.contrast.state_dict(), Path(output_dir or self.args.output_dir) / "contrast.pt")


def main(folder: str) -> ContrastTrainer:
    labels = torch.randint(0, 4, (8, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    images = one_hot(labels, 4)[..., :3].movedim(-1, 1).float()
    data = [{"pixel_values": image, "labels": label} for image, label in zip(images, labels, strict=True)]
    sizes = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]}
    model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=4, decoder_hidden_size=32, **sizes))
    contrast = pixelcontrast.attach(model, at="decode_head.linear_fuse", num_classes=4)
    arguments = TrainingArguments(
        folder, max_steps=4, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = ContrastTrainer(model, arguments, train_dataset=data, contrast=contrast)
    trainer.train()
    trainer.save_model()
    return trainer


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(folder)
