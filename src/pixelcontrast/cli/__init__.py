"""The command `pixelcontrast`: one plain function a command, which parses, calls and prints."""

from pixelcontrast.cli.app import main

__all__ = ["main"]
