"""Data sets, a file each, read as they lie on disk."""
