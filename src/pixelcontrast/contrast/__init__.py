"""Pixel contrast as a part one plugs in: the memory and the criterion."""
