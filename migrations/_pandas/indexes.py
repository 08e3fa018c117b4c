"""Indexes of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from persist.migrations._pandas.arrays import as_codes, as_moments, with_frequency
from persist.migrations._pandas.common import (
    array_and_state,
    class_of,
    expect,
    fields,
    maker,
    pandas,
)
from persist.migrations._pandas.scalars import period_frequency, zone

from persist.packs import Record

__all__ = ["as_index"]


def as_index(value: object, name: object = None) -> object:
    """An axis as an index."""
    pd = pandas()
    return value if isinstance(value, pd.Index) else pd.Index(value, name=name)


@maker(
    "_new_Index", "_new_DatetimeIndex", "_new_TimedeltaIndex", "_new_PeriodIndex", "Index", "Int64Index", "UInt64Index", "Float64Index",
    "NumericIndex", "RangeIndex", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "CategoricalIndex", "MultiIndex",
    "IntervalIndex", "_new_IntervalIndex", "DateRange",
)  # fmt: skip
def index(record: Record) -> Any:
    """An index: ``_new_Index(cls, {...})``, or of 0.12 and before a subclass of ndarray."""
    kind = class_of(record)
    subclass = array_and_state(record)
    if subclass is not None:
        return _of_subclass(kind, *subclass)
    known = next((item for item in record.args if isinstance(item, dict)), None)
    known = dict(known if known is not None else record.kwargs or fields(record))
    make = _KINDS.get(kind, _plain)
    return make(known)


def _plain(known: dict[str, Any]) -> Any:
    expect("data" in known, "it has no values")
    data = known["data"]
    if isinstance(data, np.ndarray) and data.dtype.kind not in "OMm":
        return pandas().Index(data, name=known.get("name"))
    dtype = object if isinstance(data, np.ndarray) and data.dtype == object else None
    return pandas().Index(data, name=known.get("name"), dtype=dtype)


def _range(known: dict[str, object]) -> object:
    if "start" not in known:
        return _plain(known)
    return pandas().RangeIndex(known["start"], known["stop"], known["step"], name=known.get("name"))


def _datetimes(known: dict[str, object]) -> object:
    pd = pandas()
    data = known.get("data")
    expect(data is not None, "it has no values")
    where = zone(known.get("tz"))
    if isinstance(data, np.ndarray):
        data = as_moments(data, "M8")
    made = pd.DatetimeIndex(data)
    if where is not None:
        made = made.tz_localize("UTC") if made.tz is None else made
        made = made.tz_convert(where)
    return with_frequency(made, known.get("freq")).rename(known.get("name"))


def _timedeltas(known: dict[str, object]) -> object:
    data = known.get("data")
    expect(data is not None, "it has no values")
    made = pandas().TimedeltaIndex(as_moments(data, "m8") if isinstance(data, np.ndarray) else data)
    return with_frequency(made, known.get("freq")).rename(known.get("name"))


def _periods(known: dict[str, object]) -> object:
    pd = pandas()
    data = known.get("data", known.get("ordinal"))
    if isinstance(data, np.ndarray) and data.dtype.kind == "i":
        expect(known.get("freq") is not None, "it has no frequency")
        made = pd.PeriodIndex.from_ordinals(data, freq=period_frequency(known["freq"]))
    else:
        made = pd.PeriodIndex(data)
    return made.rename(known.get("name"))


def _categories(known: dict[str, Any]) -> Any:
    pd = pandas()
    data = known.get("data")
    if isinstance(data, pd.Categorical):
        return pd.CategoricalIndex(data, name=known.get("name"))
    if data is None and "codes" in known:
        codes = as_codes(known["codes"], known["categories"])
        data = pd.Categorical.from_codes(
            codes, known["categories"], ordered=bool(known.get("ordered"))
        )
        return pd.CategoricalIndex(data, name=known.get("name"))
    expect(data is not None, "it has no values")
    made = pd.Categorical(
        data, categories=known.get("categories"), ordered=bool(known.get("ordered"))
    )
    return pd.CategoricalIndex(made, name=known.get("name"))


def _intervals(known: dict[str, object]) -> object:
    pd = pandas()
    if "left" in known:
        made = pd.IntervalIndex.from_arrays(
            known["left"], known["right"], closed=known.get("closed") or "right"
        )
    else:
        made = pd.IntervalIndex(known["data"])
    return made.rename(known.get("name"))


def _multi(known: dict[str, Any]) -> object:
    levels = [as_index(level) for level in known.get("levels") or ()]
    codes = known.get("codes", known.get("labels"))
    expect(levels and codes is not None, "it has no levels and codes")
    return _of_levels(levels, codes, known.get("names"), known.get("sortorder"))


def _of_levels(levels: Any, codes: Any, names: Any, sortorder: object) -> object:
    expect(len(levels) == len(list(codes)), "it has not as many codes as levels")
    checked = [as_codes(code, level) for code, level in zip(codes, levels, strict=True)]
    names = None if names is None else list(names)
    return pandas().MultiIndex(levels, checked, sortorder=sortorder, names=names)


_KINDS = {
    "RangeIndex": _range,
    "DatetimeIndex": _datetimes,
    "TimedeltaIndex": _timedeltas,
    "PeriodIndex": _periods,
    "CategoricalIndex": _categories,
    "IntervalIndex": _intervals,
    "MultiIndex": _multi,
}


def _of_subclass(kind: str, array: Any, own: tuple[Any, ...]) -> object:
    """An index of 0.12 and before; its own state is (name, freq, tz), or that of a MultiIndex."""
    pd = pandas()
    if kind == "MultiIndex":
        levels, codes, sortorder, names = (*own, None, None, None, None)[:4]
        expect(levels is not None and codes is not None, "it has no levels and codes")
        return _of_levels([as_index(level) for level in levels], codes, names, sortorder)
    name, freq, where = (*own, None, None, None)[:3]
    if kind in ("DatetimeIndex", "DateRange"):
        return _datetimes({"data": array, "name": name, "freq": freq, "tz": where})
    if kind == "PeriodIndex":
        return _periods({"data": array, "name": name, "freq": freq})
    return pd.Index(array, name=name, dtype=object if array.dtype == object else None)


@maker("FrozenList", "FrozenNDArray")
def frozen(record: Record) -> Any:
    """A list or array that pandas kept from being changed."""
    subclass = array_and_state(record)
    if subclass is not None:
        return subclass[0]
    if record.listitems:
        return list(record.listitems)
    return next((list(item) for item in record.args if isinstance(item, list | tuple)), [])
