"""Extension arrays and dtypes."""

from __future__ import annotations

import importlib
from typing import Any

import attrs
import numpy as np
from persist.migrations._pandas.common import array_and_state, expect, fields, maker, named, pandas
from persist.migrations._pandas.scalars import frequency, period_frequency, zone

from persist.errors import RestoreError
from persist.packs import Record

__all__ = ["SparsePlaces", "as_codes", "as_moments", "with_frequency"]


def _array(record: Record, *names: str) -> Any:
    """The array that an extension array wraps: of a tuple state, or of an attribute."""
    state = record.state
    if isinstance(state, tuple):
        found = next((part for part in state if isinstance(part, np.ndarray)), None)
        if found is not None:
            return found
    subclass = array_and_state(record)
    if subclass is not None:
        return subclass[0]
    return named(fields(record), *names)


def _dtype(record: Record) -> Any:
    """The dtype of an extension array, which is an object by now."""
    state = record.state
    kinds = (np.dtype, pandas().api.extensions.ExtensionDtype)
    found = state if isinstance(state, tuple) else ()
    given = next((part for part in found if isinstance(part, kinds)), None)
    return named(fields(record), "_dtype", "dtype") if given is None else given


# Dtypes.


@maker("CategoricalDtype", "CategoricalDtypeType")
def categorical_dtype(record: Record) -> object:
    """Categories, and whether they are ordered."""
    state = fields(record)
    categories, ordered = (
        state.get("categories", state.get("_categories")),
        state.get("ordered", state.get("_ordered")),
    )
    return pandas().CategoricalDtype(categories, bool(ordered))


@maker("DatetimeTZDtype")
def zoned_dtype(record: Record) -> object:
    """``DatetimeTZDtype(unit, tz)``."""
    state = fields(record)
    unit, where = (
        (*record.args, None, None)[:2]
        if record.args
        else (state.get("_unit", state.get("unit")), None)
    )
    where = where if where is not None else state.get("_tz", state.get("tz"))
    return pandas().DatetimeTZDtype(unit or "ns", zone(where))


@maker("PeriodDtype")
def period_dtype(record: Record) -> object:
    """``PeriodDtype(freq)``."""
    freq = record.args[0] if record.args else named(fields(record), "_freq", "freq")
    return pandas().PeriodDtype(period_frequency(freq))


@maker("IntervalDtype")
def interval_dtype(record: Record) -> object:
    """``IntervalDtype(subtype, closed)``."""
    state = fields(record)
    subtype = record.args[0] if record.args else named(state, "_subtype", "subtype")
    closed = record.args[1] if len(record.args) > 1 else named(state, "_closed", "closed")
    return pandas().IntervalDtype(subtype, closed)


_NULLABLE = (
    "BooleanDtype", "Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype", "UInt8Dtype", "UInt16Dtype", "UInt32Dtype",
    "UInt64Dtype", "Float32Dtype", "Float64Dtype",
)  # fmt: skip


@maker(*_NULLABLE)
def nullable_dtype(record: Record) -> object:
    """A dtype of nullable numbers or booleans."""
    return getattr(pandas(), record.cls.name)()


@maker("StringDtype")
def string_dtype(record: Record) -> object:
    """``StringDtype(storage)``; before 1.3 there was one storage."""
    state = fields(record)
    storage = (
        record.args[0] if record.args else named(state, "storage", "_storage", default="python")
    )
    na_value = (
        record.args[1] if len(record.args) > 1 else named(state, "_na_value", default=pandas().NA)
    )
    return _string_dtype(storage, na_value)


def _string_dtype(storage: object, na_value: object) -> object:
    """A dtype of texts; what is missing is NaN in some since 2.3."""
    storage = storage if storage in ("python", "pyarrow") else "python"
    if na_value is pandas().NA:
        return pandas().StringDtype(storage)
    try:
        return pandas().StringDtype(storage, na_value)
    except TypeError as error:
        raise RestoreError(
            "its texts have NaN for what is missing: pandas 2.3 is needed"
        ) from error


@maker("SparseDtype")
def sparse_dtype(record: Record) -> object:
    """``SparseDtype(dtype, fill_value)``."""
    state = fields(record)
    dtype = record.args[0] if record.args else named(state, "_dtype", "_subtype")
    fill = record.args[1] if len(record.args) > 1 else named(state, "_fill_value", "fill_value")
    return pandas().SparseDtype(dtype, fill)


