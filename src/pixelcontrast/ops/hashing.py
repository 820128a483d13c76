"""Randomness as a pure function: integer hashes of (seed, step, row) instead of a generator.

A hash compiles, resumes and agrees between ranks; `torch.compile(fullgraph=True)` refuses a `Generator` argument.
Sources: splitmix64 (Steele, Lea and Flood, OOPSLA 2014); the 32-bit mixer with constants 0x21f0aaad and 0x735a2d97
found by Wellons' hash prospector (public domain), whose constants below 2^31 keep every product in a signed 64-bit
integer.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

RANDOM_BITS = 31

_MASK_64 = (1 << 64) - 1
_MASK_32 = (1 << 32) - 1


def mix(seed: int, *values: int) -> int:
    """Mix a seed with any number of integers into one in [0, 2^63); the order of the values matters.

    Seeds are mixed, never added or multiplied: `mix(seed, 1)` and `mix(seed + 1, 0)` have nothing in common.
    """
    state = _splitmix64(seed & _MASK_64)
    for value in values:
        # an odd factor before adding, for a plain sum or xor would cancel where a seed meets itself
        state = _splitmix64((state * 0xD1342543DE82EF95 + _splitmix64(value & _MASK_64)) & _MASK_64)
    return state >> 1


def hash_rows(key: Int[Tensor, ""], rows: Int[Tensor, "*rows"]) -> Int[Tensor, "*rows"]:
    """Hash each row number under a key, uniform in [0, 2^31).

    For one key the 32 bits behind the result are a permutation of rows below 2^32, so ties are pairs at most.

    Args:
        key: Any non-negative integer below 2^63, from `mix` or `step_key`.
        rows: Non-negative integers.
    """
    mixed = _mix32((rows ^ (rows >> 32)) & _MASK_32 ^ (key & _MASK_32))
    return _mix32(mixed ^ (key >> 32)) >> 1


def step_key(seed: int | Int[Tensor, ""], step: Int[Tensor, ""], stream: int) -> Int[Tensor, ""]:
    """Key of one stream of randomness in one step, in [0, 2^62), to be passed to `hash_rows`.

    Args:
        seed: Of the run; a tensor where a compiled graph must not be bound to its value.
        step: Counts calls; stays on its device.
        stream: Which use of randomness within the step, so that two uses share nothing.
    """
    base = torch.full_like(step, mix(seed, stream)) if isinstance(seed, int) else _combine(seed, stream)
    return _combine(base, step)


def _combine(key: Tensor, value: Tensor | int) -> Tensor:
    """A new 62-bit key from a key and an integer."""
    rows = value if isinstance(value, Tensor) else torch.full_like(key, value)
    high = hash_rows(key, 2 * rows)
    return (high << RANDOM_BITS) | hash_rows(key ^ high, 2 * rows + 1)


def _splitmix64(state: int) -> int:
    state = (state + 0x9E3779B97F4A7C15) & _MASK_64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return state ^ (state >> 31)


def _mix32(value: Tensor) -> Tensor:
    """A bijection on 32-bit integers held in int64."""
    value = value ^ (value >> 16)
    value = (value * 0x21F0AAAD) & _MASK_32
    value = value ^ (value >> 15)
    value = (value * 0x735A2D97) & _MASK_32
    return value ^ (value >> 15)
