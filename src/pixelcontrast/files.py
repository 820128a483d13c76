"""Files that are whole or not there: written aside, flushed to the disk, renamed. And one process at a time."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pixelcontrast.errors import RunError

if sys.platform != "win32":
    import fcntl

PARTIAL = ".partial"
_PATIENCE = 120.0  # seconds; an NFS server holds the locks of a machine that died for 90, by default


def expanded(path: str) -> Path:
    """The path with `~` as the home folder; as it is where there is no such user, or no such name at all."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):  # with a zero byte
        return Path(path)


def is_there(path: Path) -> bool:
    """Whether a file of this name, which may be no name at all, is there."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder of this name, which may be no name at all, is there."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@contextmanager
def written_whole(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Give a path to write a file at, which then takes the place of `path` in one step.

    A process that is killed, a machine that loses power or a disk that is full leave the file that was there before, or
    none. What is left of a killed writer is called `NAME.partial`, and the next one overwrites it. Without `flush`,
    which takes as long as a small picture itself, a machine that loses power may leave half a file.

    Raises:
        RunError: If the disk has no room, or no file can be there; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        if flush:
            _flush(partial)
        partial.replace(path)
        if flush:
            _flush(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if is_full(error):
            raise no_room(path) from error
        if isinstance(error, OSError) and str(error.filename) == str(partial):
            raise RunError(f"{path} cannot be written ({error.strerror}); name another place to write to") from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where it is not there yet.

    Raises:
        RunError: If that cannot be.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise no_room(path) from error
        raise RunError(f"{path} cannot be made a folder ({error.strerror}); name another place to write to") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole.

    Raises:
        RunError: If the disk has no room.
    """
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def exclusive(path: Path, *, wait: Callable[[], None]) -> Iterator[bool]:
    """Tell whether this process has a file for itself, and keep others out that ask likewise.

    Where another one has it, `wait` is called, and two minutes later that is told.

    The system holds the lock (flock) as long as the process lives, so none stays behind one that was killed. Where
    there is no such lock, as on Windows and some network file systems, nobody is kept out.
    """
    if sys.platform == "win32" or not os.access(path, os.W_OK):
        yield True
        return
    with path.open("r+b") as file:  # NFS locks only what is open for writing
        alone = _lock(file, wait)
        try:
            yield alone
        finally:
            if alone:  # forked workers hold copies of the file, so that to close it would not be enough
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def alone_with(path: Path, other: str, say: Callable[[str], None], *, option: str) -> Iterator[None]:
    """Keep a file for this process meanwhile; `say` is told if another is waited for.

    Args:
        path: The file.
        other: What another process that has it is doing.
        say: Is told, in words for a user.
        option: What names another place.

    Raises:
        RunError: If another process has it, and goes on having it.
    """
    with exclusive(path, wait=lambda: say(f"{other}; waiting two minutes for its end")) as alone:
        if not alone:
            raise RunError(f"{other}; wait for its end, stop it, or choose another {option}.")
        yield


def clear_partial(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for path in folder.glob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it hides, says that a disk or a user's share of it is full."""
    numbers, seen = (errno.ENOSPC, errno.EDQUOT), []
    while error is not None and error not in seen:  # an error may be its own cause
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if any(f"(os error {number})" in str(error) for number in numbers):  # how libraries in Rust say it
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def no_room(path: Path) -> RunError:
    """What a user is told of a full disk."""
    return RunError(f"no room on the disk for {path}; free some, then go on (training: with --resume)")


def _lock(file: IO[bytes], wait: Callable[[], None]) -> bool:
    """Try for a while; whether it is ours, or the file system has no locks."""
    end = None
    while sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if end is None:
                wait()
                end = time.monotonic() + _PATIENCE
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        except OSError:
            break
        else:
            break
    return True


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and keeps names by itself
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows flushes what may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
