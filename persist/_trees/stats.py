"""Statistics of an array in one pass over its blocks: extremes, mean, spread, norm, NaN, Inf, zeros.

Sums are kept relative to the largest magnitude found so far, as LAPACK's ``lassq`` does, so that
values near the limits of float64 neither overflow nor vanish; means and variances of blocks are
joined by the formula of Chan, Golub and LeVeque (1979).
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

from persist._trees.pieces import blocks, field_of, fields
from persist._wire.base.ml_dtypes import dtype_name, missing_name, stored_dtype
from persist.typing import Array

__all__ = ["Stats", "is_numeric", "stats_of"]

_NUMBERS = "biufc"


@attrs.define
class Stats:
    """Statistics of the elements of one array.

    Attributes:
        dtype: name of the dtype.
        shape: shape of the array.
        nbytes: bytes in memory.
        count: number of elements.
        is_numeric: whether the elements are numbers; otherwise nothing below is computed.
        nan: number of elements that are NaN.
        inf: number of elements that are infinite.
        zeros: number of elements that are zero.
        min, max: extremes of the finite elements; None without any, and of complex numbers.
        mean: mean of the finite elements; None without any.
        std: standard deviation of the finite elements (of the population).
        norm: Euclidean norm of the finite elements.
    """

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    count: int
    is_numeric: bool = True
    nan: int = 0
    inf: int = 0
    zeros: int = 0
    min: int | float | None = None
    max: int | float | None = None
    mean: float | complex | None = None
    std: float | None = None
    norm: float | None = None

    @property
    def flags(self) -> list[str]:
        """What is suspicious about the array: "NaN", "Inf", "all zero"."""
        found = [name for name, count in (("NaN", self.nan), ("Inf", self.inf)) if count]
        if self.is_numeric and self.count and self.zeros == self.count:
            found.append("all zero")
        return found


def stats_of(array: Any, field: str = "") -> Stats:
    """Return the statistics of an array; it is read in blocks.

    Args:
        array: an ndarray, `LazyArray` or ``array.array``.
        field: the field of a structured array that is meant, as `pieces.fields` names it.

    Raises:
        PersistError: its bytes are damaged, or only an extra that is missing can decode them.
    """
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    dtype, readable = stored_dtype(array), array.dtype
    shape = tuple(map(int, array.shape))
    if field:
        dtype = readable = dict(fields(array))[field]
        shape = (*shape, *dtype.shape)
        dtype = readable = dtype.base
    count = math.prod(shape)
    found = Stats(dtype_name(dtype), shape, count * dtype.itemsize, count)
    if not is_numeric(readable):
        found.is_numeric = False
        return found
    sums = _Sums()
    with np.errstate(all="ignore"):
        for block in blocks(array):
            sums.add(field_of(block, field) if field else block, found)
        sums.finish(found)  # a norm beyond the largest number is Inf
    return found


def is_numeric(dtype: Any) -> bool:
    """Whether NumPy can compute with the elements; ml_dtypes' floats are of the kind of a void."""
    if dtype.kind in _NUMBERS:
        return True
    return bool(missing_name(dtype)) or (
        dtype.names is None and dtype.kind == "V" and not issubclass(dtype.type, np.void)
    )


class _Sums:
    """Sums of the finite elements seen so far, in units of `scale`."""

    def __init__(self) -> None:
        self.count = 0
        self.scale: Any = np.float64(0.0)
        self.mean: object = np.float64(0.0)
        self.spread: Any = np.float64(0.0)  # sum of the squared distances from the mean
        self.squares: Any = np.float64(0.0)

    def add(self, block: Array, into: Stats) -> None:
        if block.dtype.kind not in _NUMBERS:
            block = block.astype(np.float32)
        if block.dtype.kind == "b":
            block = block.view(np.uint8)
        into.zeros += int(np.count_nonzero(block == 0))
        if block.dtype.kind in "fc":
            is_finite = np.isfinite(block)
            if not is_finite.all():
                nan = int(np.count_nonzero(np.isnan(block)))
                into.nan += nan
                into.inf += int(block.size - np.count_nonzero(is_finite)) - nan
                block = block[is_finite]
        if not block.size:
            return
        if block.dtype.kind != "c":
            low, high = block.min().item(), block.max().item()
            into.min = low if into.min is None else min(into.min, low)
            into.max = high if into.max is None else max(into.max, high)
        self._sum(block.astype(np.result_type(block.dtype, np.float64)))

    def _sum(self, values: Array) -> None:
        parts = (values.real, values.imag) if values.dtype.kind == "c" else (values,)
        top = max(np.abs(part).max() for part in parts)
        if top > self.scale:
            ratio = self.scale / top
            self.mean, self.spread = self.mean * ratio, self.spread * ratio * ratio
            self.squares, self.scale = self.squares * ratio * ratio, top
        if self.scale:
            flat = values.view(values.real.dtype)  # complex division by a tiny number overflows
            values = (flat / self.scale).view(values.dtype)
        count, mean = values.size, values.mean()
        away = values - mean
        total = self.count + count
        apart = mean - self.mean
        self.spread = (
            self.spread + np.vdot(away, away).real + abs(apart) ** 2 * (self.count / total) * count
        )
        self.mean = self.mean + apart * (count / total)
        self.squares = self.squares + np.vdot(values, values).real
        self.count = total

    def finish(self, into: Stats) -> None:
        if not self.count:
            return
        mean = self.mean * self.scale
        into.mean = complex(mean) if np.iscomplexobj(mean) else float(mean)
        into.std = float(np.sqrt(self.spread / self.count) * self.scale)
        into.norm = float(np.sqrt(self.squares) * self.scale)
