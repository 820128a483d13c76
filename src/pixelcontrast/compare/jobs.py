"""Runs of a comparison, a process each, some at a time; what is done is not done again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pixelcontrast.engine.provenance import core_count


@dataclass(frozen=True)
class Job:
    """One run to train.

    Attributes:
        arm: Name of its arm.
        seed: Its seed.
        recipe: File of its recipe, fully resolved.
        folder: Its run folder.
        log: Where its output goes.
    """

    arm: str
    seed: int
    recipe: Path
    folder: Path
    log: Path

    @property
    def done(self) -> bool:
        """Whether the run has its final scores."""
        return (self.folder / "scores.json").exists()

    def command(self) -> list[str]:
        """What trains it, from where it stopped if it did."""
        train = [sys.executable, "-m", "pixelcontrast", "train", str(self.recipe)]
        return [*train, "--run-dir", str(self.folder), "--resume"]


@dataclass(frozen=True)
class Finished:
    """How a run ended.

    Attributes:
        job: The run.
        hours: Wall time.
        problem: The end of its log, if it failed.
    """

    job: Job
    hours: float
    problem: str | None


def run_jobs(jobs: Sequence[Job], *, parallel: int, report: Callable[[Finished], None]) -> None:
    """Train what is not done yet, `parallel` runs at a time, and report each run as it ends.

    A failed run does not stop the others. An interrupt stops all of them; each can go on from its last checkpoint.
    """
    threads = max(1, core_count() // parallel)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONUNBUFFERED": "1"}
    running: set[subprocess.Popen[bytes]] = set()
    pool = ThreadPoolExecutor(parallel)
    try:
        futures = [pool.submit(_run, job, environment, running) for job in jobs if not job.done]
        for future in as_completed(futures):
            report(future.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()


def _run(job: Job, environment: dict[str, str], running: set[subprocess.Popen[bytes]]) -> Finished:
    started = time.monotonic()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        process = subprocess.Popen(job.command(), stdout=log, stderr=subprocess.STDOUT, env=environment)
        running.add(process)
        code = process.wait()
        running.discard(process)
    hours = (time.monotonic() - started) / 3600
    return Finished(job, hours, None if code == 0 and job.done else _tail(job.log, code))


def _tail(log: Path, code: int) -> str:
    lines = log.read_text(errors="replace").splitlines()[-8:]
    return f"exit code {code}; the end of {log}:\n" + "\n".join(f"  {line}" for line in lines)
