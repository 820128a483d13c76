"""Time and memory of functions that take turns, so that a busy machine disturbs all alike, and where they ran."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

MEBIBYTE = 1 << 20


def measure(functions: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, dict[str, float]]:
    """Median and quartiles in seconds, and peak extra memory in MiB, of each function.

    On a CPU the seconds are processor time of this process, which on one thread is the work done however many others
    share the machine; on a GPU they are wall-clock time.

    Args:
        functions: By name; one warm-up call each, then they take turns.
        repetitions: Timed calls of each.
    """
    peaks = {name: peak_memory(function) for name, function in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            begin = _clock()
            function()
            times[name].append(_clock() - begin)
    return {name: {**_summary(values), "peak_mib": peaks[name]} for name, values in times.items()}


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _summary(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median_s": median, "quartile_low_s": low, "quartile_high_s": high, "repetitions": len(values)}


def peak_memory(function: Callable[[], object]) -> float:
    """What torch holds at most during a call, beyond what it held before, in MiB; counts every allocation."""
    if torch.cuda.is_available():
        function()  # the first call also holds what searches for algorithms need
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / MEBIBYTE
    activities = [torch.profiler.ProfilerActivity.CPU]
    # acc_events: torch 2.11 warns without it, though one cycle is all there is
    with torch.profiler.profile(profile_memory=True, activities=activities, acc_events=True) as profile:
        function()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / MEBIBYTE


def environment() -> dict[str, object]:
    """Last commit of the source, hardware and versions."""
    root = Path(__file__).parents[1]
    # of the source, since a commit that touches the documents alone measures the same
    last = ["git", "log", "-1", "--format=%H", "--", "src"]
    return {
        "commit": os.environ.get("PIXELCONTRAST_COMMIT") or _said_by(last, root),
        "source_changed": bool(_said_by(["git", "status", "--porcelain", "src"], root)),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "clock": "wall" if torch.cuda.is_available() else "processor time",
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _said_by(command: list[str], folder: Path) -> str:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git there; what was measured is kept all the same
        return ""


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0]} ({len(names)} cores), {torch.backends.cpu.get_cpu_capability()}" if names else platform.processor()
    )


def measured_here(path: Path) -> bool:
    """Whether results are there of this commit, this hardware and these versions."""
    if not path.exists():
        return False
    before, now = json.loads(path.read_text())["environment"], environment()
    same = all(before.get(key) == now[key] for key in ("commit", "hardware", "threads", "python", "torch"))
    return same and not (before.get("source_changed") or now["source_changed"])


def write(path: Path, results: Mapping[str, object]) -> None:
    """Write results as JSON, with where they come from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"environment": environment(), **results}, indent=1) + "\n")
    print(f"wrote {path}")
