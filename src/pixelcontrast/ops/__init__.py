"""Tensors in, tensors out: torch only, no state, no files, no device decisions, no global randomness."""
