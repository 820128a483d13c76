"""Checkpoints that are whole or not there: written aside, flushed, renamed, and known by their checksum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback

from pixelcontrast.errors import RunError
from pixelcontrast.files import write_text, written_whole
from pixelcontrast.nn.weights import load_plain

_NAME = re.compile(r"step_(\d+)\.ckpt")
_TORN = ".torn"


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes files that are whole or not there, with a checksum beside; loads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` so that `path` never holds a part of it; its SHA-256 goes beside it.

        Raises:
            RunError: If the disk is full; what was there before is still there.
        """
        path = Path(path)
        with written_whole(path) as partial:
            with partial.open("wb") as file:
                hashed = _HashedFile(file)
                torch.save(checkpoint, hashed)  # type: ignore[arg-type]  # it is only written to
            # Added to those of files that had the name before: whichever of them a crash leaves here, it is known.
            known = [*_known_checksums(path), hashed.checksum.hexdigest()]
            write_text(checksum_file(path), "".join(line + "\n" for line in known))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: FBT001
        """Read a checkpoint onto the CPU; code inside it is never run.

        Raises:
            RunError: If it holds anything but tensors and plain values, or cannot be read.
        """
        try:
            loaded = load_plain(Path(path))
            if not isinstance(loaded, dict):
                raise RunError(f"expected a dictionary, got a {type(loaded).__name__}")
        except RunError as error:
            raise RunError(
                f"{path} cannot be read as a checkpoint: {error}; remove it, then --resume goes on from the one before"
            ) from error
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint and its checksum."""
        Path(path).unlink(missing_ok=True)
        checksum_file(Path(path)).unlink(missing_ok=True)


class KeepCheckpoints(Callback):
    """Saves every `every` optimiser steps, at the end, and where a run is told to stop; keeps the last `keep`."""

    def __init__(self, folder: Path, *, every: int, keep: int) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self._saved_step = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """The step that a run goes on from needs no saving."""
        self._saved_step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save where the step says so; all ranks take part."""
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save the step that has just ended, unless it is saved already; all ranks take part."""
        step = trainer.global_step
        if step == self._saved_step:
            return
        trainer.save_checkpoint(self.folder / f"step_{step:08d}.ckpt")
        self._saved_step = step
        if trainer.is_global_zero:
            for old in checkpoints_in(self.folder)[: -self.keep]:
                trainer.strategy.remove_checkpoint(old)


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoints by step, the newest last."""
    return sorted((path for path in folder.glob("step_*.ckpt") if _NAME.fullmatch(path.name)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint's name gives."""
    found = _NAME.fullmatch(checkpoint.name)
    return int(found.group(1)) if found else 0


def newest_whole_checkpoint(
    folder: Path, *, passed_over: Callable[[Path, str], None] = lambda path, reason: None
) -> Path | None:
    """The newest checkpoint whose checksum holds; None if there is none.

    Args:
        folder: Where checkpoints lie.
        passed_over: Called with each newer one that is not whole, and what is amiss with it.
    """
    for path in reversed(checkpoints_in(folder)):
        reason = what_is_amiss(path)
        if reason is None:
            return path
        passed_over(path, reason)
    return None


def set_aside(checkpoint: Path) -> Path:
    """Rename a checkpoint that is not whole, so that none of the kept ones gives way to it; return its new name."""
    aside = checkpoint.with_name(checkpoint.name + _TORN)
    with suppress(OSError):  # a folder that cannot be written, or another rank was faster
        checkpoint.replace(aside)
        checksum_file(checkpoint).unlink(missing_ok=True)
    return aside


def what_is_amiss(checkpoint: Path) -> str | None:
    """Why a checkpoint is not to be used, in words; None if its checksum holds."""
    try:
        known = _known_checksums(checkpoint)
        if not known:
            return "its checksum is missing"
        with checkpoint.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if found in known else "its content is not what was written: torn, truncated or changed"


def checksum_file(path: Path) -> Path:
    """Where a checkpoint's SHA-256 lies."""
    return path.with_suffix(".sha256")


def _known_checksums(checkpoint: Path) -> list[str]:
    file = checksum_file(checkpoint)
    return file.read_text(errors="replace").split() if file.exists() else []


class _HashedFile:
    """A file that is hashed while it is written, so that it need not be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.checksum = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Write and hash; torch hands over whole tensors, as views."""
        self.checksum.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Torch asks for it at the end."""
        self.file.flush()
