"""How much is tried: a slice among the tests, ten thousand and more with `make fuzz` (PIXELCONTRAST_FUZZ=1)."""

import os
import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

FUZZ = os.environ.get("PIXELCONTRAST_FUZZ", "0") == "1"
_ROOM = 6 << 30  # bytes that a case may ask for beyond what the process has

# A case that takes longer than the deadline hangs, for all that a user can tell.
settings.register_profile(
    "fuzz",
    max_examples=600 if FUZZ else 15,
    deadline=timedelta(seconds=20),
    derandomize=not FUZZ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    """Whatever a file declares, the process gets no more; later tests get it all again: a browser needs much."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
