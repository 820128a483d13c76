"""What a user can fix: each error says what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class UserError(Exception):
    """A mistake the user can correct. The command prints its text without a traceback and exits with 2."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """A run was told to stop, has saved what it needs, and can go on.

    Args:
        number: Of the signal. The command exits with 128 + this, as shells say that a signal ended a process.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.exit_code = 128 + number


class RecipeError(UserError):
    """A recipe, or a `--set`, that cannot be used."""


class DataError(UserError):
    """Files that are missing, unreadable or not what the data set's layout promises."""


class FileError(DataError):
    """One file that cannot be used.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class UnreadableFileError(FileError):
    """A file that does not decode, or is not there any more."""


class LabelFormError(FileError):
    """Labels of another size than their image, or colours where ids are expected."""


class LabelIdError(FileError):
    """Labels with ids, or colours, that the data set does not define.

    Attributes:
        ids: How many pixels hold each of them, as the message writes it.
    """

    def __init__(self, message: str, path: str = "", ids: Mapping[str, int] | None = None) -> None:
        super().__init__(message, path)
        self.ids = dict(ids or {})


class RunError(UserError):
    """A run folder, checkpoint or weights file that cannot be used as asked."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest of the `known` names, or an empty string if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
