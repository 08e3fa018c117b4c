"""Read an array in pieces of bounded size, without keeping what was read.

`blocks` yields runs of rows, so that statistics and comparisons of large files need little memory.
"""

from __future__ import annotations

import array as array_module
from collections.abc import Iterator
from typing import Any

import numpy as np

from persist.tree import LazyArray
from persist.typing import Array

__all__ = ["blocks", "field_of", "fields"]

_BYTES = 1 << 22  # of one block; several copies of it exist while statistics are computed


def blocks(array: Any, most: int = _BYTES) -> Iterator[Array]:
    """Yield an array as consecutive 1-D arrays of its elements in C order.

    Args:
        array: an ndarray, `LazyArray` or ``array.array``.
        most: bytes of one block; a lazy array whose format has no partial reading is read whole,
            and is not kept in memory afterwards.

    Raises:
        PersistError: the bytes of the array are damaged or cannot be decoded.
    """
    if isinstance(array, array_module.array):
        array = np.asarray(array) if array.typecode != "u" else np.array(list(array.tounicode()))
    was_read = not isinstance(array, LazyArray) or array._whole is not None
    try:
        for rows in _rows(array, most):
            yield from _split(np.asarray(rows), most)
    finally:
        if not was_read:
            array._whole = None


def _rows(array: Any, most: int) -> Iterator[object]:
    if not array.shape:
        yield array
        return
    count = array.shape[0]
    row = max(1, int(array.nbytes) // max(1, count))
    step = max(1, most // row)
    for start in range(0, count, step):
        yield array[start : min(count, start + step)]


def _split(rows: Array, most: int) -> Iterator[Array]:
    """Split one row that is larger than a block."""
    if rows.nbytes <= most or rows.ndim < 2:
        yield rows.reshape(-1)
        return
    for row in rows:
        yield from _split(row, most)


def fields(array: Any) -> list[tuple[str, Any]]:
    """Return the fields of a structured dtype as (name, dtype), nested ones as ``a.b``; else ``[]``."""
    names = array.dtype.names
    if names is None:
        return []
    found: list[tuple[str, Any]] = []
    todo = [(name, array.dtype.fields[name][0]) for name in reversed(names)]
    while todo:
        name, dtype = todo.pop()
        base = dtype.base
        if base.names is None:
            found.append((name, dtype))
        else:
            todo += [(f"{name}.{one}", base.fields[one][0]) for one in reversed(base.names)]
    return found


def field_of(block: Array, name: str) -> Array:
    """Return the elements of one field of a structured array, in one axis."""
    names = block.dtype.names or ()
    if name in names:
        return np.asarray(block[name]).reshape(-1)
    for one in names:  # a nested field; a name may itself contain dots
        if name.startswith(f"{one}."):
            return field_of(np.asarray(block[one]), name[len(one) + 1 :])
    raise KeyError(name)
