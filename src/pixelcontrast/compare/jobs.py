"""Runs of a comparison, a process each, some at a time; what is done is not done again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

import torch

from pixelcontrast.engine.provenance import core_count
from pixelcontrast.engine.stopping import ended_by
from pixelcontrast.errors import Stopped


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

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop before its end."""
        return self.problem is None and not self.job.done


def run_jobs(jobs: Sequence[Job], *, parallel: int, report: Callable[[Finished], None]) -> None:
    """Train what is not done yet, `parallel` runs at a time, and report each run as it ends.

    Cores and GPUs are divided between the runs that go at a time. A failed run does not stop the others. SIGINT,
    SIGTERM and SIGHUP stop all: each ends its step and saves, is reported with its hours, and can go on.

    Raises:
        Stopped: After SIGTERM or SIGHUP, when all runs have ended.
        KeyboardInterrupt: After SIGINT, likewise.
    """
    threads = max(1, core_count() // parallel)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONUNBUFFERED": "1"}
    shares: SimpleQueue[dict[str, str]] = SimpleQueue()
    for gpus in gpu_shares(parallel):
        shares.put(environment | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}))
    running: set[subprocess.Popen[bytes]] = set()
    pool = ThreadPoolExecutor(parallel)
    reported: set[Future[Finished]] = set()
    with ended_by(_stop):
        futures = [pool.submit(_run, job, shares, running) for job in jobs if not job.done]
        try:
            for future in as_completed(futures):
                reported.add(future)
                report(future.result())
        except (KeyboardInterrupt, Stopped):
            print("stopping: each run ends its step and saves; the same command goes on", file=sys.stderr)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(running, futures)
            for future in futures:
                if future not in reported and not future.cancelled():
                    report(replace(future.result(), problem=None))


def gpu_shares(parallel: int) -> list[list[str]]:
    """The GPUs of each of `parallel` runs, by their names in CUDA_VISIBLE_DEVICES.

    All get equally many, next to each other; where there are more runs than GPUs, several share one.
    """
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(number) for number in range(count)] if named is None else named.split(",")[:count]
    size = max(1, len(gpus) // parallel)
    starts = (run % max(1, len(gpus) // size) * size for run in range(parallel))
    return [gpus[start : start + size] for start in starts]


def _end(running: set[subprocess.Popen[bytes]], futures: Sequence[Future[Finished]]) -> None:
    """Tell each process once to stop, those too that are just being started, and wait for them."""
    told: set[subprocess.Popen[bytes]] = set()
    while not all(future.done() for future in futures):
        for process in set(running) - told:
            process.terminate()
            told.add(process)
        time.sleep(0.05)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _run(job: Job, shares: SimpleQueue[dict[str, str]], running: set[subprocess.Popen[bytes]]) -> Finished:
    started = time.monotonic()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    environment = shares.get()
    try:
        with job.log.open("ab") as log:
            process = subprocess.Popen(job.command(), stdout=log, stderr=subprocess.STDOUT, env=environment)
        running.add(process)
        code = process.wait()
        running.discard(process)
    finally:
        shares.put(environment)
    hours = (time.monotonic() - started) / 3600
    return Finished(job, hours, None if code == 0 and job.done else _tail(job.log, code))


def _tail(log: Path, code: int) -> str:
    lines = log.read_text(errors="replace").splitlines()[-8:]
    return f"exit code {code}; the end of {log}:\n" + "\n".join(f"  {line}" for line in lines)
