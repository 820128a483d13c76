"""Matrices of numbers in MATLAB files, with every size checked: scipy's reader can crash the process on a damaged one.

The format is level 5 of "MAT-File Format" (MathWorks), which MATLAB writes as versions 5 to 7.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelcontrast.data.reading import check_size

SUFFIX = ".mat"
_HEADER = 128  # bytes; the last four are the version and the order of bytes
_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6  # what name, shape and flags are stored as
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMBERS = range(6, 16)  # kinds of arrays: double, single and the integers; others hold text, structures, cells
_COMPLEX = 0x08
_HEAD = 4096  # bytes of a matrix in which its kind, its shape and its name lie

Element = tuple[int, memoryview]


def read_matrix(path: Path, name: str) -> NDArray[Any]:
    """Read one matrix of a file.

    Args:
        path: A MATLAB file of version 5 to 7, compressed or not.
        name: What the matrix is called.

    Returns:
        Its numbers, of the type that they are stored in.

    Raises:
        UnreadableFileError: If the matrix declares too many numbers.
        ValueError: If the file is of another version or damaged, or holds no matrix of numbers of that name.
    """
    data = memoryview(path.read_bytes())
    order = _ORDERS.get(bytes(data[_HEADER - 4 : _HEADER]))
    if order is None:
        raise ValueError("not a MATLAB file of version 5 to 7 (save it with -v7)")
    for element in _elements(data[_HEADER:], order):
        found, shape = _name_and_shape(_body(element, order, _HEAD), order)
        if found != name:
            continue
        check_size(shape, path)
        count = math.prod(shape)
        *_, numbers = islice(_elements(_body(element, order, _HEAD + 8 * count, whole=True), order), 4)
        values = _values(numbers, order)
        if len(values) != count:
            raise ValueError(f"matrix {name} declares {count} numbers and holds {len(values)}")
        return values.reshape(shape, order="F")
    raise ValueError(f"a MATLAB file without a matrix {name} of numbers")


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Type and bytes of each element; the bytes are fewer than the element declares where the data end early."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element, whose bytes lie in the tag itself
            yield kind & 0xFFFF, data[at + 4 : at + 4 + min(kind >> 16, 4)]
            at += 8
            continue
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _body(element: Element, order: str, most: int, *, whole: bool = False) -> memoryview:
    """What a matrix consists of, of a compressed one at most so many bytes; nothing for another element."""
    kind, content = element
    if kind == _COMPRESSED:
        inflater = zlib.decompressobj()
        inflated = memoryview(inflater.decompress(content, most))
        if whole and not inflater.eof:  # at the end its checksum is compared
            raise ValueError("a MATLAB file that is cut short")
        kind, content = next(_elements(inflated, order), (0, inflated))
    return content if kind == _MATRIX else memoryview(b"")


def _name_and_shape(body: memoryview, order: str) -> tuple[str, tuple[int, ...]]:
    """Both of a matrix of real numbers; an empty name for any other, or for a damaged one."""
    parts = list(islice(_elements(body, order), 3))
    if [kind for kind, _ in parts] != [_UINT32, _INT32, _INT8]:
        return "", ()
    flags, shape = (_values(part, order).tolist() for part in parts[:2])
    if not flags or flags[0] & 0xFF not in _NUMBERS or flags[0] >> 8 & _COMPLEX or any(size < 0 for size in shape):
        return "", ()
    return bytes(parts[2][1]).decode("latin-1"), tuple(shape)


def _values(element: Element, order: str) -> NDArray[Any]:
    kind, content = element
    if kind not in _STORED:
        raise ValueError(f"numbers of an unknown type {kind}")
    stored = np.dtype(order + _STORED[kind])
    return np.frombuffer(content[: len(content) // stored.itemsize * stored.itemsize], dtype=stored)
