"""Views of indexes and extension arrays: values, with what they mean as parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from persist.migrations import pyarrow as _arrow
from persist.migrations._pandas.view_common import (
    ITEM,
    array_and_state,
    charge_for,
    class_of,
    expect,
    get_field,
    items_of,
    looks_at,
    size_of,
)
from persist.migrations._pandas.view_scalars import frequency_text, zone_text

from persist._trees.pack_view import spending
from persist.tree import ABSENT, Global, LazyArray, Record, View
from persist.typing import Array

__all__ = [
    "array_view",
    "index_view",
    "integers_of",
    "label_view",
    "multi_parts",
    "plain_array",
    "sparse_places",
    "with_meaning",
]


def with_meaning(values: Any, *holders: object) -> Any:
    """Return values with the zone and the frequency that their record or its dtype states."""
    parts = _meaning(*holders)
    return View(values, parts=parts) if parts else values


def _meaning(*holders: object) -> dict[str, object]:
    """Return ``freq`` and ``tz`` where a description, an array or a dtype among holders has them."""
    parts: dict[str, Any] = {}
    todo = list(holders)
    seen = 0
    while todo and seen < 16:  # an index holds an array, that its dtype
        holder = todo.pop(0)
        seen += 1
        if isinstance(holder, Record):
            if _is_index(holder):
                todo.append(_description(holder))
            dtype, _, attributes = _backed(holder)
            todo += [attributes, dtype] if dtype is not holder else []
            if holder.cls.name == "PeriodDtype":
                parts.setdefault("freq", frequency_text(*holder.args[:1]))
            if holder.cls.name == "DatetimeTZDtype" and holder.args:
                parts.setdefault("tz", zone_text(holder.args[-1]))
        elif isinstance(holder, dict):
            for step, spell in (("freq", frequency_text), ("tz", zone_text)):
                for name in (step, f"_{step}"):
                    if holder.get(name) is not None:
                        parts.setdefault(step, spell(holder[name]))
            if isinstance(holder.get("data"), Record):
                todo.append(holder["data"])
            todo += [
                holder[name] for name in ("dtype", "_dtype") if isinstance(holder.get(name), Record)
            ]
    return {step: part for step, part in parts.items() if part is not None}


def index_view(value: object) -> object:
    """An index as a part: its values, and its name where it has one."""
    seen = _index_parts(value)
    if isinstance(seen, View):
        return seen
    return seen if seen is not None else value


def _index_parts(value: object) -> object:
    if not isinstance(value, Record):
        return value
    kind = class_of(value)
    if kind == "MultiIndex":
        return _multi(value)
    subclass = array_and_state(value)
    if subclass is not None:
        array, own = subclass
        name = own[0] if own else None
        expect(len(own) <= 3, f"the state of its index has {len(own)} items")
        parts = _meaning(dict(zip(("freq", "tz"), own[1:], strict=False)))
        if kind == "PeriodIndex":
            return _named({"ordinals": array, **parts}, name)
        return _named_values(_moment(array) if kind == "DatetimeIndex" else array, name, parts)
    known = _description(value)
    if kind == "RangeIndex" and known is not None and "start" in known:
        numbers = _range(known)
        return None if numbers is None else _named_values(numbers, known.get("name"))
    if known is not None and "left" in known and "right" in known:
        return _named(
            {
                "left": index_view(known["left"]),
                "right": index_view(known["right"]),
                **({"closed": known["closed"]} if known.get("closed") is not None else {}),
            },
            known.get("name"),
        )
    if known is not None and "data" in known:
        data = known["data"]
        parts = _meaning(known)
        if kind == "PeriodIndex" and isinstance(data, np.ndarray) and data.dtype.kind == "i":
            return _named({"ordinals": data, **parts}, known.get("name"))
        if isinstance(data, Record) and _is_index(data):
            return _named_values(_index_parts(data), known.get("name"), parts)
        return _named_values(array_view(data), known.get("name"), parts)
    if known is not None and "ordinal" in known:
        return _named({"ordinals": known["ordinal"], **_meaning(known)}, known.get("name"))
    return None


def _description(record: Record) -> dict[object, object] | None:
    """What an index was made from: ``_new_Index(cls, {...})``, or keywords."""
    for item in record.args:
        if isinstance(item, dict):
            return item
    if record.kwargs:
        return record.kwargs
    fields = record.fields()
    return fields or None


def _is_index(record: Record) -> bool:
    return class_of(record).endswith("Index")


def _named_values(values: Any, name: object, parts: dict[str, object] | None = None) -> object:
    label = label_view(name)
    extra = {**(parts or {}), **({} if label is None else {"name": label})}
    if isinstance(values, View) and not extra.keys() - values.parts.keys():
        return values
    if isinstance(values, View) and values.value is ABSENT:
        return View(parts={**values.parts, **extra})
    if isinstance(values, View):
        return View(values.value, parts={**values.parts, **extra}, whole=values.whole)
    return View(values, parts=extra) if extra else values


def _named(parts: dict[str, object], name: object) -> View:
    label = label_view(name)
    return View(parts=parts if label is None else {**parts, "name": label})


def label_view(name: object) -> object:
    """The name of an axis; a tuple of several is one value, not a container of values."""
    if isinstance(name, list | tuple) and len(name) == 1:
        name = name[0]
    return View(name, whole=True) if isinstance(name, tuple) else name


def _range(known: dict[Any, Any]) -> LazyArray | None:
    """The numbers of a RangeIndex, made and charged when they are read: three numbers state them."""
    bounds = [known.get(key) for key in ("start", "stop", "step")]
    if not all(type(bound) is int and -(1 << 63) <= bound < 1 << 63 for bound in bounds):
        return None
    if not bounds[2]:
        return None
    numbers = range(*bounds)  # type: ignore[arg-type]
    spend = spending()

    def rows(first: int, last: int) -> Array:
        part = numbers[first:last]
        if 8 * len(part) > _PART:
            spend(8 * len(part))
        return np.arange(part.start, part.stop, part.step, dtype=np.int64)

    def fetch() -> Array:
        spend(8 * count)
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64)

    count = _count(numbers)
    return None if count >= 1 << 63 else LazyArray(np.dtype(np.int64), (count,), fetch, rows)


_PART = 1 << 20  # bytes of rows that are made without a charge, since they are given back soon


def _count(numbers: range) -> int:
    """The length of a range; `len` refuses those beyond 2**63."""
    span = numbers.stop - numbers.start
    return max(0, -(-span // numbers.step))


def _multi(record: Record) -> object:
    """A MultiIndex: levels, codes (``labels`` before 0.24) and names."""
    levels, codes, names = multi_parts(record)
    if levels is None:
        return None
    parts: dict[str, Any] = {}
    for step, items in (("levels", levels), ("codes", codes), ("names", names)):
        if isinstance(items, list | tuple):
            shown = [index_view(item) if step == "levels" else integers_of(item) for item in items]
            parts[step] = View(parts={str(index): item for index, item in enumerate(shown)})
    order = (_description(record) or {}).get("sortorder")
    return View(parts=parts if order is None else {**parts, "sortorder": order})


def multi_parts(record: Record) -> tuple[Any, Any, Any]:
    """Levels, codes and names of a MultiIndex."""
    subclass = array_and_state(record)
    if subclass is not None and len(subclass[1]) >= 4:  # 0.12: (levels, labels, sortorder, names)
        levels, codes, _, names = subclass[1][:4]
    else:
        known = _description(record) or {}
        levels, names = known.get("levels"), known.get("names")
        codes = known.get("codes", known.get("labels"))
    return items_of(levels), items_of(codes), items_of(names)


def integers_of(value: object) -> object:
    """Codes: an array, or the FrozenNDArray that older releases wrapped around it."""
    if isinstance(value, Record):
        subclass = array_and_state(value)
        return value if subclass is None else subclass[0]
    return value


@looks_at(
    "Index", "Int64Index", "UInt64Index", "Float64Index", "RangeIndex", "DatetimeIndex",
    "TimedeltaIndex", "PeriodIndex", "CategoricalIndex", "MultiIndex", "IntervalIndex",
    "NumericIndex", "DateRange",
)  # fmt: skip
def _lone_index(record: Record, name: str) -> object:
    seen = _index_parts(record)
    if seen is None:
        return None
    if isinstance(seen, View) and "levels" in seen.parts:
        return seen
    if not isinstance(seen, View) or "name" not in seen.parts:
        return View(parts={"values": seen})
    extra = {step: part for step, part in seen.parts.items() if step != "name"}
    values = seen.value if not extra and seen.value is not ABSENT else View(seen.value, extra)
    return View(parts={"values": values, "name": seen.parts["name"]})


def array_view(values: Any) -> Any:
    """An array, whatever kind of extension array it is, as a part."""
    if isinstance(values, Record):
        if values.qualname.startswith("pyarrow."):
            seen = _arrow_seen(_arrow.values_of(values))
            return values if seen is None else seen
        if _is_index(values):
            return index_view(values)
        plain = plain_array(values)
        if plain is not None:
            return plain if isinstance(plain, View) else with_meaning(plain, values)
        known = _ARRAYS.get(class_of(values))
        seen = None if known is None else known(values)
        return values if seen is None else seen
    return values


def _backed(record: Record) -> tuple[object, object, dict[str, object]]:
    """(dtype, array, attributes) of an array of 1.4 or later; of older ones from their fields."""
    state = record.state
    if isinstance(state, tuple):
        dtype = next((part for part in state if isinstance(part, Record | np.dtype)), None)
        array = next((part for part in state if isinstance(part, np.ndarray | LazyArray)), None)
        attributes = next((part for part in state if isinstance(part, dict)), {})
        return dtype, array, attributes
    array = get_field(record, "_ndarray", "_data", "_codes", "codes", "labels")
    return get_field(record, "_dtype", "dtype"), array, record.fields()


def plain_array(value: object) -> Any:
    """Datetimes and timedeltas (always UTC inside), and other arrays that are only wrapped."""
    if not isinstance(value, Record):
        return None
    kind = class_of(value)
    if kind in ("DatetimeArray", "TimedeltaArray", "NumpyExtensionArray", "PandasArray"):
        array = _backed(value)[1]
        if isinstance(array, Record):
            array = plain_array(array) if not _is_index(array) else index_view(array)
        return np.asarray(array) if isinstance(array, np.ndarray | LazyArray) else None
    if kind == "DatetimeIndex":
        seen = index_view(value)
        seen = seen.value if isinstance(seen, View) else seen
        return seen if isinstance(seen, np.ndarray) else None
    if kind in ("FrozenNDArray", "FrozenList"):
        subclass = array_and_state(value)
        return None if subclass is None else subclass[0]
    return None


def _moment(array: object) -> object:
    """0.12 and before may hold nanoseconds as plain integers."""
    return (
        array.view("M8[ns]") if isinstance(array, np.ndarray) and array.dtype.kind == "i" else array
    )


def _categorical(record: Record) -> object:
    dtype, codes, fields = _backed(record)
    categories = fields.get("_categories", fields.get("_levels", fields.get("categories")))
    if categories is None and isinstance(dtype, Record):
        categories = get_field(dtype, "categories", "_categories")
    if not isinstance(codes, np.ndarray | LazyArray) or categories is None:
        return None
    ordered = (
        get_field(dtype, "ordered", "_ordered")
        if isinstance(dtype, Record)
        else fields.get("_ordered")
    )
    parts = {"codes": codes, "categories": index_view(categories)}
    if ordered is not None:
        parts["ordered"] = ordered
    name = fields.get("name", fields.get("_name"))  # before 0.16 they had one
    return View(parts=parts if name is None else {**parts, "name": label_view(name)})


def _nullable(record: Record) -> object:
    data, mask = get_field(record, "_data"), get_field(record, "_mask")
    if not isinstance(data, np.ndarray | LazyArray) or not isinstance(mask, np.ndarray | LazyArray):
        return None
    charge_for(ITEM * size_of(data))
    gone = np.asarray(mask).ravel().tolist()
    items = np.asarray(data).ravel().tolist()
    listed = [None if missing else item for item, missing in zip(items, gone, strict=False)]
    return View(parts={"mask": mask, "list": View(listed, whole=True)})


def _texts(record: Record) -> object:
    array = get_field(record, "_pa_array", "_data") if record.fields() else None
    if isinstance(array, Record):
        return _arrow_seen(_arrow.values_of(array))
    array = _backed(record)[1]
    if not isinstance(array, np.ndarray) or not array.dtype.hasobject:
        return array
    charge_for(8 * array.size)
    items = np.empty(array.size, dtype=object)
    for index, item in enumerate(array.ravel()):
        items[index] = None if _is_missing(item) else item
    return items.reshape(array.shape)


def _is_missing(item: object) -> bool:
    if isinstance(item, Global):
        return item.name in ("NA", "NaT")
    if isinstance(item, Record):
        return item.cls.name in ("NAType", "__nat_unpickle", "_nat_unpickle")
    return isinstance(item, float) and item != item


def _arrow_seen(values: Any) -> object:
    if isinstance(values, np.ma.MaskedArray):
        charge_for((8 if values.dtype == bool else ITEM) * values.size)
        missing = np.ma.getmaskarray(values)
        pairs = zip(values.data.tolist(), missing.tolist(), strict=True)
        listed = [None if gone else item for item, gone in pairs]
        return View(parts={"mask": missing, "list": View(listed, whole=True)})
    return values


def _arrow_array(record: Record) -> object:
    array = get_field(record, "_pa_array", "_data")
    return _arrow_seen(_arrow.values_of(array))


def _period(record: Record) -> object:
    if record.cls.name == "__pyx_unpickle_PeriodMixin" and isinstance(record.state, tuple):
        known = next((part for part in record.state if isinstance(part, dict)), {})
        ordinals = known.get("_data")
    else:
        ordinals = _backed(record)[1]
    if not isinstance(ordinals, np.ndarray | LazyArray):
        return None
    holders = (
        [part for part in record.state if isinstance(part, dict)]
        if isinstance(record.state, tuple)
        else []
    )
    return View(parts={"ordinals": ordinals, **_meaning(record, *holders)})


def _interval(record: Record) -> object:
    known = record.fields()
    if not known and isinstance(record.state, tuple):
        known = next((part for part in record.state if isinstance(part, dict)), {})
    left, right = known.get("_left", known.get("left")), known.get("_right", known.get("right"))
    if left is None or right is None:
        return None
    parts = {"left": array_view(left), "right": array_view(right)}
    dtype = known.get("_dtype", known.get("dtype"))
    closed = known.get("_closed", known.get("closed"))
    if closed is None and isinstance(dtype, Record):
        closed = get_field(dtype, "closed", "_closed")
    return View(parts=parts if closed is None else {**parts, "closed": closed})


def _sparse(record: Record) -> object:
    subclass = array_and_state(record)
    if subclass is not None:  # before 0.24: (fill value, index)
        values, own = subclass
        fill, index = (*own, None, None)[:2]
    else:
        values, index = (
            get_field(record, "_sparse_values", "_data"),
            get_field(record, "_sparse_index"),
        )
        dtype = get_field(record, "_dtype")
        fill = get_field(dtype, "_fill_value", "fill_value") if isinstance(dtype, Record) else None
        fill = get_field(record, "_fill_value", "fill_value") if fill is None else fill
    places = sparse_places(index)
    if places is None or values is None:
        return None
    return View(parts={"sp_values": values, "sp_index": places, "fill_value": fill})


def sparse_places(index: object) -> Any:
    """The places of the values: listed (IntIndex), or as blocks of neighbours (BlockIndex)."""
    if not isinstance(index, Record) or len(index.args) < 2:
        return None
    if index.cls.name == "IntIndex":
        return index.args[1]
    if index.cls.name != "BlockIndex" or len(index.args) < 3:
        return None
    starts, lengths = np.asarray(index.args[1]), np.asarray(index.args[2])
    if starts.shape != lengths.shape or (lengths < 0).any():
        return None
    if int(lengths.sum(dtype=object)) > max(int(index.args[0]), 0):
        return None
    charge_for(20 * int(lengths.sum()) + 128 * len(lengths))  # the runs, joined, and as 32 bits
    runs = [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return np.concatenate(runs).astype(np.int32) if runs else np.zeros(0, np.int32)


_ARRAYS: dict[str, Callable[[Record], object]] = {
    "Categorical": _categorical,
    "IntegerArray": _nullable,
    "FloatingArray": _nullable,
    "BooleanArray": _nullable,
    "StringArray": _texts,
    "StringArrayNumpySemantics": _texts,
    "ArrowStringArray": _texts,
    "ArrowStringArrayNumpySemantics": _texts,
    "ArrowExtensionArray": _arrow_array,
    "PeriodArray": _period,
    "IntervalArray": _interval,
    "SparseArray": _sparse,
}


@looks_at(*_ARRAYS, "DatetimeArray", "TimedeltaArray", "PandasArray", "NumpyExtensionArray")
def _lone_array(record: Record, name: str) -> object:
    """Show an array outside of a frame or index: its data is at ``values``, as in those."""
    seen = array_view(record)
    return None if seen is record else View(parts={"values": seen})


@looks_at("FrozenNDArray", "FrozenList")
def _frozen(record: Record, name: str) -> object:
    subclass = array_and_state(record)
    return items_of(record) if subclass is None else subclass[0]
