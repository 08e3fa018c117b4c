"""An array as a word of block characters: its values in order, or how they are distributed."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from persist._trees.totals import nbytes_of
from persist.errors import PersistError
from persist.tree import LazyArray
from persist.typing import Array

__all__ = ["Sparks"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDE = 16  # characters
_ONE = 1 << 20  # bytes that are read of one array
_LEAST = 4  # values that make a picture


class Sparks:
    """Draws arrays, as long as what has to be read of them is little.

    Args:
        most: bytes that may be read in all.
    """

    def __init__(self, most: int = 8 << 20) -> None:
        self._left = most

    def of(self, array: object) -> str:
        """Return at most 16 characters; "" for what is no array of finite numbers, or costs too much.

        Of one axis, the mean of each stretch of values, in order; of several, a histogram of the values.
        Of an array of more than a mebibyte its first rows.
        """
        if not isinstance(array, np.ndarray | LazyArray) or array.dtype.kind not in "biuf":
            return ""
        if not array.shape or math.prod(array.shape) < _LEAST:
            return ""
        try:
            values = self._some(array)
        except PersistError:  # whoever uses the array gets the error
            return ""
        if values is None or values.size < _LEAST:
            return ""
        flat = values.reshape(-1).astype(np.float64)
        flat = flat[np.isfinite(flat)]
        if flat.size < _LEAST:
            return ""
        return _in_order(flat) if values.ndim == 1 else _distributed(flat)

    def _some(self, array: Any) -> Array | None:
        """The array, or its first rows; None if even these are too many bytes."""
        size = nbytes_of(array)
        rows = array.shape[0] if size <= _ONE else _ONE * array.shape[0] // size
        cost = size * rows // array.shape[0]
        if isinstance(array, LazyArray) and rows < array.shape[0] and array._rows is None:
            return None  # it can only be read as a whole
        if not rows or cost > self._left:
            return None
        self._left -= cost
        return np.asarray(array if rows == array.shape[0] else array[:rows])


def _in_order(flat: Array) -> str:
    wide = min(_WIDE, flat.size)
    edges = np.linspace(0, flat.size, wide + 1).astype(int)
    heights = np.array([flat[a:b].mean() for a, b in itertools.pairwise(edges)])
    low, high = float(heights.min()), float(heights.max())
    span = high - low
    if not math.isfinite(span):
        return ""
    return _drawn((heights - low) / span if span else np.full(wide, 0.5))


def _distributed(flat: Array) -> str:
    low, high = float(flat.min()), float(flat.max())
    if low == high or not math.isfinite(high - low):
        return ""
    counts, _ = np.histogram(flat, bins=_WIDE, range=(low, high))
    return _drawn(counts / counts.max())


def _drawn(shares: Array) -> str:
    return "".join(_BLOCKS[min(7, int(share * 8))] for share in shares)
