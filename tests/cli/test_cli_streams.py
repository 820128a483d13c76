"""A run whose terminal or reader goes away: real processes, on a real terminal and a real pipe."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pixelcontrast.cli.streams import LastingStream
from pixelcontrast.engine.checkpoints import checkpoints_in, step_of

TRAIN = [sys.executable, "-m", "pixelcontrast", "train", "synthetic/hrnet_w18_small", "--set", "contrast=null"]
for _change in ("data.crop_size=[64,64]", "data.batch_size=1", "trainer.logger=none"):
    TRAIN += ["--set", _change]

_TAKE_IT = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
ON_ITS_TERMINAL = [sys.executable, "-c", _TAKE_IT]


@pytest.mark.usefixtures("hang_ups_count")
def test_a_lost_terminal_ends_the_step_and_saves(tmp_path: Path) -> None:
    steps = ["--set", "trainer.max_steps=5000", "--set", "trainer.checkpoint_every=5000"]
    command = [*ON_ITS_TERMINAL, *TRAIN, *steps, "--run-dir", str(tmp_path / "run")]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    while b" 10/5000" not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)
    assert process.wait() == 129
    (saved,) = checkpoints_in(tmp_path / "run" / "checkpoints")
    assert step_of(saved) >= 10


def test_a_run_goes_on_when_nobody_reads_what_it_prints(tmp_path: Path) -> None:
    command = [*TRAIN, "--set", "trainer.max_steps=2", "--run-dir", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 0, errors
    assert "BrokenPipe" not in errors
    assert (tmp_path / "run" / "scores.json").exists()


def test_what_has_a_reader_is_read() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="latin-1") as like:
        stream = LastingStream(like)
        stream.write("Größe\n")
        assert os.read(reading, 100) == "Größe\n".encode("latin-1")
        os.close(reading)
        stream.write("lost\n")
        stream.write("lost, too")
        stream.flush()


def test_a_full_disk_is_told() -> None:
    with Path("/dev/full").open("w") as like:
        stream = LastingStream(like)
        for last in (lambda: stream.write("a line\n"), stream.close):
            with pytest.raises(OSError, match="No space left"):
                last()
