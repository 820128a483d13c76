"""Sets of arms that ship with the package: what `compare --study` trains of any recipe."""
