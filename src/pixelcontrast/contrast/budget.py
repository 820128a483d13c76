"""Whether a tensor fits before it is allocated, so that the message can say what to lower."""

from __future__ import annotations

from pathlib import Path

import torch

from pixelcontrast.errors import UserError


def available_bytes(device: torch.device) -> int | None:
    """Free memory of a device, or of the host within the limit of its control group; None where it cannot be told."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return None
    limits = [limit for limit in (_free_of_host(), _free_of_group()) if limit is not None]
    return min(limits, default=None)


def check_room(num_bytes: int, device: torch.device, *, what: str, advice: str) -> None:
    """Raise `UserError` if `num_bytes` are not free on the device."""
    free = available_bytes(device)
    if free is not None and num_bytes > free:
        raise UserError(
            f"{what} takes {num_bytes / 2**30:.2f} GiB, but {free / 2**30:.2f} GiB are free on {device}; {advice}"
        )


def _free_of_host() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kibibytes[0] * 1024 if kibibytes else None


def _free_of_group() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # what is cached from files is given up on demand, so only anonymous pages count as used
    return max(int(limit) - int(used["anon"]), 0) if limit.isdigit() and "anon" in used else None
