"""pandas: frames, series and indexes of every release as columns and values.

pandas pickles its internals, which moved and changed shape a dozen times; the last step of a
class's name stayed, and it is what this pack goes by. What is read:

- 0.8 to 0.12: ``Series`` and ``Index`` are ndarray subclasses (``_reconstruct`` and a state
  ``(the array's, its own)``); a ``DataFrame``'s state is its ``BlockManager``, whose state is
  ``(axes, block values, block items)``: a block's rows are found in the axis by their labels.
- 0.13 to 1.2: a state dict with ``_data`` (1.1: ``_mgr``); the manager's state has a fourth item
  ``{"0.14.1": {"axes", "blocks": [{"values", "mgr_locs"}]}}`` from 0.14.1 on.
- 1.3 and later: ``BlockManager(blocks, axes)`` with ``new_block`` (through a partial in 1.3) or
  ``_unpickle_block(values, placement, ndim)``.
- Extension arrays: attributes, or ``__pyx_unpickle_NDArrayBacked`` with ``(dtype, array,
  attributes)`` from 1.4 on, ``__pyx_unpickle_IntervalMixin`` and ``_PeriodMixin`` as well.

Evidence: ``pandas/core/internals/managers.py`` (``BlockManager.__setstate__``),
``pandas/compat/pickle_compat.py``, ``pandas/core/indexes/base.py`` (``_new_Index``),
``pandas/_libs/arrays.pyx``; pickles of 0.12 to 3.0.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from persist.migrations._pandas import rebuilding

from persist._trees.pack_view import spending
from persist._wire.pickle.numpy_rebuild import array_of_parts
from persist._wire.pickle.timezones import zone_of
from persist.packs import teach
from persist.registry import Registry
from persist.tree import ABSENT, Global, LazyArray, Record, View

from . import pyarrow as _arrow

__all__ = ["pack", "renames"]

pack = Registry("pandas")
renames = teach(pack, __name__)
rebuilding.declare(pack)

Look = Callable[[Record, str], Any]
_LOOKS: dict[str, Look] = {}

_LABEL = 64  # bytes of a label, at least
_ITEM = 32  # bytes of a number in a list


def _spend(count: int) -> None:
    """Charge what a view is about to make: a record can state more than its file holds."""
    spending()(count)


@pack.plain("pandas.*")
def look(record: Record, looker: object) -> object:
    """Any record of pandas, by the last step of its class's name; None where it is not data."""
    name = _class_of(record)
    known = _LOOKS.get(name)
    return None if known is None else _looked(record, name, known, looker)


# File.damage looks at all records once where a view can fall back to the record (see `_looked`).
look.may_fall_back = True  # type: ignore[attr-defined]


@pack.plain_like
def look_like(record: Record, looker: object) -> object:
    """A subclass of a frame or series that another library (GeoPandas) or a user defined.

    Its state holds a block manager of pandas, whose number of axes distinguishes the two.
    """
    fields = record.state
    if not isinstance(fields, dict):
        return None
    manager = fields.get("_mgr", fields.get("_data"))
    if not isinstance(manager, Record) or not manager.cls.name.endswith("BlockManager"):
        return None
    if not manager.qualname.startswith("pandas."):
        return None
    is_series = manager.cls.name.startswith("Single")
    return _looked(record, record.cls.name, _series if is_series else _frame, looker)


class _Unplaced(Exception):
    """A view would leave out or misplace a part of the record."""


def _looked(record: Record, name: str, known: Look, looker: Any) -> object:
    """Return what a record looks like; fall back to the record, and report it, where parts are left over."""
    try:
        seen = known(record, name)
        why = "its parts are not those of any known release" if seen is None else ""
    except _Unplaced as error:
        seen, why = None, str(error)
    if why and looker is not None and name not in _RECORDS:
        looker.note(f"a {record.qualname} is shown as its record, not by its values: {why}")
    return seen


def _of(*names: str) -> Callable[[Look], Look]:
    def register(function: Look) -> Look:
        _LOOKS.update(dict.fromkeys(names, function))
        return function

    return register


# Classes whose records may stay records without a report: these hold few parts, all shown.
_RECORDS = frozenset(("Timestamp", "Timedelta", "_unpickle_timestamp", "_timedelta_unpickle"))

