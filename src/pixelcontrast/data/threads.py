"""A split read on several threads: decoders let go of Python's lock, so that reading scales with the cores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def on_threads(function: Callable[[int], T], count: int, *, threads: int) -> Iterator[T]:
    """Results of `function(0)` to `function(count - 1)`, in this order; torch has one thread within each."""
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    with warnings.catch_warnings():  # decoding changes the filters, which threads share, for a moment
        try:
            yield from pool.map(function, range(count))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for what is queued
