"""Triton twins of operators, each tested against the torch version it stands in for."""