_MADE_BY = frozenset(
    (
        "_new_Index", "_new_DatetimeIndex", "_new_PeriodIndex", "_new_IntervalIndex",
        "__pyx_unpickle_NDArrayBacked", "__pyx_unpickle_IntervalMixin",
        "__pyx_unpickle_PeriodMixin",
    )
)  # fmt: skip


def _class_of(record: Record) -> str:
    """The last part of the class's name, also where a function with the class as argument makes it."""
    if record.cls.name in _MADE_BY and record.args and isinstance(record.args[0], Global):
        return record.args[0].name
    return record.cls.name


def _get(record: Record, *names: str) -> Any:
    """The first of these fields that the state has."""
    fields = record.fields()
    return next((fields[name] for name in names if name in fields), None)


# Frames and series.


@_of("Series", "TimeSeries", "SparseSeries", "SparseTimeSeries")
def _series(record: Record, name: str) -> object:
    subclass = _array_and_state(record)
    if subclass is not None:  # 0.12 and before
        array, own = subclass
        if name.startswith("Sparse"):
            return _sparse_series(array, own)
        _expect(len(own) <= 2, f"its state has {len(own)} items, not an index and a name")
        index = _index(own[0] if own else None)
        _expect_length(array, index)
        label = own[1] if len(own) > 1 else None
        return View(parts={"values": array, "index": index, "name": label})
    manager = _manager_of(record)
    if manager is None:
        return None
    axes, blocks = manager
    label = _get(record, "_name", "name")
    _expect(len(blocks) == 1 and len(axes) == 1, f"it has {len(blocks)} blocks")
    values, index = _column(blocks[0][0], 0, 1), _index(axes[0])
    _expect_length(values, index)
    return _with_rest(record, {"values": values, "index": index, "name": _label(label)})


def _sparse_series(values: Any, own: tuple[object, ...]) -> object:
    """A SparseSeries of 0.12 and before: (index, fill value, places of the values, name).

    Source: ``pandas/sparse/series.py`` of 0.8 to 0.12, ``SparseSeries.__reduce__``.
    """
    if len(own) == 3:  # before 0.8 without a name
        own = (*own, None)
    _expect(len(own) == 4, f"its state has {len(own)} items, not four")
    places = _sparse_places(own[2])
    _expect(places is not None and len(places) == len(values), "its sparse index is unknown")
    seen = View(parts={"sp_values": values, "sp_index": places, "fill_value": own[1]})
    return View(parts={"values": seen, "index": _index(own[0]), "name": _label(own[3])})


@_of("DataFrame", "SparseDataFrame")
def _frame(record: Record, name: str) -> object:
    if isinstance(record.state, tuple) and len(record.state) == 5:
        return _sparse_frame(record.state)
    manager = _manager_of(record)
    if manager is None or len(manager[0]) != 2:
        return None
    (columns, index), blocks = manager[0], manager[1]
    labels = _labels(columns)
    rows = _index(index)
    found: dict[int, Any] = {}
    for values, places in blocks:
        _expect(_rows_of(values) in (None, len(places)), "a block has more rows than places")
        for row, place in enumerate(places):
            _expect(0 <= place < len(labels), f"column {place} has no label")
            _expect(place not in found, f"column {labels[place]!r} has two blocks")
            found[place] = _column(values, row, 2)
            _expect_length(found[place], rows)
    lost = [label for place, label in enumerate(labels) if place not in found]
    _expect(not lost, f"the values of {len(lost)} of {len(labels)} columns were not found: "
            f"{', '.join(map(repr, lost[:4]))}")  # fmt: skip
    parts: dict[str, Any] = {}
    for place, label in enumerate(labels):
        _add(parts, label, found[place])
    _add(parts, "index", rows)
    _add(parts, "columns", _index(columns))
    return _with_rest(record, parts)


