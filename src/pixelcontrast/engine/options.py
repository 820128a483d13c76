"""Options of the optimiser, the learning-rate schedule and the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Attributes:
        name: The kind.
        lr: Base learning rate.
        momentum: Share of the last update that is kept.
        weight_decay: L2 penalty on every parameter.
        head_lr_factor: What the learning rate of everything but the backbone is multiplied by.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Literal["sgd"] = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    head_lr_factor: float = 1.0

    def __post_init__(self) -> None:
        _at_least_0(lr=self.lr, weight_decay=self.weight_decay, head_lr_factor=self.head_lr_factor)
        _shares(momentum=self.momentum)


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (arXiv:1711.05101).

    Attributes:
        name: The kind.
        lr: Base learning rate.
        betas: Decay of the running mean of the gradient, and of its square.
        weight_decay: Decoupled decay of every parameter.
        head_lr_factor: What the learning rate of everything but the backbone is multiplied by.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Literal["adamw"] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    head_lr_factor: float = 1.0

    def __post_init__(self) -> None:
        _at_least_0(lr=self.lr, weight_decay=self.weight_decay, head_lr_factor=self.head_lr_factor)
        _shares(**{f"betas.{i}": beta for i, beta in enumerate(self.betas)})


Optimizer = Annotated[SGD | AdamW, Field(discriminator="name")]


@dataclass(frozen=True, kw_only=True)
class Poly:
    """Learning rate falls as (1 - step / max_steps) ** power, the schedule of segmentation papers.

    Attributes:
        name: The kind.
        power: Exponent.
        warmup_steps: Steps over which the rate first rises linearly.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Literal["poly"] = "poly"
    power: float = 0.9
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _at_least_0(power=self.power, warmup_steps=self.warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Learning rate falls along half a cosine.

    Attributes:
        name: The kind.
        final_factor: What is left of the base rate at the last step.
        warmup_steps: Steps over which the rate first rises linearly.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Literal["cosine"] = "cosine"
    final_factor: float = 0.0
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _at_least_0(final_factor=self.final_factor, warmup_steps=self.warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Learning rate stays what it is.

    Attributes:
        name: The kind.
        warmup_steps: Steps over which the rate first rises linearly.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: Literal["constant"] = "constant"
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _at_least_0(warmup_steps=self.warmup_steps)


Schedule = Annotated[Poly | Cosine | Constant, Field(discriminator="name")]


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """How long, how often, how exactly and on what a network is trained.

    Attributes:
        max_steps: Optimiser steps of the run.
        evaluate_every: Steps between evaluations on the validation split; null evaluates at the end only.
        checkpoint_every: Steps between checkpoints.
        keep_checkpoints: How many of the latest checkpoints are kept.
        log_every: Steps between lines in metrics.jsonl and TensorBoard.
        precision: `32`, or mixed precision with bfloat16 or float16.
        accelerator: `auto`, `cpu`, `gpu`, `mps`, or any other name that Lightning knows.
        devices: Number of devices on this machine, or `auto`.
        num_nodes: Number of machines.
        strategy: What several devices share: `ddp` gives each a whole network, `fsdp` (FSDP2) shares weights, gradients
            and optimiser state out over them, for networks that are too large for one. Nothing else changes.
        accumulate: Batches per optimiser step.
        channels_last: Keep maps in channels-last order, which most convolutions prefer.
        auxiliary_weight: Factor of the dense terms on the auxiliary head's logits, where the model has one.
        gradient_clip: Largest L2 norm of the gradient; null leaves it as it is.
        sync_batch_norm: Batch statistics over all ranks; GPUs only.
        ema_decay: Share that the moving average of the weights keeps at each step, such as 0.999; the average is what
            is evaluated and deployed. null: no average, the last weights are.
        compile: Compile the network with torch.compile for the training steps; evaluation runs as it is written.
        non_finite: What happens to a step whose loss or gradient is not finite, before it changes a weight: `stop` ends
            the run with a message and keeps the step for `pixelcontrast replay`; `skip` leaves the step out, and stops
            at the tenth in a row; `ignore` does not look. With fp16 a gradient that overflows is first the loss
            scaler's business. Looking waits for the device once a step.
        spike_factor: Robust deviations above its running median at which a term of the loss is reported; null: never.
        logger: Where metrics go beside metrics.jsonl. `wandb` and `mlflow` need their package; a resumed run is a new
            run there.
        live_images: Validation images, evenly spaced, whose prediction TensorBoard shows after each evaluation.
        live_pixels: Their pixels, equally many of each class, whose embeddings its projector shows; 0 writes none.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    max_steps: int = 40_000
    evaluate_every: int | None = None
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    log_every: int = 10
    precision: Literal["32", "bf16", "fp16"] = "32"
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    num_nodes: int = 1
    strategy: Literal["ddp", "fsdp"] = "ddp"
    accumulate: int = 1
    channels_last: bool = True
    auxiliary_weight: float = 0.4
    gradient_clip: float | None = None
    sync_batch_norm: bool = True
    ema_decay: float | None = None
    compile: bool = False
    non_finite: Literal["stop", "skip", "ignore"] = "stop"
    spike_factor: float | None = 12.0
    logger: Literal["tensorboard", "wandb", "mlflow", "none"] = "tensorboard"
    live_images: int = 4
    live_pixels: int = 500

    def __post_init__(self) -> None:
        for key in ("max_steps", "checkpoint_every", "keep_checkpoints", "log_every", "accumulate", "num_nodes"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")
        if self.devices != "auto" and self.devices < 1:
            raise ValueError(f"devices must be at least 1, or auto, got {self.devices}")
        _at_least_0(live_images=self.live_images, live_pixels=self.live_pixels, auxiliary_weight=self.auxiliary_weight)
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(
                f"gradient_clip must be positive, got {self.gradient_clip}; null leaves the gradient as it is"
            )
        if self.evaluate_every is not None and self.evaluate_every < 1:
            raise ValueError(f"evaluate_every must be at least 1, got {self.evaluate_every}; null evaluates at the end")
        if self.spike_factor is not None and not self.spike_factor > 0:
            raise ValueError(f"spike_factor must be positive, got {self.spike_factor}; null reports no spikes")
        if self.strategy == "fsdp" and self.compile:
            raise ValueError("strategy: fsdp and compile exclude each other; set one of them to its default")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {self.ema_decay}; null trains without")


def _at_least_0(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")


def _shares(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
