"""Checkpoints that are whole or not there: written aside, flushed, renamed, and known by their checksum."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback

_NAME = re.compile(r"step_(\d+)\.ckpt")


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file, flushes it to the disk and renames it; loads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` so that `path` never holds a part of it; its SHA-256 goes beside it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        checksum_file(path).write_text(_sha256(partial) + "\n")
        partial.replace(path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: FBT001
        """Read a checkpoint onto the CPU; code inside it is never run."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint and its checksum."""
        Path(path).unlink(missing_ok=True)
        checksum_file(Path(path)).unlink(missing_ok=True)


class KeepCheckpoints(Callback):
    """Saves every `every` optimiser steps and at the end, and keeps the last `keep`."""

    def __init__(self, folder: Path, *, every: int, keep: int) -> None:
        self.folder, self.every, self.keep = folder, every, keep

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save where the step says so; all ranks take part."""
        step = trainer.global_step
        due = step % self.every == 0 or step == trainer.max_steps
        path = self.folder / f"step_{step:08d}.ckpt"
        if step > 0 and due and not path.exists():
            trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                for old in checkpoints_in(self.folder)[: -self.keep]:
                    trainer.strategy.remove_checkpoint(old)


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoints by step, the newest last."""
    return sorted(path for path in folder.glob("step_*.ckpt") if _NAME.fullmatch(path.name))


def step_of(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint's name gives."""
    found = _NAME.fullmatch(checkpoint.name)
    return int(found.group(1)) if found else 0


def newest_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint whose checksum holds; None if there is none."""
    for path in reversed(checkpoints_in(folder)):
        expected = checksum_file(path)
        if expected.exists() and expected.read_text().strip() == _sha256(path):
            return path
    return None


def checksum_file(path: Path) -> Path:
    """Where a checkpoint's SHA-256 lies."""
    return path.with_suffix(".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