def _sparse_frame(state: tuple[Any, ...]) -> Any:
    """A SparseDataFrame of 0.12 and before: (places and values by column, columns, index, fill, kind).

    Source: ``pandas/sparse/frame.py`` of 0.7 to 0.12, ``SparseDataFrame.__getstate__``.
    """
    columns, labels, index, fill, kind = state
    _expect(isinstance(columns, dict), "its columns are no dict")
    parts: dict[str, Any] = {}
    for label, column in columns.items():
        _expect(isinstance(column, tuple) and len(column) == 2, f"column {label!r} is no pair")
        places = _sparse_places(column[0])
        _expect(places is not None, f"the places of column {label!r} are unknown")
        _add(parts, _step(label), View(parts={"sp_values": column[1], "sp_index": places}))
    _add(parts, "index", _index(index))
    _add(parts, "columns", _index(labels))
    _add(parts, "default_fill_value", fill)
    _add(parts, "default_kind", kind)
    return View(parts=parts)


def _expect(holds: Any, why: str) -> None:
    if not holds:
        raise _Unplaced(why)


def _expect_length(values: Any, index: object) -> None:
    """Values and their index are equally long wherever both lengths are known."""
    lengths = {count for part in (values, index) if (count := _length(part)) is not None}
    _expect(len(lengths) < 2, f"values and index have {' and '.join(map(str, lengths))} items")


def _length(part: object) -> int | None:
    while isinstance(part, View):
        inner = (part.parts.get(step) for step in ("codes", "ordinals", "mask", "left"))
        part = next((item for item in inner if item is not None), part.value)
        if isinstance(part, View) and "0" in part.parts:  # the codes of the first level
            part = part.parts["0"]
    if isinstance(part, np.ndarray | LazyArray) and part.ndim == 1:
        return len(part)
    return None


def _rows_of(values: Any) -> int | None:
    """How many columns a block holds, where that shows."""
    plain = values if isinstance(values, np.ndarray | LazyArray) else _plain_array(values)
    return len(plain) if isinstance(plain, np.ndarray | LazyArray) and plain.ndim == 2 else None


@_of("Panel", "WidePanel", "Panel4D")
def _panel(record: Record, name: str) -> object:
    manager = _manager_of(record)
    if manager is None or len(manager[0]) < 3:
        return None
    axes, blocks = manager
    labels = _labels(axes[0])
    parts: dict[str, Any] = {}
    for values, places in blocks:
        for row, place in enumerate(places):
            if not 0 <= place < len(labels):
                return None
            _add(parts, labels[place], np.asarray(values)[row])
    _expect(len(parts) == len(labels), "the values of some items were not found")
    for step, axis in zip(("items", "major_axis", "minor_axis"), axes[-3:], strict=True):
        _add(parts, step, _index(axis))
    return View(parts=parts)


# What the state of a frame or series holds besides its blocks: placed by the views, or caches.
_PLACED = frozenset(
    (
        "_mgr", "_data", "_typ", "_metadata", "_name", "name", "attrs", "_attrs", "_flags",
        "_item_cache", "_cacher", "_is_copy", "is_copy",
    )
)  # fmt: skip


def _with_rest(record: Record, parts: dict[str, Any]) -> View:
    """A view with all else that the state holds: attributes of subclasses, attrs, flags."""
    attrs = _get(record, "_attrs", "attrs")
    if isinstance(attrs, dict) and attrs:
        _add(parts, "attrs", attrs)
    fields = record.state if isinstance(record.state, dict) else {}
    flags = fields.get("_flags")
    if isinstance(flags, dict) and flags != {"allows_duplicate_labels": True}:
        _add(parts, "flags", flags)
    if "name" not in parts and fields.get("name", fields.get("_name")) is not None:
        _add(parts, "name", _get(record, "_name", "name"))
    for name, value in fields.items():
        if name not in _PLACED:
            _add(parts, _step(name), value)
    return View(parts=parts)


def _add(parts: dict[str, Any], step: str, value: object) -> None:
    """Put a part under its step, or under ``step~2`` where there is one already."""
    names = itertools.chain((step,), (f"{step}~{count}" for count in itertools.count(2)))
    parts[next(name for name in names if name not in parts)] = value


# Block managers.

Blocks = list[tuple[Any, list[int]]]


def _manager_of(record: Record) -> tuple[list[object], Blocks] | None:
    """(axes, blocks with the places of their rows in the first axis) of a frame or series."""
    state = record.state
    if isinstance(state, Record):
        manager: object = state
    else:
        manager = _get(record, "_mgr", "_data")
    if not isinstance(manager, Record):
        return None
    if len(manager.args) >= 2 and manager.kind != "reconstructor":  # 1.3 and later
        return _made_manager(manager.args[0], manager.args[1])
    state = manager.state
    if not isinstance(state, tuple) or len(state) < 3:
        return None
    if len(state) > 3 and isinstance(state[3], dict) and "0.14.1" in state[3]:
        known = state[3]["0.14.1"]
        axes = list(known["axes"])
        blocks = [
            (b["values"], _places(b["mgr_locs"], len(_labels(axes[0])))) for b in known["blocks"]
        ]
        return axes, blocks
    return _labelled_manager(*state[:3])


