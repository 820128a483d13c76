"""Reading again where a network file system fails for a moment; a file that is really broken is not read twice."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

WAITS = (0.1, 0.3, 1.0, 3.0, 10.0)  # seconds before each further try
# What NFS, Lustre, SMB and FUSE mounts report while a server or the way to it is away. Absent from it: what says that
# a file is missing or forbidden, and the decoders' own errors, which have no number.
TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EINTR", "EBUSY", "EREMOTEIO", "ECONNRESET", "ECONNABORTED",
        "ECONNREFUSED", "ENOTCONN", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH",
    )
    if hasattr(errno, name)
)  # fmt: skip

logger = logging.getLogger(__name__)


def retried(read: Callable[[], Result], path: Path) -> Result:
    """Return what `read` returns; where it fails in a way that passes, call it up to five times more, 14 s in all.

    Raises:
        OSError: The last one, if it does not pass; any other error at once.
    """
    for wait in WAITS:
        try:
            return read()
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
            logger.warning("%s: %s; reading again in %g s", path, error.strerror, wait)
            time.sleep(wait)
    return read()
