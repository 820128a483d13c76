"""Two lanes: shapes are checked at run time (the default), or torch.compile traces (PIXELCONTRAST_CHECK_SHAPES=0)."""

import os

if os.environ.get("PIXELCONTRAST_CHECK_SHAPES", "1") == "1":
    from jaxtyping import install_import_hook

    install_import_hook("pixelcontrast", "shape_checks.checked")

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_everywhere() -> None:
    """Each test starts from the same seed and runs on one thread, so that neighbours do not disturb it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def hang_ups_count() -> Iterator[None]:
    """Here and in processes that are started, a lost terminal is told, even where all tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB; only root may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a disk is not permitted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
