"""A file is there whole or as it was before, whatever ends its writing."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pixelcontrast.errors import RunError
from pixelcontrast.files import clear_partial, exclusive, expanded, write_text, written_whole
from pixelcontrast.nn.weights import write_weights


@pytest.mark.parametrize("name", ["~nobody-of-this-name/a", "~\0.yaml", "plain"])
def test_a_name_without_a_home_stays_as_it_is(name: str) -> None:
    assert str(expanded(name)) == name


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.json", "1")
    write_text(tmp_path / "deep" / "a.json", "2")
    assert {path.name: path.read_text() for path in (tmp_path / "deep").iterdir()} == {"a.json": "2"}


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with written_whole(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        partial.write_text("whole")
    assert path.read_text() == "whole"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to tell a descriptor's file")
def test_the_content_is_on_the_disk_before_the_name_and_then_the_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    replace = Path.replace

    def fsync(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    def renamed(path: Path, target: Path) -> Path:
        events.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    write_text(tmp_path / "a", "")
    assert events == ["a.partial", "rename", tmp_path.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "broken"), RuntimeError("no")])
def test_a_failed_write_leaves_the_old_file_and_no_part_of_the_new(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fails() -> None:
        with written_whole(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fails()
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_place_where_no_file_can_be_is_a_message(tmp_path: Path) -> None:
    place = Path("/proc/a.json") if Path("/proc/self").exists() else tmp_path / ("a" * 250)  # too long for a name
    with pytest.raises(RunError, match=rf"{place.name} cannot be written \(.+\); name another place to write to"):
        write_text(place, "1")


def test_a_folder_that_is_gone_meanwhile_is_a_message(tmp_path: Path) -> None:
    def fails() -> None:
        with written_whole(tmp_path / "gone" / "a") as partial:
            partial.parent.rmdir()
            partial.write_text("1")

    with pytest.raises(RunError, match="cannot be written"):
        fails()


def test_a_missing_file_that_was_to_be_read_is_no_matter_of_the_place(tmp_path: Path) -> None:
    def fails() -> None:
        with written_whole(tmp_path / "a") as partial:
            partial.write_bytes((tmp_path / "absent").read_bytes())

    with pytest.raises(FileNotFoundError, match="absent"):
        fails()


def test_a_full_disk_is_a_message_however_it_is_hidden(tmp_path: Path) -> None:
    def fails(error: Exception, cause: Exception | None) -> None:
        with written_whole(tmp_path / "a"):
            raise error from cause

    full = OSError(errno.ENOSPC, "No space left on device")
    for error, cause in (
        (full, None),
        (RuntimeError("unexpected pos 704"), full),
        (RuntimeError("I/O error: No space left on device (os error 28)"), None),
    ):
        with pytest.raises(RunError, match=f"no room on the disk for {tmp_path / 'a'}; free some"):
            fails(error, cause)


def test_weights_that_do_not_fit_on_the_disk_are_a_message_and_the_old_ones_stay(small_disk: Path) -> None:
    path = small_disk / "weights.safetensors"
    write_weights({"a": torch.zeros(1000)}, path)
    before = path.read_bytes()
    with pytest.raises(RunError, match="no room on the disk"):
        write_weights({"a": torch.zeros(1_000_000)}, path)
    assert [each.read_bytes() for each in small_disk.iterdir()] == [before]


def test_weights_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_weights({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o644


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt.partial").write_text("half")
    (tmp_path / "a.ckpt").write_text("whole")
    clear_partial(tmp_path)
    clear_partial(tmp_path / "absent")
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


needs_flock = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")


@needs_flock
def test_a_file_is_for_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelcontrast.files._PATIENCE", 0)
    path = tmp_path / "a"
    path.write_text("content")
    waited: list[str] = []
    with exclusive(path, wait=lambda: waited.append("first")) as first:
        with (
            exclusive(path, wait=lambda: waited.append("second")) as second,
            exclusive(path, wait=lambda: waited.append("third")) as third,
        ):
            assert (first, second, third) == (True, False, False)
        with exclusive(path, wait=lambda: waited.append("fourth")) as fourth:
            assert not fourth  # those who were refused have let nobody in
    with exclusive(path, wait=lambda: waited.append("fifth")) as fifth:
        assert fifth
    assert waited == ["second", "third", "fourth"]
    assert path.read_text() == "content"


@needs_flock
def test_a_killed_process_keeps_nobody_out_nor_do_the_children_of_one_that_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("")
    hold = (
        "from pathlib import Path\nfrom pixelcontrast.files import exclusive\n"
        f"with exclusive(Path({str(path)!r}), wait=exit): print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with exclusive(path, wait=holder.kill) as alone:
            assert alone
            assert holder.wait() == -signal.SIGKILL
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            child.start()
        with exclusive(path, wait=lambda: pytest.fail("kept out")) as alone:
            assert alone
            assert child.is_alive()
        child.kill()
        child.join()


@needs_flock
def test_where_nothing_can_be_locked_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("")

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with exclusive(path, wait=lambda: pytest.fail("kept out")) as alone:
        assert alone
