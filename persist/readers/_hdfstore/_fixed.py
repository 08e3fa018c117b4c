"""The fixed format: blocks of columns, each with its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist.readers._hdfstore._group import Group, UnknownLayoutError
from persist.readers._hdfstore._indexes import index_of
from persist.readers._hdfstore._records import (
    Column,
    changed,
    frame,
    labels_of,
    made_index,
    moments,
    multi_index,
    series,
    strings,
)
from persist.tree import LazyArray, Record

__all__ = ["fixed_frame", "fixed_series"]

Array = np.ndarray[Any, Any]


def fixed_frame(group: Group) -> Record:
    """Return the frame that a group in the fixed format holds."""
    columns, index = _fixed_index(group, "axis0"), _fixed_index(group, "axis1")
    labels = labels_of(columns)
    waiting: dict[object, list[int]] = {}
    for place, label in enumerate(labels):
        waiting.setdefault(label, []).append(place)
    held: dict[int, Column] = {}
    for number in range(int(group.own.get("nblocks", 0))):
        items = labels_of(_fixed_index(group, f"block{number}_items"))
        values = _fixed_values(group, f"block{number}_values")
        rows = 1 if isinstance(values, Record) or values.ndim == 1 else values.shape[0]
        if rows != len(items):
            raise UnknownLayoutError(f"block {number} has {rows} columns and {len(items)} labels")
        for row, label in enumerate(items):
            if not waiting.get(label):
                raise UnknownLayoutError(
                    f"block {number} has a column {label!r} that no axis names"
                )
            held[waiting[label].pop(0)] = _row(values, row)
    if len(held) != len(labels):
        raise UnknownLayoutError(f"it has {len(labels)} columns, and values for {len(held)}")
    return frame(columns, index, [held[place] for place in range(len(labels))])


def fixed_series(group: Group) -> Record:
    """Return the series that a group in the fixed format holds."""
    values = _fixed_values(group, "values")
    return series(_fixed_index(group, "index"), values, group.own.get("name"))


def _row(values: Any, row: int) -> Column:
    """A column of a block."""
    if isinstance(values, LazyArray):
        return LazyArray(values.dtype, values.shape[1:], lambda: values.read()[row])
    return values[row] if isinstance(values, np.ndarray) else values


def _fixed_values(group: Group, name: str) -> Column:
    """The values of a block, of shape (columns, rows), or of a series, of shape (rows,)."""
    stored, facts = group.value(name), group.of(name)
    kind = str(facts.get("value_type") or "")
    values: Any = stored
    if isinstance(stored, list):  # the one row of a VLArray of objects
        if len(stored) != 1:
            raise UnknownLayoutError(f"{name!r} has {len(stored)} rows of objects, not one")
        values = np.asarray(stored[0])
        if values.dtype != object:
            raise UnknownLayoutError(f"the objects of {name!r} are no array")
        if kind.startswith("str") and values.ndim == 1:
            return strings(values)
    elif facts.get("shape") is not None:  # what is empty is stored as a single zero
        values = _empty(facts)
    elif group.is_bits(name):
        values = changed(values, np.dtype(np.bool_), lambda array: array.astype(bool))
    if kind.startswith("period["):
        return made_index("PeriodIndex", np.asarray(values).reshape(-1), None, freq=kind[7:-1])
    if kind.startswith(("datetime64", "timedelta64")) and values.dtype.kind in "iu":
        values = moments(_turned(values, facts), kind)
        zone = facts.get("tz")  # their dtype does not name it
        return values if zone is None else _zoned(values, zone)
    return _turned(values, facts)


def _zoned(values: Any, zone: object) -> Record:
    """Moments with a zone, which are a block of their own."""
    flat = LazyArray(values.dtype, (values.size,), lambda: np.asarray(values).reshape(-1))
    return made_index("DatetimeIndex", flat, None, tz=zone, freq=None)


def _turned(values: Any, facts: Mapping[str, object]) -> object:
    if not facts.get("transposed") or values.ndim < 2:
        return values
    if isinstance(values, LazyArray):
        return LazyArray(values.dtype, values.shape[::-1], lambda: values.read().T)
    return values.T


def _empty(facts: Mapping[str, Any]) -> Array:
    """What has no items, whose shape and type are attributes."""
    shape = tuple(facts["shape"])
    if 0 not in shape or any(type(extent) is not int or extent < 0 for extent in shape):
        raise UnknownLayoutError(f"what is empty has shape {shape}")
    kind = str(facts.get("value_type"))
    dtype = from_text({"datetime64": "M8[ns]", "timedelta64": "m8[ns]"}.get(kind, kind))
    return np.empty(shape, dtype)


def _fixed_index(group: Group, key: str) -> Record:
    variety = group.own.get(f"{key}_variety", "regular")
    if variety == "multi":
        levels, codes, names = [], [], []
        for level in range(int(group.own[f"{key}_nlevels"])):
            facts = group.of(f"{key}_level{level}")
            levels.append(_fixed_level(group, f"{key}_level{level}", facts.get("name")))
            codes.append(np.asarray(group.value(f"{key}_label{level}")))
            names.append(facts.get("name"))
        return multi_index(levels, codes, names)
    if variety != "regular":
        raise UnknownLayoutError(f"{key!r} is of variety {variety!r}")
    return _fixed_level(group, key, group.of(key).get("name"))


def _fixed_level(group: Group, key: str, name: object) -> Record:
    facts, stored = group.of(key), group.value(key)
    if facts.get("shape") is not None:
        stored = _empty(facts)
    elif isinstance(stored, list):
        stored = np.asarray(stored[0]) if len(stored) == 1 else stored
    kind = str(facts.get("kind") or "")
    if group.is_bits(key):
        stored = np.asarray(stored).astype(bool)
    return index_of(group, stored, kind, name, facts)
