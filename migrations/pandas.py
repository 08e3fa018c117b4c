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

from typing import Any

import numpy as np
from persist.migrations._pandas import rebuilding
from persist.migrations._pandas.view_arrays import (
    array_view,
    index_view,
    label_view,
    plain_array,
    sparse_places,
    with_meaning,
)
from persist.migrations._pandas.view_common import (
    ITEM,
    add,
    array_and_state,
    charge_for,
    expect,
    get_field,
    looked_at,
    looks_at,
    seen_record,
    step_of_label,
)
from persist.migrations._pandas.view_labels import labels_of

from persist.packs import teach
from persist.registry import Registry
from persist.tree import LazyArray, Record, View

__all__ = ["pack", "renames"]

pack = Registry("pandas")
renames = teach(pack, __name__)
rebuilding.declare(pack)


@pack.plain("pandas.*")
def look(record: Record, looker: object) -> object:
    """Any record of pandas, by the last step of its class's name; None where it is not data."""
    return seen_record(record, looker)


# File.damage looks at all records once where a view can fall back to the record (see `looked_at`).
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
    return looked_at(record, record.cls.name, _series if is_series else _frame, looker)


# Frames and series.


@looks_at("Series", "TimeSeries", "SparseSeries", "SparseTimeSeries")
def _series(record: Record, name: str) -> object:
    subclass = array_and_state(record)
    if subclass is not None:  # 0.12 and before
        array, own = subclass
        if name.startswith("Sparse"):
            return _sparse_series(array, own)
        expect(len(own) <= 2, f"its state has {len(own)} items, not an index and a name")
        index = index_view(own[0] if own else None)
        _expect_length(array, index)
        label = own[1] if len(own) > 1 else None
        return View(parts={"values": array, "index": index, "name": label})
    manager = _manager_of(record)
    if manager is None:
        return None
    axes, blocks = manager
    label = get_field(record, "_name", "name")
    expect(len(blocks) == 1 and len(axes) == 1, f"it has {len(blocks)} blocks")
    values, index = _column(blocks[0][0], 0, 1), index_view(axes[0])
    _expect_length(values, index)
    return _with_rest(record, {"values": values, "index": index, "name": label_view(label)})


def _sparse_series(values: Any, own: tuple[object, ...]) -> object:
    """A SparseSeries of 0.12 and before: (index, fill value, places of the values, name).

    Source: ``pandas/sparse/series.py`` of 0.8 to 0.12, ``SparseSeries.__reduce__``.
    """
    if len(own) == 3:  # before 0.8 without a name
        own = (*own, None)
    expect(len(own) == 4, f"its state has {len(own)} items, not four")
    places = sparse_places(own[2])
    expect(places is not None and len(places) == len(values), "its sparse index is unknown")
    seen = View(parts={"sp_values": values, "sp_index": places, "fill_value": own[1]})
    return View(parts={"values": seen, "index": index_view(own[0]), "name": label_view(own[3])})


@looks_at("DataFrame", "SparseDataFrame")
def _frame(record: Record, name: str) -> object:
    if isinstance(record.state, tuple) and len(record.state) == 5:
        return _sparse_frame(record.state)
    manager = _manager_of(record)
    if manager is None or len(manager[0]) != 2:
        return None
    (columns, index), blocks = manager[0], manager[1]
    labels = labels_of(columns)
    rows = index_view(index)
    found: dict[int, Any] = {}
    for values, places in blocks:
        expect(_rows_of(values) in (None, len(places)), "a block has more rows than places")
        for row, place in enumerate(places):
            expect(0 <= place < len(labels), f"column {place} has no label")
            expect(place not in found, f"column {labels[place]!r} has two blocks")
            found[place] = _column(values, row, 2)
            _expect_length(found[place], rows)
    lost = [label for place, label in enumerate(labels) if place not in found]
    expect(not lost, f"the values of {len(lost)} of {len(labels)} columns were not found: "
            f"{', '.join(map(repr, lost[:4]))}")  # fmt: skip
    parts: dict[str, Any] = {}
    for place, label in enumerate(labels):
        add(parts, label, found[place])
    add(parts, "index", rows)
    add(parts, "columns", index_view(columns))
    return _with_rest(record, parts)


def _sparse_frame(state: tuple[Any, ...]) -> Any:
    """A SparseDataFrame of 0.12 and before: (places and values by column, columns, index, fill, kind).

    Source: ``pandas/sparse/frame.py`` of 0.7 to 0.12, ``SparseDataFrame.__getstate__``.
    """
    columns, labels, index, fill, kind = state
    expect(isinstance(columns, dict), "its columns are no dict")
    parts: dict[str, Any] = {}
    for label, column in columns.items():
        expect(isinstance(column, tuple) and len(column) == 2, f"column {label!r} is no pair")
        places = sparse_places(column[0])
        expect(places is not None, f"the places of column {label!r} are unknown")
        add(parts, step_of_label(label), View(parts={"sp_values": column[1], "sp_index": places}))
    add(parts, "index", index_view(index))
    add(parts, "columns", index_view(labels))
    add(parts, "default_fill_value", fill)
    add(parts, "default_kind", kind)
    return View(parts=parts)


