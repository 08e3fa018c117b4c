"""An array as a few hundred bytes: statistics, histogram, heat map, image, curve."""

from __future__ import annotations

import base64
import math
import re
from typing import Any

import numpy as np

from persist._trees.stats import Stats, is_numeric, stats_of
from persist._trees.totals import nbytes_of
from persist.errors import PersistError
from persist.typing import Array

__all__ = ["Budget", "curve", "preview"]

_BINS = 24
_SIDE = 40  # cells of one side of a heat map
_IMAGE = 96  # pixels of one side of an image
_POINTS = 240  # of a curve
_LARGE = 1 << 24  # bytes: of a larger array the first rows are looked at
_LOGS = re.compile(
    r"loss|acc|err|metric|history|score|auc|epoch|perplex|reward|lr\b|learning_rate", re.I
)


class Budget:
    """What the previews of one page may cost.

    Attributes:
        read: bytes of arrays that may still be read.
        drawn: characters of heat maps and images that may still be written.
    """

    def __init__(self, read: int = 1 << 28, drawn: int = 1_400_000) -> None:
        self.read = read
        self.drawn = drawn


def preview(array: Any, budget: Budget) -> dict[str, object]:
    """Return what the page shows of an array; its statistics, histogram and picture.

    Args:
        array: an ndarray, a lazy array or an ``array.array``.
        budget: is reduced by what is read and drawn; without it, only dtype, shape and size are given.
    """
    if not hasattr(array, "dtype"):
        array = np.asarray(array)
    facts: dict[str, object] = {}
    if array.dtype.names is not None or not is_numeric(array.dtype) or not array.size:
        return facts
    if budget.read <= 0:
        return {"note": "not read: the page has a limit of bytes that are read"}
    part = array
    if nbytes_of(array) > _LARGE and array.shape:
        row = max(1, nbytes_of(array) // max(1, array.shape[0]))
        count = max(1, _LARGE // row)
        part = array[:count]
        facts["note"] = f"of the first {count:,} of {array.shape[0]:,} rows"
    budget.read -= nbytes_of(part)
    try:
        found = stats_of(part)
        values = np.asarray(part)
    except PersistError as error:
        return {"error": error.what}
    if values.dtype.kind not in "biufc":
        values = values.astype(np.float32)
    if values.dtype.kind == "c":
        values = np.abs(values)
    facts["stats"] = _stats(found)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.reshape(-1)
    if finite.size > 1 and values.size > 4:
        facts["hist"] = _histogram(finite)
    if budget.drawn > 0:
        facts.update(_picture(values, budget))
    return facts


def _stats(found: Stats) -> dict[str, object]:
    numbers = {name: getattr(found, name) for name in ("min", "max", "mean", "std", "norm")}
    shown: dict[str, object] = {
        name: f"{abs(value) if isinstance(value, complex) else value:.4g}"
        for name, value in numbers.items()
        if value is not None
    }
    counts = {name: getattr(found, name) for name in ("zeros", "nan", "inf")}
    shown.update({name: count for name, count in counts.items() if count})
    if found.flags:
        shown["flags"] = found.flags
    return shown


def _histogram(finite: Array) -> str:
    """The heights of the bins, the tallest 255, in base64."""
    flat = finite.astype(np.float64)
    low, high = float(flat.min()), float(flat.max())
    if low == high or not math.isfinite(high - low):
        return ""
    counts, _ = np.histogram(flat, bins=_BINS, range=(low, high))
    tall = max(1, int(counts.max()))
    heights = np.where(counts, np.maximum(1, counts * 255 // tall), 0).astype(np.uint8)
    return base64.b64encode(heights.tobytes()).decode()


def _picture(values: Array, budget: Budget) -> dict[str, object]:
    """An image, where the array looks like one; else a heat map of two axes."""
    shape = values.shape
    if values.dtype == np.uint8 and min(shape[:2], default=0) > 7:
        if len(shape) == 3 and shape[2] in (3, 4):
            return _drawn("image", values[..., :3], _IMAGE, budget, colours=3)
        if len(shape) == 2:
            return _drawn("image", values, _IMAGE, budget)
        if len(shape) == 3:  # a stack of grey images: the first
            return _drawn("image", values[0], _IMAGE, budget)
    if len(shape) == 4 and values.dtype == np.uint8 and shape[3] in (1, 3):
        first = values[0] if shape[3] == 3 else values[0, ..., 0]
        return _drawn("image", first, _IMAGE, budget, colours=shape[3])
    if len(shape) < 2 or values.size < 4:
        return {}
    flat = values.reshape(shape[0], -1)
    scaled = _scaled(flat.astype(np.float64))
    return {} if scaled is None else _drawn("heat", scaled, _SIDE, budget)


def _scaled(values: Array) -> Array | None:
    """Values as 0 to 254, with 127 for zero if there are both signs; 255 for what is not finite."""
    is_finite = np.isfinite(values)
    if not is_finite.any():
        return None
    low, high = float(values[is_finite].min()), float(values[is_finite].max())
    if low < 0 < high:
        high = max(-low, high)
        low = -high
    span = high - low
    if not math.isfinite(span):
        return None
    grey = (values - low) / span * 254 if span else np.full(values.shape, 127.0)
    return np.where(is_finite, np.nan_to_num(grey), 255).astype(np.uint8)


def _drawn(
    kind: str, pixels: Array, side: int, budget: Budget, colours: int = 1
) -> dict[str, object]:
    rows = np.unique(np.linspace(0, pixels.shape[0] - 1, min(side, pixels.shape[0])).astype(int))
    columns = np.unique(np.linspace(0, pixels.shape[1] - 1, min(side, pixels.shape[1])).astype(int))
    small = np.ascontiguousarray(pixels[np.ix_(rows, columns)])
    text = base64.b64encode(small.tobytes()).decode()
    budget.drawn -= len(text)
    return {kind: {"w": len(columns), "h": len(rows), "c": colours, "d": text}}


def curve(path: str, values: Any, *, is_log: bool = False) -> list[float | None] | None:
    """Return the points of a training log; None for what does not look like one.

    Args:
        path: its natural path, of which the name counts.
        values: an array or a sequence of numbers.
        is_log: whether the format alone says that it is a log.
    """
    if not is_log and not _LOGS.search(path):
        return None
    try:
        array = np.asarray(values)
    except (PersistError, ValueError):
        return None
    if array.ndim != 1 or not 3 <= array.size <= 1_000_000 or array.dtype.kind not in "iuf":
        return None
    step = max(1, math.ceil(array.size / _POINTS))
    floats = array[::step].astype(np.float64)
    return [float(f"{x:.5g}") if math.isfinite(x) else None for x in floats.tolist()]
