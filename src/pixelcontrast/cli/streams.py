"""Standard output and error that outlive whoever reads them."""

from __future__ import annotations

import errno
import io
import os
import sys

_READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal


class LastingStream(io.TextIOWrapper):
    """A text stream that goes on into nothing once its reader is gone, such as a closed terminal or `| head`.

    A training does not end for want of a reader: what it finds out is in its run folder.

    Args:
        like: The stream that it stands in for; its encoding and its file are taken over.
    """

    def __init__(self, like: io.TextIOWrapper) -> None:
        like.flush()
        binary = os.fdopen(like.fileno(), "wb", closefd=False)
        super().__init__(binary, encoding=like.encoding, errors=like.errors, line_buffering=True)

    def write(self, text: str) -> int:
        """Write, if there is a reader."""
        try:
            return super().write(text)
        except OSError as error:
            self._go_on_without(error)
            return len(text)

    def flush(self) -> None:
        """Flush, if there is a reader."""
        try:
            super().flush()
        except OSError as error:
            self._go_on_without(error)

    def _go_on_without(self, error: OSError) -> None:
        if error.errno not in _READER_GONE:
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())  # for all who write there, what waits in the buffer included
        os.close(nowhere)


def outlive_readers() -> None:
    """Let what this process prints be lost, rather than end the process, when nobody reads any more."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = LastingStream(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = LastingStream(sys.stderr)
