"""Where a result comes from: source, versions, hardware, threads; kept in a run folder and beside every table."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pixelcontrast.contrast.ranks import world_size

_LIBRARIES = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow")


def provenance(images: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a run's numbers may depend on beside its recipe; equal values on equal machines, but for `started`.

    Args:
        images: Names of the images of each split, in their order.
    """
    return {
        "pixelcontrast": _version("pixelcontrast"),
        "commit": commit(),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "ranks": world_size(),
        "python": platform.python_version(),
        "images": {split: _in_short(names) for split, names in images.items()},
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """Commit of the source the package runs from, with `+` where that was changed.

    Outside a repository what the environment's PIXELCONTRAST_COMMIT says, or None.
    """
    here = Path(__file__).parents[1]
    try:
        name = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        state = subprocess.run(
            ["git", "status", "--porcelain", "--", "."], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("PIXELCONTRAST_COMMIT") or None
    return name.stdout.strip() + ("+" if state.stdout.strip() else "")


def hardware() -> str:
    """Processor, cores that may be used, and GPU if there is one."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    cores = core_count()
    return f"{_processor()}, {cores} core{'s' * (cores > 1)}{gpu}, torch {torch.__version__}"


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} {platform.system()}"


def _in_short(names: Sequence[str]) -> str:
    """How many they are, and a digest that tells other names, or another order, apart."""
    digest = hashlib.blake2b("\0".join(names).encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return f"{len(names)} ({digest})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