def _made_manager(blocks: Any, axes: Any) -> tuple[list[object], Blocks] | None:
    axes = list(axes)
    if isinstance(blocks, Record):  # a single block
        blocks = (blocks,)
    count = len(_labels(axes[0])) if axes else 0
    result: Blocks = []
    for block in blocks:
        if not isinstance(block, Record):
            return None
        args: Any = block.args
        if block.kind == "called" and len(args) == 2:
            args = args[1]  # 1.3: functools.partial(new_block, ndim=...)(values, placement)
        values = args[0] if args else block.kwargs.get("values")
        placement = args[1] if len(args) > 1 else block.kwargs.get("placement")
        result.append((values, _places(placement, count)))
    return axes, result


def _labelled_manager(axes: Any, values: Any, items: Any) -> tuple[list[object], Blocks]:
    """Read 0.13 and before: each block lists the labels of its rows, in the order of its rows."""
    axes = list(axes)
    waiting: dict[str, list[int]] = {}
    for place, label in enumerate(_labels(axes[0])):
        waiting.setdefault(label, []).append(place)
    blocks: Blocks = []
    _expect(len(values) == len(items), "it has more blocks than labels of blocks")
    for block, labels in zip(values, items, strict=True):
        texts = _labels(labels)
        places = [waiting[label].pop(0) for label in texts if waiting.get(label)]
        _expect(len(places) == len(texts), "a block's labels are not those of the columns")
        blocks.append((block, places))
    return axes, blocks


def _places(placement: Any, count: int) -> list[int]:
    if isinstance(placement, Record) and placement.args:  # BlockPlacement(...)
        placement = placement.args[0]
    if isinstance(placement, slice):
        placement = range(*placement.indices(count))
    if isinstance(placement, np.ndarray | LazyArray | range | list | tuple):
        _spend(_ITEM * len(placement))
    if isinstance(placement, np.ndarray | LazyArray):
        return [int(place) for place in np.asarray(placement)]
    if isinstance(placement, range | list | tuple):
        return [int(place) for place in placement]
    _expect(isinstance(placement, int), "the places of a block's rows are of an unknown kind")
    return [int(placement)]


def _column(values: Any, row: int, ndim: int) -> Any:
    """One row of a block as a column."""
    plain = values if isinstance(values, np.ndarray | LazyArray) else _plain_array(values)
    if isinstance(plain, View):
        plain = plain.value
    if isinstance(plain, LazyArray) and plain.ndim == 2 and ndim == 2:
        return _meant(_lazy_row(plain, row), values)
    if plain is not None:
        column = (
            plain[row]
            if plain.ndim == 2 and ndim == 2
            else plain.reshape(-1)
            if plain.ndim == 2
            else plain
        )
        return _meant(column, values)
    seen = _seen(values)
    if isinstance(seen, View) and "ordinals" in seen.parts:  # periods lie in blocks of their own
        ordinals = np.asarray(seen.parts["ordinals"])
        own = ordinals[row] if ordinals.ndim == 2 else ordinals
        return View(parts={**seen.parts, "ordinals": own})
    return seen


def _lazy_row(plain: LazyArray, row: int) -> LazyArray:
    return LazyArray(plain.dtype, plain.shape[1:], lambda: plain.read()[row])


# Metadata of values: the time zone and the frequency of an index or array.


def _meant(values: Any, *holders: object) -> Any:
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
                parts.setdefault("freq", _frequency(*holder.args[:1]))
            if holder.cls.name == "DatetimeTZDtype" and holder.args:
                parts.setdefault("tz", _zone(holder.args[-1]))
        elif isinstance(holder, dict):
            for step, spell in (("freq", _frequency), ("tz", _zone)):
                for name in (step, f"_{step}"):
                    if holder.get(name) is not None:
                        parts.setdefault(step, spell(holder[name]))
            if isinstance(holder.get("data"), Record):
                todo.append(holder["data"])
            todo += [
                holder[name] for name in ("dtype", "_dtype") if isinstance(holder.get(name), Record)
            ]
    return {step: part for step, part in parts.items() if part is not None}


