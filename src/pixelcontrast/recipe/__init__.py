"""Recipes: typed options for everything that decides a run, read from YAML with bases and `--set`."""
