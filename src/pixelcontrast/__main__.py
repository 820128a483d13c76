"""`python -m pixelcontrast` is the command `pixelcontrast`."""

from pixelcontrast.cli import main

main()