def _frequency(freq: object = None) -> object:
    """Show a frequency as its text; an offset as class and count, with its other settings as parts."""
    if isinstance(freq, str):
        return freq.removeprefix("period[").removesuffix("]")
    if not isinstance(freq, Record):
        return freq
    fields = {**freq.fields(), **freq.kwargs}
    names = ("n", "normalize")
    made = {**dict(zip(names, freq.args, strict=False)), **fields}
    count = made.get("n", 1)
    text = freq.cls.name if count == 1 else f"{count} * {freq.cls.name}"
    extra: dict[str, object] = {}
    for name, value in made.items():
        is_usual = name in names and value in (1, False)
        if not is_usual and value not in (None, False) and value != {} and value != ():
            _add(extra, _step(name), value)
    for place, value in enumerate(freq.args[2:], 2):
        if value is not None:
            _add(extra, f"args/{place}", value)
    if isinstance(freq.state, tuple):
        _add(extra, "state", freq.state)
    return View(text, parts=extra)


def _zone(zone: object) -> object:
    """Show a time zone as its name, with its other data as parts; or return the record itself."""
    if isinstance(zone, datetime.tzinfo):
        return getattr(zone, "key", None) or str(zone)
    if isinstance(zone, Record) and zone.args and isinstance(zone.args[0], str):
        if zone.qualname == "pytz._p" and len(zone.args) == 4:
            steps = ("utcoffset", "dst", "tzname")
            return View(zone.args[0], parts=dict(zip(steps, zone.args[1:], strict=True)))
        if zone.qualname == "pytz._p" and len(zone.args) == 1:
            return zone.args[0]
    return zone


# Indexes.


def _index(value: Any) -> Any:
    """An index as a part: its values, and its name where it has one."""
    seen = _index_parts(value)
    if isinstance(seen, View):
        return seen
    return seen if seen is not None else value


def _index_parts(value: Any) -> object:
    if not isinstance(value, Record):
        return value
    kind = _class_of(value)
    if kind == "MultiIndex":
        return _multi(value)
    subclass = _array_and_state(value)
    if subclass is not None:
        array, own = subclass
        name = own[0] if own else None
        _expect(len(own) <= 3, f"the state of its index has {len(own)} items")
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
                "left": _index(known["left"]),
                "right": _index(known["right"]),
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
        return _named_values(_seen(data), known.get("name"), parts)
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
    return _class_of(record).endswith("Index")


def _named_values(values: Any, name: Any, parts: dict[str, Any] | None = None) -> object:
    label = _label(name)
    extra = {**(parts or {}), **({} if label is None else {"name": label})}
    if isinstance(values, View) and not extra.keys() - values.parts.keys():
        return values
    if isinstance(values, View) and values.value is ABSENT:
        return View(parts={**values.parts, **extra})
    if isinstance(values, View):
        return View(values.value, parts={**values.parts, **extra}, whole=values.whole)
    return View(values, parts=extra) if extra else values


def _named(parts: dict[str, Any], name: Any) -> View:
    label = _label(name)
    return View(parts=parts if label is None else {**parts, "name": label})


def _label(name: Any) -> object:
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

    def rows(first: int, last: int) -> np.ndarray[Any, Any]:
        part = numbers[first:last]
        if 8 * len(part) > _PART:
            spend(8 * len(part))
        return np.arange(part.start, part.stop, part.step, dtype=np.int64)

    def fetch() -> np.ndarray[Any, Any]:
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
    levels, codes, names = _multi_parts(record)
    if levels is None:
        return None
    parts: dict[str, Any] = {}
    for step, items in (("levels", levels), ("codes", codes), ("names", names)):
        if isinstance(items, list | tuple):
            shown = [_index(item) if step == "levels" else _integers(item) for item in items]
            parts[step] = View(parts={str(index): item for index, item in enumerate(shown)})
    order = (_description(record) or {}).get("sortorder")
    return View(parts=parts if order is None else {**parts, "sortorder": order})