@maker("PandasDtype", "NumpyEADtype")
def wrapped_dtype(record: Record) -> object:
    """A dtype of NumPy that was wrapped."""
    return record.args[0] if record.args else named(fields(record), "_dtype")


# Arrays.


@maker("NumpyExtensionArray", "PandasArray")
def wrapped(record: Record) -> object:
    """An array of NumPy that was wrapped."""
    return _array(record, "_ndarray")


def as_moments(array: object, kind: str) -> Any:
    """Nanoseconds since 1970 that 0.24 and before kept as integers, as moments or spans."""
    array = np.asarray(array)
    return array.view(f"{kind}[ns]") if array.dtype.kind == "i" else array


@maker("DatetimeArray")
def moments(record: Record) -> object:
    """Moments, with a zone or without; those of a block have two dimensions.

    Those with a frequency, which arrays lost in 3.0, are the values of an index, and become one.
    """
    array = as_moments(_array(record, "_ndarray", "_data"), "M8")
    dtype, pd = _dtype(record), pandas()
    where = dtype.tz if isinstance(dtype, pd.DatetimeTZDtype) else None
    if array.ndim == 2:
        return array if where is None else [_zoned(row, where) for row in array]
    made = pd.DatetimeIndex(array) if where is None else _zoned(array, where)
    return _with_own_frequency(made, record)


def _with_own_frequency(made: Any, record: Record) -> object:
    freq = named(fields(record), "_freq", "freq")
    return made.array if freq is None else with_frequency(made, freq)


def _zoned(array: object, where: object) -> object:
    return pandas().DatetimeIndex(array).tz_localize("UTC").tz_convert(where)


@maker("TimedeltaArray")
def spans(record: Record) -> Any:
    """Spans of time."""
    array = as_moments(_array(record, "_ndarray", "_data"), "m8")
    if array.ndim == 2:
        return array
    return _with_own_frequency(pandas().TimedeltaIndex(array), record)


def with_frequency(made: Any, freq: object) -> Any:
    """Set the frequency that a state has, where the values have it.

    Raises:
        RestoreError: they have not.
    """
    if freq is None:
        return made
    try:
        made.freq = frequency(freq)
    except ValueError as error:
        raise RestoreError(f"its values do not have the frequency {freq!r}") from error
    return made


@maker("Categorical")
def categorical(record: Record) -> object:
    """Codes and categories; before 0.18 the labels and levels of a factor."""
    state, dtype, pd = fields(record), _dtype(record), pandas()
    codes = _array(record, "_codes", "codes", "labels", "_ndarray")
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories is not None:
        return pd.Categorical.from_codes(as_codes(codes, dtype.categories), dtype=dtype)
    categories = named(state, "_categories", "_levels", "levels", "categories")
    expect(categories is not None, "it has no categories")
    ordered = bool(named(state, "_ordered", "ordered", default=False))
    return pd.Categorical.from_codes(
        as_codes(codes, categories), categories=categories, ordered=ordered
    )


def as_codes(codes: object, categories: Any) -> Any:
    """Codes that lie within their categories, in one dimension."""
    codes = np.asarray(codes).reshape(-1)
    expect(codes.dtype.kind in "iu", "its codes are no integers")
    expect(
        not len(codes) or (codes.min() >= -1 and codes.max() < len(categories)),
        "a code has no category",
    )
    return codes


@maker("IntegerArray", "FloatingArray", "BooleanArray")
def nullable(record: Record) -> object:
    """Values and a mask of those that are missing."""
    state, pd = fields(record), pandas()
    values, mask = state.get("_data"), state.get("_mask")
    expect(
        isinstance(values, np.ndarray) and isinstance(mask, np.ndarray), "it has no values and mask"
    )
    cls = getattr(pd.arrays, record.cls.name)
    return cls(np.asarray(values), np.asarray(mask, dtype=bool))


@maker(
    "StringArray", "StringArrayNumpySemantics", "ArrowStringArray", "ArrowStringArrayNumpySemantics"
)
def texts(record: Record) -> Any:
    """Texts, some of them missing."""
    pd = pandas()
    dtype = _dtype(record)
    items = np.asarray(_array(record, "_ndarray", "_pa_array", "_data"), dtype=object)
    values = [None if _is_missing(item) else item for item in items.ravel()]
    if not isinstance(dtype, pd.StringDtype):
        semantics = np.nan if record.cls.name.endswith("NumpySemantics") else pd.NA
        dtype = _string_dtype("python", semantics)
    return pd.array(values, dtype=dtype)


