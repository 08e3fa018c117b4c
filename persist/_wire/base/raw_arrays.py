"""Raw bytes as arrays, checked: no shape, dtype or text that NumPy would break on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from persist.errors import DamagedFileError
from persist.typing import Array, DType

if TYPE_CHECKING:
    from persist._wire.base.source import Source

__all__ = ["is_text_valid", "shaped"]


def shaped(
    data: memoryview,
    dtype: DType,
    shape: tuple[int, ...],
    order: Any,
    source: Source,
    offset: int,
) -> Array:
    """Return the array that bytes at an offset hold; a `DamagedFileError` if they hold none."""
    try:
        if dtype.itemsize == 0:  # arrays of any shape take no memory
            return np.ndarray(shape, dtype, b"")
        if not len(data):
            return np.empty(shape, dtype, order=order)
        array = np.ndarray(shape, dtype, data, order=order)
    except (ValueError, TypeError) as error:
        raise DamagedFileError(
            f"an array of dtype {dtype} and shape {shape} cannot be: {error}.",
            file=source.name,
            where=f"offset {offset}",
        ) from error
    if not is_text_valid(array):
        raise DamagedFileError(
            f"an array of dtype {dtype} and shape {shape} holds code points beyond Unicode.",
            file=source.name,
            where=f"offset {offset}",
            remedy="The file is damaged, or its byte order or dtype is not what it says.",
        )
    return array


def is_text_valid(array: Array) -> bool:
    """Return whether all text in an array has valid code points; true for other dtypes.

    NumPy takes any four bytes for a character and makes broken strings of them, over which
    CPython stumbles later (``SystemError: invalid maximum character``).
    """
    todo = [array]
    while todo:
        part = todo.pop()
        if part.dtype.names is not None:
            todo += [part[name] for name in part.dtype.names]
        elif part.dtype.kind == "U" and part.size and part.dtype.itemsize:
            flat = np.ascontiguousarray(part.ravel(order="K"))
            codes = flat.view(np.dtype("u4").newbyteorder(part.dtype.byteorder))
            if codes.max() > sys.maxunicode:
                return False
    return True