def _multi_parts(record: Record) -> tuple[Any, Any, Any]:
    subclass = _array_and_state(record)
    if subclass is not None and len(subclass[1]) >= 4:  # 0.12: (levels, labels, sortorder, names)
        levels, codes, _, names = subclass[1][:4]
    else:
        known = _description(record) or {}
        levels, names = known.get("levels"), known.get("names")
        codes = known.get("codes", known.get("labels"))
    return _items(levels), _items(codes), _items(names)


def _items(value: Any) -> object:
    """The items of a FrozenList, which is a list subclass."""
    if isinstance(value, Record):
        if value.listitems:
            return value.listitems
        return next((list(item) for item in value.args if isinstance(item, list | tuple)), None)
    return value


def _integers(value: Any) -> Any:
    """Codes: an array, or the FrozenNDArray that older releases wrapped around it."""
    if isinstance(value, Record):
        subclass = _array_and_state(value)
        return value if subclass is None else subclass[0]
    return value


def _labels(index: Any) -> list[str]:
    """The labels of an axis as steps of a path; of several levels joined by dots."""
    if isinstance(index, Record) and _class_of(index) == "MultiIndex":
        levels, codes, _ = _multi_parts(index)
        if not levels or codes is None:
            return []
        texts = [_labels(level) for level in levels]
        _spend(sum(_LABEL * _size(_integers(code)) for code in codes))
        rows = zip(*(np.asarray(_integers(code)).tolist() for code in codes), strict=False)
        return [
            ".".join(
                text[code] if 0 <= code < len(text) else "nan"
                for text, code in zip(texts, row, strict=False)
            )
            for row in rows
        ]
    seen = _index(index)
    while isinstance(seen, View):
        if "codes" in seen.parts and "categories" in seen.parts:
            names = _labels_of(seen.parts["categories"])
            _spend(_ITEM * _size(seen.parts["codes"]))
            return [
                names[code] if 0 <= code < len(names) else "nan"
                for code in np.asarray(seen.parts["codes"]).tolist()
            ]
        if "ordinals" in seen.parts or "left" in seen.parts:
            seen = next(iter(seen.parts.values()))
            continue
        seen = seen.value
    return _labels_of(seen)


def _labels_of(values: Any) -> list[str]:
    if isinstance(values, View):
        values = values.value
    _spend(_LABEL * _size(values))
    if isinstance(values, np.ndarray | LazyArray):
        values = np.asarray(values)
        if values.dtype.kind in "Mm":
            return [_moment_text(item) for item in values]
        values = values.tolist()
    if not isinstance(values, list | tuple):
        return []
    return [_step(item) for item in values]


def _size(values: Any) -> int:
    """How many items values have; 1 of a single one."""
    if isinstance(values, np.ndarray | LazyArray):
        return values.size
    return len(values) if isinstance(values, list | tuple) else 1


def _moment_text(moment: Any) -> str:
    """As ``str`` of a Timestamp spells it: no T, and no zeros behind the seconds."""
    text, mark, fraction = str(moment).replace("T", " ").partition(".")
    digits = fraction.rstrip("0")
    return text + mark + digits.ljust(6 if len(digits) < 6 else 9, "0") if digits else text


def _step(label: object) -> str:
    if isinstance(label, bytes):
        try:
            return label.decode("utf-8")
        except UnicodeDecodeError:
            return label.decode("latin-1")
    if isinstance(label, tuple):
        return ".".join(_step(part) for part in label)
    if isinstance(label, Record):
        seen = look(label, None)
        return str(label if seen is None else seen)
    return str(label)