def _is_missing(item: object) -> bool:
    return item is None or item is pandas().NA or (isinstance(item, float) and item != item)


@maker("PeriodArray")
def periods(record: Record) -> object:
    """Ordinals of a frequency."""
    state, pd = fields(record), pandas()
    ordinals = np.asarray(_array(record, "_ndarray", "_data")).reshape(-1)
    dtype = _dtype(record)
    if not isinstance(dtype, pd.PeriodDtype):
        freq = named(state, "_freq", "freq")
        expect(freq is not None, "it has no frequency")
        dtype = pd.PeriodDtype(period_frequency(freq))
    return pd.PeriodIndex.from_ordinals(ordinals, freq=dtype.freq).array


@maker("IntervalArray")
def intervals(record: Record) -> object:
    """Left and right ends."""
    state, dtype = fields(record), _dtype(record)
    left, right = named(state, "_left", "left"), named(state, "_right", "right")
    expect(left is not None and right is not None, "it has no two ends")
    closed = named(state, "_closed", "closed", default=getattr(dtype, "closed", "right"))
    return pandas().arrays.IntervalArray.from_arrays(left, right, closed=closed)


@attrs.frozen
class SparsePlaces:
    """Where the values of a sparse array are: as runs of neighbours, which a file states in few bytes.

    Attributes:
        length: of the array.
        starts: of the runs.
        lengths: of the runs.
    """

    length: int
    starts: Any
    lengths: Any

    def array(self, values: Any, fill: object) -> Any:
        """Return the sparse array; no dense one is made, since its length is only stated.

        Raises:
            RestoreError: there are not as many values as places, or a place lies outside.
        """
        starts, lengths = np.asarray(self.starts), np.asarray(self.lengths)
        expect(starts.shape == lengths.shape and starts.ndim == 1, "its runs do not fit")
        expect(bool((lengths >= 0).all()), "a run of it has a negative length")
        count = sum(map(int, lengths))
        expect(count == len(values), f"it has {len(values)} values for {count} places")
        ends = starts.astype(np.int64) + lengths
        inside = not len(starts) or (starts.min() >= 0 and ends.max() <= self.length)
        expect(inside and bool((starts[1:] >= ends[:-1]).all()), "its runs overlap or lie outside")
        offsets = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        places = (np.arange(count) + offsets).astype(np.int32)
        kind = pandas().arrays.SparseArray
        if hasattr(kind, "from_indices"):  # since 3.1
            return kind.from_indices(values, places, self.length, fill_value=fill)
        index = importlib.import_module("pandas._libs.sparse").IntIndex(self.length, places)
        dtype = pandas().SparseDtype(np.asarray(values).dtype, fill)
        return kind(values, sparse_index=index, fill_value=fill, dtype=dtype)


@maker("IntIndex", "BlockIndex")
def sparse_places(record: Record) -> Any:
    """The places listed (``IntIndex``), or as runs of neighbours (``BlockIndex``)."""
    expect(len(record.args) >= 2 and isinstance(record.args[0], int), "it has no length and places")
    if record.cls.name == "IntIndex":
        places = np.asarray(record.args[1])
        return SparsePlaces(record.args[0], places, np.ones(places.shape, np.int64))
    expect(len(record.args) >= 3, "it has no starts and lengths")
    return SparsePlaces(*record.args[:3])


@maker("SparseArray")
def sparse(record: Record) -> object:
    """Values, their places and the value of all other places."""
    subclass = array_and_state(record)
    if subclass is not None:  # before 0.24: (fill value, places)
        values, (fill, places) = subclass[0], (*subclass[1], None, None)[:2]
    else:
        state = fields(record)
        values, places = named(state, "_sparse_values", "_data"), state.get("_sparse_index")
        fill = getattr(state.get("_dtype"), "fill_value", named(state, "_fill_value", "fill_value"))
    if not isinstance(places, SparsePlaces) or not isinstance(values, np.ndarray):
        raise RestoreError("it has no values and places")
    return places.array(values, fill)
