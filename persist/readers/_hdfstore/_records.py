"""The records that pandas pickles: frames, series, indexes and the columns that are no arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist.tree import Global, LazyArray, Record
from persist.typing import DType

__all__ = [
    "Column",
    "categorical",
    "changed",
    "frame",
    "labels_of",
    "made_index",
    "moments",
    "multi_index",
    "series",
    "strings",
]

Array = np.ndarray[Any, Any]
Column = Any
"""The values of a column: an array, lazy or not, or the record of an extension array."""

_INDEXES = "pandas.core.indexes"


def made_index(cls: str, data: object, name: object, **more: object) -> Record:
    """Return an index of a class, of its values or of what ``more`` says."""
    special = cls in ("DatetimeIndex", "PeriodIndex", "TimedeltaIndex")
    module = f"{_INDEXES}.{cls.removesuffix('Index').lower() + 's' if special else 'base'}"
    maker = Global(
        module, f"_new_{cls}" if cls in ("DatetimeIndex", "PeriodIndex") else "_new_Index"
    )
    home = f"{_INDEXES}.multi" if cls == "MultiIndex" else module
    given = {**more, "name": name} if data is None else {"data": data, **more, "name": name}
    if cls == "MultiIndex":
        del given["name"]
    return Record(maker, kind="reduce", maker=maker, args=(Global(home, cls), given))


def multi_index(levels: list[Any], codes: list[Any], names: list[Any]) -> Record:
    """Return an index of several levels, which are indexes, with the code of each row."""
    return made_index(
        "MultiIndex", None, None, levels=levels, codes=codes, sortorder=None, names=names
    )


def categorical(codes: Array, categories: Record, ordered: bool) -> Record:
    """Return a column of codes and their categories."""
    state = {"_codes": codes, "_categories": categories, "_ordered": ordered}
    return Record(Global("pandas.core.categorical", "Categorical"), state)


def strings(items: Any) -> Record:
    """The column of texts of pandas 3, which was of objects before."""
    cls = Global("pandas.core.arrays.string_", "StringArrayNumpySemantics")
    return Record(cls, {"_ndarray": items})


def _manager(cls: str, axes: list[Record], columns: list[Column], ndim: int) -> Record:
    blocks = [
        {
            "values": _as_block(column) if ndim == 2 else column,
            "mgr_locs": slice(place, place + 1, 1),
        }
        for place, column in enumerate(columns)
    ]
    state: tuple[Any, ...] = (axes, [], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
    return Record(Global("pandas.core.internals.managers", cls), state)


def _as_block(column: Column) -> Column:
    """A column as a block of one row."""
    if isinstance(column, LazyArray):
        shape = (1, *column.shape)
        return LazyArray(column.dtype, shape, lambda: column.read().reshape(shape))
    return column.reshape(1, -1) if isinstance(column, np.ndarray) else column


def frame(columns: Record, index: Record, held: list[Column]) -> Record:
    """Return a frame of its two indexes and of its columns in their order."""
    manager = _manager("BlockManager", [columns, index], held, 2)
    return Record(Global("pandas.core.frame", "DataFrame"), {"_mgr": manager, "_typ": "dataframe"})


def series(index: Record, values: Column, name: object) -> Record:
    """Return a series of its index and values."""
    manager = _manager("SingleBlockManager", [index], [values], 1)
    state = {"_mgr": manager, "_typ": "series", "_name": name}
    return Record(Global("pandas.core.series", "Series"), state)


def moments(values: Any, kind: str, zone: object = None) -> Column:
    """Integers as moments or spans of the unit that the kind names, nanoseconds if none."""
    unit = kind.partition("[")[2].rstrip("]").partition(",")[0] or "ns"
    dtype = from_text(f"{'M8' if kind.startswith('datetime64') else 'm8'}[{unit}]")
    seen = changed(values, dtype, lambda array: array.astype("i8", copy=False).view(dtype))
    if zone is None:
        return seen
    return made_index("DatetimeIndex", seen, None, tz=zone, freq=None)


def changed(values: Any, dtype: DType, change: Callable[[Array], Array]) -> object:
    """Values of another dtype, changed when they are read."""
    if isinstance(values, LazyArray):
        return LazyArray(dtype, values.shape, lambda: change(values.read()))
    return change(np.asarray(values))


def labels_of(index: Record) -> list[object]:
    """The labels of an index, comparable."""
    known = index.args[1]
    if "levels" in known:
        texts = [labels_of(level) for level in known["levels"]]
        rows = zip(*(np.asarray(code).tolist() for code in known["codes"]), strict=True)
        return [
            tuple(None if code < 0 else text[code] for text, code in zip(texts, row, strict=True))
            for row in rows
        ]
    data = np.asarray(known["data"])
    items = data.view("i8").tolist() if data.dtype.kind in "Mm" else data.tolist()
    return ["nan" if item != item else item for item in items]
