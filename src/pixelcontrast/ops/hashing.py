"""Randomness as a pure function: integer hashes of (seed, step, row) instead of a generator.

A hash compiles, resumes and agrees between ranks; `torch.compile(fullgraph=True)` refuses a `Generator` argument.
Sources: splitmix64 (Steele, Lea and Flood, OOPSLA 2014); multipliers of 32-bit hashes found by Wellons' hash prospector
(public domain), taken below 2^31 so that every product fits a signed 64-bit integer.
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


def hash_rows(key: int | Int[Tensor, ""], rows: Int[Tensor, "*rows"]) -> Int[Tensor, "*rows"]:
    """Hash each row number under a key, uniform in [0, 2^31).

    For one key the 32 bits behind the result are a permutation of rows below 2^32, so ties are pairs at most.

    Args:
        key: Any non-negative integer below 2^63: from `mix` where it is known, a tensor where it depends on the step.
        rows: Non-negative integers below 2^32.
    """
    # rows are stirred before the key comes in, so that keys that differ in one bit do not just swap neighbours
    value = (rows * 0x21F0AAAD) & _MASK_32
    value = value ^ (value >> 16) ^ (key & _MASK_32)
    value = (value * 0x735A2D97) & _MASK_32
    value = value ^ (value >> 15) ^ (key >> 32)
    value = (value * 0x21F0AAAD) & _MASK_32
    return (value ^ (value >> 16)) >> 1


def step_key(seed: int, step: Int[Tensor, ""], stream: int = 0) -> Int[Tensor, ""]:
    """Key of one use of randomness in one step, on the step's device, in [0, 2^31).

    Args:
        seed: Of the run.
        step: Counts calls.
        stream: Which use of randomness within the step, so that two uses share nothing.
    """
    return hash_rows(mix(seed, stream), step)


def stream_keys(seed: int | Int[Tensor, ""], num_streams: int, device: torch.device) -> tuple[int | Tensor, ...]:
    """Keys of several uses of randomness under one seed: numbers if it is one, else tensors."""
    if isinstance(seed, int):
        return tuple(mix(seed, stream) for stream in range(num_streams))
    return hash_rows(seed, torch.arange(num_streams, device=device)).unbind()


def _splitmix64(state: int) -> int:
    state = (state + 0x9E3779B97F4A7C15) & _MASK_64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return state ^ (state >> 31)
