"""Build all arrays of a mapped container together, with vectorised checks of their headers.

If anything differs from the small stored members that our writer makes,
`whole_arrays` returns None, and the slow path reads the members one by one
and reports faults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from persist._container.layout import (
    ALIGNMENT,
    CENTRAL,
    CENTRALS,
    LOCAL,
    LOCALS,
    MARK,
    constant_columns,
)
from persist._wire.npy.npy import Header
from persist.typing import Array, DType

__all__ = ["whole_arrays"]

_HEADER = 128  # bytes; of most NPY headers all of it


def whole_arrays(
    data: memoryview,
    directory: int,
    size: int,
    entries: Array,
    header_at: Callable[[int, int], Header],
    are_sound: Callable[[list[int], list[int], list[int]], bool] | None = None,
) -> list[Array] | None:
    """Return the arrays of all members as views of the map, or None.

    Args:
        data: the whole file.
        directory: where its directory begins.
        size: of the directory.
        entries: where the members' entries are in it.
        header_at: reads the NPY header at an offset, of a member of a size.
        are_sound: compares members with their CRC-32, by offset, size and CRC of each.
    """
    flat = np.frombuffer(data, np.uint8)
    found = _starts(flat, directory, size, entries.astype(np.int64))
    if found is None:
        return None
    starts, sizes, crcs = found
    if len(starts) and int(sizes.min()) < _HEADER:
        return None
    if are_sound is not None and not are_sound(starts.tolist(), sizes.tolist(), crcs.tolist()):
        return None
    heads = flat[starts[:, None] + np.arange(_HEADER)].tobytes()
    known: dict[bytes, Any] = {}
    result = []
    row = 0
    for start, length in zip(starts.tolist(), sizes.tolist(), strict=True):
        head = heads[row : row + _HEADER]
        row += _HEADER
        kind = known.get(head)
        if kind is None:
            header = header_at(start, length)
            if header.dtype.hasobject:
                return None
            kind = known[head] = _Kind(header, data)
            if header.length != _HEADER:
                del known[head]
        if kind.size != length:
            return None
        windows = kind.windows
        if windows is None:
            result.append(kind.one(start))
        else:
            result.append(windows[start // ALIGNMENT])
    return result


class _Kind:
    """The properties shared by all arrays with the same header."""

    __slots__ = ("data", "header", "size", "windows")

    def __init__(self, header: Header, data: memoryview) -> None:
        self.header = header
        self.data = data
        self.size = header.length + header.nbytes
        self.windows: Any = None
        room = len(data) - self.size
        if header.shape and header.nbytes and room >= 0 and len(header.shape) < 32:
            # An array at every multiple of ALIGNMENT: indexing cuts one out faster than making it.
            strides = _at(header, data, 0).strides
            self.windows = np.ndarray(
                (room // ALIGNMENT + 1, *header.shape),
                header.dtype,
                data,
                header.length,
                (ALIGNMENT, *strides),
            )

    def one(self, start: int) -> Array:
        header = self.header
        if not header.nbytes:
            return np.zeros(header.shape, header.dtype)
        return _at(header, self.data, start + header.length)


def _at(header: Header, data: memoryview, offset: int) -> Array:
    order: Any = header.order
    return np.ndarray(header.shape, header.dtype, data, offset, None, order)


def _starts(
    flat: Array, directory: int, size: int, entries: Array
) -> tuple[Array, Array, Array] | None:
    """The offsets, sizes and CRC-32 of the members' data; None if any header is not as expected."""
    if int(entries.min()) < 0 or int(entries.max()) + CENTRAL.size > size:
        return None
    central = _rows(flat, directory + entries, CENTRALS)
    offsets, sizes = central["f16"].astype(np.int64), central["f9"].astype(np.int64)
    lengths = central["f10"].astype(np.int64)
    if not constant_columns(central) or bool((central["f8"] != central["f9"]).any()):
        return None
    if bool((entries[1:] - entries[:-1] != lengths[:-1] + CENTRAL.size).any()) or entries[0] != 0:
        return None
    if int(offsets.max()) + LOCAL.size + 4 > directory or offsets[0] != 0:
        return None
    local = _rows(flat, offsets, LOCALS)
    heads = offsets + lengths + (LOCAL.size + 4)
    starts = -(-heads // ALIGNMENT) * ALIGNMENT
    ends = starts + sizes
    agree = (
        constant_columns(local)
        and np.array_equal(local["f6"], central["f7"])
        and np.array_equal(local["f7"], central["f8"])
        and np.array_equal(local["f8"], central["f9"])
        and np.array_equal(local["f9"], central["f10"])
        and np.array_equal(local["f10"], starts - heads + 4)
        and np.array_equal(ends[:-1], offsets[1:])
        and int(ends[-1]) <= directory
    )
    if not agree:
        return None
    marks = _rows(flat, heads - 4, np.dtype("<u2,<u2"))
    if bool((marks["f0"] != MARK).any()) or not np.array_equal(marks["f1"], starts - heads):
        return None
    return starts, sizes, central["f7"]


def _rows(flat: Array, at: Array, dtype: DType) -> Array:
    """Gather rows at scattered offsets into a table."""
    return flat[at[:, None] + np.arange(dtype.itemsize)].view(dtype)[:, 0]
