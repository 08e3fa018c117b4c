"""Indexes of both formats, by the kind that pandas noted for them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np

from persist.readers._hdfstore._group import Group, UnknownLayoutError
from persist.readers._hdfstore._records import made_index, moments
from persist.tree import LazyArray, Record

__all__ = ["index_of", "plain_values"]


def index_of(
    group: Group, stored: Any, kind: str, name: object, facts: Mapping[str, Any]
) -> Record:
    """An index, by the kind that pandas noted for it."""
    freq, zone = facts.get("freq"), facts.get("tz")
    is_period = facts.get("index_class") == "period" or (freq is not None and kind == "integer")
    if is_period:
        return made_index("PeriodIndex", np.asarray(stored), name, freq=freq)
    if kind.startswith("datetime64"):
        data = moments(stored, kind)
        return made_index("DatetimeIndex", data, name, tz=zone, freq=freq)
    if kind.startswith("timedelta64"):
        return made_index("TimedeltaIndex", moments(stored, kind), name, freq=freq)
    missing = facts.get("nan_rep", "nan") or None  # 3.1 chooses a text that is no value
    return made_index("Index", plain_values(group, stored, kind, missing), name)


def plain_values(group: Group, stored: object, kind: str, missing: str | None = "nan") -> object:
    """Return the values of an index that is neither of moments nor of periods."""
    if kind == "date":
        days = [datetime.date.fromordinal(int(day)) for day in np.asarray(stored)]
        return np.array(days, dtype=object)
    if kind == "datetime":
        raise UnknownLayoutError("its index holds times of the zone of the machine that wrote it")
    if kind == "string" or (
        isinstance(stored, np.ndarray | LazyArray) and stored.dtype.kind == "S"
    ):
        return group.text(np.asarray(stored), missing)
    if kind in ("bool", "boolean"):
        return np.asarray(stored).astype(bool)
    return stored