@_of(
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


# Arrays of pandas' own.


def _seen(values: Any) -> Any:
    """An array, whatever kind of extension array it is, as a part."""
    if isinstance(values, Record):
        if values.qualname.startswith("pyarrow."):
            seen = _arrow_seen(_arrow.values_of(values))
            return values if seen is None else seen
        if _is_index(values):
            return _index(values)
        plain = _plain_array(values)
        if plain is not None:
            return plain if isinstance(plain, View) else _meant(plain, values)
        known = _ARRAYS.get(_class_of(values))
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
    array = _get(record, "_ndarray", "_data", "_codes", "codes", "labels")
    return _get(record, "_dtype", "dtype"), array, record.fields()


def _array_and_state(record: Record) -> tuple[object, tuple[object, ...]] | None:
    """(array, the class's own state) of an ndarray subclass; None of anything else."""
    maker = record.maker.name if record.maker else ""
    if maker != "_reconstruct" or not isinstance(record.state, tuple):
        return None
    state = record.state
    if len(state) == 3 and isinstance(state[0], tuple) and len(state[0]) == 2:
        # DateRange of 0.7: ((the array's, (name,)), offset, zone)
        (inner, name), offset, zone = state
        array = array_of_parts(inner) if isinstance(inner, tuple) else None
        own = (*(name if isinstance(name, tuple) else (name,)), offset, zone)
    elif len(state) == 2 and isinstance(state[0], tuple):
        array = array_of_parts(state[0])
        own = state[1] if isinstance(state[1], tuple) else (state[1],)
    else:
        array, own = array_of_parts(state), ()
    return None if array is None else (array, own)


def _plain_array(value: Any) -> Any:
    """Datetimes and timedeltas (always UTC inside), and other arrays that are only wrapped."""
    if not isinstance(value, Record):
        return None
    kind = _class_of(value)
    if kind in ("DatetimeArray", "TimedeltaArray", "NumpyExtensionArray", "PandasArray"):
        array = _backed(value)[1]
        if isinstance(array, Record):
            array = _plain_array(array) if not _is_index(array) else _index(array)
        return np.asarray(array) if isinstance(array, np.ndarray | LazyArray) else None
    if kind == "DatetimeIndex":
        seen = _index(value)
        seen = seen.value if isinstance(seen, View) else seen
        return seen if isinstance(seen, np.ndarray) else None
    if kind in ("FrozenNDArray", "FrozenList"):
        subclass = _array_and_state(value)
        return None if subclass is None else subclass[0]
    return None


def _moment(array: Any) -> object:
    """0.12 and before may hold nanoseconds as plain integers."""
    return (
        array.view("M8[ns]") if isinstance(array, np.ndarray) and array.dtype.kind == "i" else array
    )


def _categorical(record: Record) -> object:
    dtype, codes, fields = _backed(record)
    categories = fields.get("_categories", fields.get("_levels", fields.get("categories")))
    if categories is None and isinstance(dtype, Record):
        categories = _get(dtype, "categories", "_categories")
    if not isinstance(codes, np.ndarray | LazyArray) or categories is None:
        return None
    ordered = (
        _get(dtype, "ordered", "_ordered") if isinstance(dtype, Record) else fields.get("_ordered")
    )
    parts = {"codes": codes, "categories": _index(categories)}
    if ordered is not None:
        parts["ordered"] = ordered
    name = fields.get("name", fields.get("_name"))  # before 0.16 they had one
    return View(parts=parts if name is None else {**parts, "name": _label(name)})


def _nullable(record: Record) -> object:
    data, mask = _get(record, "_data"), _get(record, "_mask")
    if not isinstance(data, np.ndarray | LazyArray) or not isinstance(mask, np.ndarray | LazyArray):
        return None
    _spend(_ITEM * _size(data))
    gone = np.asarray(mask).ravel().tolist()
    items = np.asarray(data).ravel().tolist()
    listed = [None if missing else item for item, missing in zip(items, gone, strict=False)]
    return View(parts={"mask": mask, "list": View(listed, whole=True)})


def _texts(record: Record) -> object:
    array = _get(record, "_pa_array", "_data") if record.fields() else None
    if isinstance(array, Record):
        return _arrow_seen(_arrow.values_of(array))
    array = _backed(record)[1]
    if not isinstance(array, np.ndarray) or not array.dtype.hasobject:
        return array
    _spend(8 * array.size)
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
        _spend((8 if values.dtype == bool else _ITEM) * values.size)
        missing = np.ma.getmaskarray(values)
        pairs = zip(values.data.tolist(), missing.tolist(), strict=True)
        listed = [None if gone else item for item, gone in pairs]
        return View(parts={"mask": missing, "list": View(listed, whole=True)})
    return values


def _arrow_array(record: Record) -> object:
    array = _get(record, "_pa_array", "_data")
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
    parts = {"left": _seen(left), "right": _seen(right)}
    dtype = known.get("_dtype", known.get("dtype"))
    closed = known.get("_closed", known.get("closed"))
    if closed is None and isinstance(dtype, Record):
        closed = _get(dtype, "closed", "_closed")
    return View(parts=parts if closed is None else {**parts, "closed": closed})


def _sparse(record: Record) -> object:
    subclass = _array_and_state(record)
    if subclass is not None:  # before 0.24: (fill value, index)
        values, own = subclass
        fill, index = (*own, None, None)[:2]
    else:
        values, index = _get(record, "_sparse_values", "_data"), _get(record, "_sparse_index")
        dtype = _get(record, "_dtype")
        fill = _get(dtype, "_fill_value", "fill_value") if isinstance(dtype, Record) else None
        fill = _get(record, "_fill_value", "fill_value") if fill is None else fill
    places = _sparse_places(index)
    if places is None or values is None:
        return None
    return View(parts={"sp_values": values, "sp_index": places, "fill_value": fill})


def _sparse_places(index: object) -> Any:
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
    _spend(20 * int(lengths.sum()) + 128 * len(lengths))  # the runs, joined, and as 32 bits
    runs = [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return np.concatenate(runs).astype(np.int32) if runs else np.zeros(0, np.int32)


_ARRAYS: dict[str, Callable[[Record], Any]] = {
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


@_of(*_ARRAYS, "DatetimeArray", "TimedeltaArray", "PandasArray", "NumpyExtensionArray")
def _lone_array(record: Record, name: str) -> object:
    """Show an array outside of a frame or index: its data is at ``values``, as in those."""
    seen = _seen(record)
    return None if seen is record else View(parts={"values": seen})


@_of("FrozenNDArray", "FrozenList")
def _frozen(record: Record, name: str) -> object:
    subclass = _array_and_state(record)
    return _items(record) if subclass is None else subclass[0]


# Moments.

_EPOCH = datetime.datetime(1970, 1, 1)
_UNITS = {7: 1_000_000_000, 8: 1_000_000, 9: 1_000, 10: 1}  # NPY_FR_s to NPY_FR_ns


@_of("Timestamp", "_unpickle_timestamp")
def _timestamp(record: Record, name: str) -> object:
    """``Timestamp(value, freq, tz[, reso])``, the value since 1970 in UTC.

    A datetime; of a moment with nanoseconds, which a datetime cannot hold, a ``datetime64[ns]``.
    """
    if not record.args or not isinstance(record.args[0], int):
        return None
    unit = record.args[3] if len(record.args) > 3 else 10
    tz = record.args[2] if len(record.args) > 2 else None
    extra: dict[str, object] = {}
    if len(record.args) > 1 and record.args[1] is not None:
        extra["freq"] = _frequency(record.args[1])
    try:
        nanoseconds = int(record.args[0]) * _UNITS[unit]
        if nanoseconds % 1000:
            if tz is not None:
                extra["tz"] = _zone(tz)
            return _with_parts(np.datetime64(nanoseconds, "ns"), extra)
        moment = _EPOCH + datetime.timedelta(microseconds=nanoseconds // 1000)
        zone = zone_of(tz)
        if zone is not None:
            return _with_parts(moment.replace(tzinfo=datetime.UTC).astimezone(zone), extra)
    except (OverflowError, KeyError, TypeError, ValueError):
        return None
    if tz is None:
        return _with_parts(moment, extra)
    return View(moment.replace(tzinfo=datetime.UTC), parts={**extra, "tz": _zone(tz)})


@_of("Timedelta", "_timedelta_unpickle")
def _timedelta(record: Record, name: str) -> object:
    """A timedelta; of a duration with nanoseconds a ``timedelta64[ns]``."""
    if not record.args or not isinstance(record.args[0], int):
        return None
    unit = record.args[1] if len(record.args) > 1 else 10
    try:
        nanoseconds = int(record.args[0]) * _UNITS[unit]
        if nanoseconds % 1000:
            return np.timedelta64(nanoseconds, "ns")
        return datetime.timedelta(microseconds=nanoseconds // 1000)
    except (OverflowError, KeyError, TypeError):
        return None


def _with_parts(value: Any, parts: dict[str, object]) -> object:
    return View(value, parts=parts) if parts else value


@_of("__nat_unpickle", "_nat_unpickle")
def _not_a_time(record: Record, name: str) -> object:
    return np.datetime64("NaT", "ns")
