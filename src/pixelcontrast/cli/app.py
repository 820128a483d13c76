"""The command's frame: its commands, exit codes, and how mistakes are shown."""

from __future__ import annotations

import errno
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pixelcontrast import __version__
from pixelcontrast.cli import (
    applying,
    checking,
    comparing,
    embedding,
    exploring,
    exporting,
    listing,
    replaying,
    reporting,
    running,
)
from pixelcontrast.cli.streams import outlive_readers
from pixelcontrast.errors import Stopped, UserError
from pixelcontrast.files import is_full

_MISUSE, _INTERRUPTED = 2, 130
_OF_PLACES = (
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS
)  # fmt: skip


class _Commands(TyperGroup):
    """A mistake of the user's is a message and exit code 2, a signal is exit code 128 + its number; no tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(_MISUSE) from error
        except OSError as error:
            if is_full(error):
                typer.echo(f"error: no room on the disk: {error}; free some, then go on", err=True)
            elif error.errno in _OF_PLACES and error.filename is not None:
                typer.echo(f"error: {error.filename} cannot be used: {error.strerror}", err=True)
            else:
                raise
            raise typer.Exit(_MISUSE) from error
        except Stopped as stop:  # it has said how to go on
            raise typer.Exit(stop.exit_code) from stop
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(_INTERRUPTED) from error


app = typer.Typer(
    cls=_Commands,
    help="Supervised pixel contrast for semantic segmentation: check data, train, evaluate, export, compare, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS = (
    running.train,
    applying.evaluate,
    applying.predict,
    checking.check,
    replaying.replay,
    exporting.export,
    embedding.embed,
    reporting.report,
    exploring.explore,
    comparing.compare,
    comparing.quickstart,
)
for _command in _COMMANDS:
    app.command()(_command)
app.command(name="list")(listing.list_parts)
app.command()(listing.schema)


def _show_version(wanted: bool) -> bool:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"pixelcontrast {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    # An op that Apple's backend lacks runs on the CPU rather than stopping a run.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def main() -> None:
    """Run the command line."""
    outlive_readers()
    app(prog_name="pixelcontrast")