def _expect_length(values: object, index: object) -> None:
    """Values and their index are equally long wherever both lengths are known."""
    lengths = {count for part in (values, index) if (count := _length(part)) is not None}
    expect(len(lengths) < 2, f"values and index have {' and '.join(map(str, lengths))} items")


def _length(part: object) -> int | None:
    while isinstance(part, View):
        inner = (part.parts.get(step) for step in ("codes", "ordinals", "mask", "left"))
        part = next((item for item in inner if item is not None), part.value)
        if isinstance(part, View) and "0" in part.parts:  # the codes of the first level
            part = part.parts["0"]
    if isinstance(part, np.ndarray | LazyArray) and part.ndim == 1:
        return len(part)
    return None


def _rows_of(values: object) -> int | None:
    """How many columns a block holds, where that shows."""
    plain = values if isinstance(values, np.ndarray | LazyArray) else plain_array(values)
    return len(plain) if isinstance(plain, np.ndarray | LazyArray) and plain.ndim == 2 else None


@looks_at("Panel", "WidePanel", "Panel4D")
def _panel(record: Record, name: str) -> object:
    manager = _manager_of(record)
    if manager is None or len(manager[0]) < 3:
        return None
    axes, blocks = manager
    labels = labels_of(axes[0])
    parts: dict[str, Any] = {}
    for values, places in blocks:
        for row, place in enumerate(places):
            if not 0 <= place < len(labels):
                return None
            add(parts, labels[place], np.asarray(values)[row])
    expect(len(parts) == len(labels), "the values of some items were not found")
    for step, axis in zip(("items", "major_axis", "minor_axis"), axes[-3:], strict=True):
        add(parts, step, index_view(axis))
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
    attrs = get_field(record, "_attrs", "attrs")
    if isinstance(attrs, dict) and attrs:
        add(parts, "attrs", attrs)
    fields = record.state if isinstance(record.state, dict) else {}
    flags = fields.get("_flags")
    if isinstance(flags, dict) and flags != {"allows_duplicate_labels": True}:
        add(parts, "flags", flags)
    if "name" not in parts and fields.get("name", fields.get("_name")) is not None:
        add(parts, "name", get_field(record, "_name", "name"))
    for name, value in fields.items():
        if name not in _PLACED:
            add(parts, step_of_label(name), value)
    return View(parts=parts)


# Block managers.

Blocks = list[tuple[Any, list[int]]]


def _manager_of(record: Record) -> tuple[list[object], Blocks] | None:
    """(axes, blocks with the places of their rows in the first axis) of a frame or series."""
    state = record.state
    if isinstance(state, Record):
        manager: object = state
    else:
        manager = get_field(record, "_mgr", "_data")
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
            (b["values"], _places(b["mgr_locs"], len(labels_of(axes[0])))) for b in known["blocks"]
        ]
        return axes, blocks
    return _labelled_manager(*state[:3])


def _made_manager(blocks: Any, axes: Any) -> tuple[list[object], Blocks] | None:
    axes = list(axes)
    if isinstance(blocks, Record):  # a single block
        blocks = (blocks,)
    count = len(labels_of(axes[0])) if axes else 0
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
    for place, label in enumerate(labels_of(axes[0])):
        waiting.setdefault(label, []).append(place)
    blocks: Blocks = []
    expect(len(values) == len(items), "it has more blocks than labels of blocks")
    for block, labels in zip(values, items, strict=True):
        texts = labels_of(labels)
        places = [waiting[label].pop(0) for label in texts if waiting.get(label)]
        expect(len(places) == len(texts), "a block's labels are not those of the columns")
        blocks.append((block, places))
    return axes, blocks


def _places(placement: Any, count: int) -> list[int]:
    if isinstance(placement, Record) and placement.args:  # BlockPlacement(...)
        placement = placement.args[0]
    if isinstance(placement, slice):
        placement = range(*placement.indices(count))
    if isinstance(placement, np.ndarray | LazyArray | range | list | tuple):
        charge_for(ITEM * len(placement))
    if isinstance(placement, np.ndarray | LazyArray):
        return [int(place) for place in np.asarray(placement)]
    if isinstance(placement, range | list | tuple):
        return [int(place) for place in placement]
    expect(isinstance(placement, int), "the places of a block's rows are of an unknown kind")
    return [int(placement)]


def _column(values: Any, row: int, ndim: int) -> object:
    """One row of a block as a column."""
    plain = values if isinstance(values, np.ndarray | LazyArray) else plain_array(values)
    if isinstance(plain, View):
        plain = plain.value
    if isinstance(plain, LazyArray) and plain.ndim == 2 and ndim == 2:
        return with_meaning(_lazy_row(plain, row), values)
    if plain is not None:
        column = (
            plain[row]
            if plain.ndim == 2 and ndim == 2
            else plain.reshape(-1)
            if plain.ndim == 2
            else plain
        )
        return with_meaning(column, values)
    seen = array_view(values)
    if isinstance(seen, View) and "ordinals" in seen.parts:  # periods lie in blocks of their own
        ordinals = np.asarray(seen.parts["ordinals"])
        own = ordinals[row] if ordinals.ndim == 2 else ordinals
        return View(parts={**seen.parts, "ordinals": own})
    return seen


def _lazy_row(plain: LazyArray, row: int) -> LazyArray:
    return LazyArray(plain.dtype, plain.shape[1:], lambda: plain.read()[row])
