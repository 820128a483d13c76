"""Procedural street scenes: a camera, a canvas, and what stands in a street, drawn from far to near."""
