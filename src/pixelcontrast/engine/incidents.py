"""incidents.jsonl: what went wrong in a run, by step, a JSON object a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelcontrast.engine.json_lines import append_line


def append_incident(path: Path, *, step: int, kind: str, text: str, files: Sequence[str] = ()) -> None:
    """Add a line.

    Args:
        path: The file.
        step: Number of the training step, from 0.
        kind: One word: `not_finite`, `skipped_step`, `spike`, `unreadable`.
        text: What a person reads.
        files: Names of the images concerned.
    """
    append_line(path, {"step": step, "kind": kind, "text": text, "files": list(files)})
