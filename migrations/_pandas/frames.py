"""Frames, series and panels, and the block managers inside of them.

Source: ``pandas/core/internals/managers.py`` (``BlockManager.__setstate__``) of each generation.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from persist.migrations._pandas.arrays import SparsePlaces
from persist.migrations._pandas.common import array_and_state, expect, fields, maker, named, pandas
from persist.migrations._pandas.indexes import as_index

from persist.errors import RestoreError
from persist.packs import Record
from persist.tree import Global

__all__ = ["KNOWN", "Block", "Manager", "frame", "series"]


_MAKES_BLOCKS = (
    "pandas.core.internals.blocks.new_block",
    "pandas._libs.internals._unpickle_block",  # as the table of renames calls it
)


@attrs.frozen
class Block:
    """Values of some columns.

    Attributes:
        values: an array of shape (columns, rows), or one extension array.
        placement: which columns, as a slice, numbers, or one number.
    """

    values: Any
    placement: Any


@attrs.frozen
class Manager:
    """The parts of a frame or series.

    Attributes:
        axes: indexes; the columns first, in a frame.
        columns: the values of each column, by its place.
    """

    axes: list[Any]
    columns: dict[int, Any]


@maker(
    "_unpickle_block", "new_block", "make_block", "_fast_make_block", "NumpyBlock", "NumericBlock", "ObjectBlock",
    "ExtensionBlock", "DatetimeLikeBlock", "_DatetimeTZBlock", "NDArrayBackedExtensionBlock", "CategoricalBlock",
)  # fmt: skip
def block(record: Record) -> Any:
    """A block: ``(values, placement, ndim)``."""
    args = record.args
    values = args[0] if args else record.kwargs.get("values")
    placement = args[1] if len(args) > 1 else record.kwargs.get("placement")
    expect(values is not None and placement is not None, "a block has no values and places")
    return Block(values, placement)


_NEW_BLOCK = object()  # the function that makes blocks, in 1.3 a partial


@maker("partial")
def partial_block(record: Record) -> object:
    """``partial(new_block, ndim=2)``, and what a call of that gives: the form of 1.3."""
    args = record.args
    if args and isinstance(args[0], Global) and args[0].qualname in _MAKES_BLOCKS:
        return _NEW_BLOCK
    is_call = len(args) == 2 and args[0] is _NEW_BLOCK and isinstance(args[1], tuple)
    expect(is_call and len(args[1]) >= 2, "it is a partial of another function")
    return Block(args[1][0], args[1][1])


@maker("BlockPlacement")
def placement(record: Record) -> Any:
    """The places of a block's columns."""
    expect(record.args, "it has no places")
    return record.args[0]


@maker("BlockManager", "SingleBlockManager")
def manager(record: Record) -> object:
    """A block manager of any generation."""
    if len(record.args) >= 2 and record.kind != "reconstructor":  # 1.3 and later
        blocks, axes = record.args[0], list(record.args[1])
        blocks = (blocks,) if isinstance(blocks, Block) else blocks
        return _placed(axes, [(one.values, one.placement) for one in blocks])
    state = record.state
    expect(isinstance(state, tuple) and len(state) >= 3, "its state is not that of a block manager")
    if len(state) > 3 and isinstance(state[3], dict) and "0.14.1" in state[3]:
        known = state[3]["0.14.1"]
        return _placed(
            list(known["axes"]), [(one["values"], one["mgr_locs"]) for one in known["blocks"]]
        )
    return _labelled(list(state[0]), list(state[1]), list(state[2]))


def _placed(axes: list[Any], blocks: list[tuple[Any, Any]]) -> Manager:
    axes = [as_index(axis) for axis in axes]
    count = len(axes[0]) if axes else 0
    if len(axes) == 1:
        expect(len(blocks) == 1, f"a series has {len(blocks)} blocks")
        values = blocks[0][0]
        return Manager(axes, {0: _one(values, 0, 1)})
    found: dict[int, Any] = {}
    for values, where in blocks:
        held = len(values) if isinstance(values, list) or getattr(values, "ndim", 1) > 1 else 1
        places = _places(where, count, held)
        for row, place in enumerate(places):
            expect(
                0 <= place < count and place not in found, f"column {place} has no place of its own"
            )
            found[place] = _one(values, row, 2)
    expect(
        len(found) == count, f"the values of {count - len(found)} of {count} columns were not found"
    )
    return Manager(axes, found)


def _labelled(axes: list[Any], values: list[Any], items: list[Any]) -> Manager:
    """0.13 and before: each block lists the labels of its columns."""
    axes = [as_index(axis) for axis in axes]
    if len(axes) == 1:
        expect(len(values) == 1, f"a series has {len(values)} blocks")
        return Manager(axes, {0: _one(values[0], 0, 1)})
    expect(
        len(axes[0]) == sum(map(len, items)), "its blocks have not as many labels as the columns"
    )
    waiting: dict[object, list[int]] = {}
    for place, label in enumerate(axes[0]):
        waiting.setdefault(label, []).append(place)
    blocks = []
    expect(len(values) == len(items), "it has more blocks than labels of blocks")
    for held, labels in zip(values, items, strict=True):
        places = [waiting[label].pop(0) for label in labels if waiting.get(label)]
        expect(len(places) == len(labels), "a block's labels are not those of the columns")
        blocks.append((held, places))
    return _placed(axes, blocks)


def _places(where: Any, count: int, held: int) -> list[int]:
    """The places of a block's columns, of which it holds some; a range states many in few bytes."""
    if isinstance(where, int | np.integer):
        where = (where,)
    if isinstance(where, slice):
        where = range(*where.indices(count))
    is_listed = isinstance(where, np.ndarray | range | list | tuple)
    expect(is_listed, "the places of a block are of an unknown kind")
    expect(len(where) == held, "a block has not as many columns as places")
    return [int(place) for place in where]


def _one(values: Any, row: int, ndim: int) -> object:
    """One column of a block: a row of its array, or all of an extension array."""
    if isinstance(values, list):
        return values[row]
    if isinstance(values, np.ndarray):
        if ndim == 1:
            return values.reshape(-1)
        return values[row] if values.ndim > 1 else values
    if isinstance(values, pandas().Index):
        values = values.array
    shape = getattr(values, "shape", (0,))
    return values[row] if len(shape) == 2 else values


# What a state holds besides: caches, and what the constructor is given.
KNOWN = frozenset(
    ("_mgr", "_data", "_typ", "_metadata", "_name", "name", "attrs", "_attrs", "_flags", "_item_cache", "_cacher",
     "_is_copy", "is_copy", "_default_fill_value", "_default_kind", "index", "_index", "_subtyp", "fill_value")
)  # fmt: skip


def _manager(record: Record) -> Manager:
    state = record.state
    found = state if isinstance(state, Manager) else named(fields(record), "_mgr", "_data")
    if not isinstance(found, Manager):
        raise RestoreError("it has no block manager")
    left = [name for name in fields(record) if name not in KNOWN and not name.startswith("_")]
    expect(not left, f"it has attributes that pandas does not know: {', '.join(left)}")
    return found


def _finished(made: Any, record: Record) -> object:
    attributes = named(fields(record), "_attrs", "attrs")
    if isinstance(attributes, dict):
        made.attrs = dict(attributes)
    flags = fields(record).get("_flags")
    if isinstance(flags, dict) and flags.get("allows_duplicate_labels") is False:
        made = made.set_flags(allows_duplicate_labels=False)
    return made


@maker("DataFrame", "SparseDataFrame")
def frame(record: Record) -> Any:
    """A frame of columns that may have different dtypes and equal labels."""
    pd = pandas()
    state = record.state
    if isinstance(state, tuple) and len(state) == 5:
        return _sparse_frame(state)
    parts = _manager(record)
    expect(len(parts.axes) == 2, f"it has {len(parts.axes)} axes")
    columns, index = parts.axes
    count = len(columns)
    lengths = {len(values) for values in parts.columns.values()}
    expect(lengths <= {len(index)}, f"a column has {lengths} items, and the index {len(index)}")
    kinds = {getattr(values, "dtype", None) for values in parts.columns.values()}
    only = kinds.pop() if len(kinds) == 1 else None
    if count > 1 and isinstance(only, np.dtype) and only.kind in "biufc":
        data = np.stack([parts.columns[place] for place in range(count)])
        made = pd.DataFrame(data.T, copy=False)
    else:
        held = (parts.columns[place] for place in range(count))
        series = {
            place: pd.Series(values, copy=False, dtype=_kept(values))
            for place, values in enumerate(held)
        }
        made = pd.DataFrame(series, index=range(len(index)) if not count else None, copy=False)
    made.index, made.columns = index, columns
    return _finished(made, record)


def _kept(values: object) -> object:
    """The dtype to ask for, so that texts of NumPy stay objects as they were."""
    return object if isinstance(values, np.ndarray) and values.dtype == object else None


def _sparse_frame(state: tuple[Any, ...]) -> object:
    """A SparseDataFrame of 0.12 and before: (places and values by column, columns, index, fill, kind)."""
    held, columns, index, fill, _ = state
    pd = pandas()
    expect(isinstance(held, dict), "its columns are no dict")
    made = {}
    for label in columns:
        places, values = held[label]
        made[label] = _sparse_column(places, values, fill)
    return pd.DataFrame(made, index=as_index(index), columns=as_index(columns))


def _sparse_column(places: object, values: object, fill: object) -> object:
    if not isinstance(places, SparsePlaces):
        raise RestoreError("the places of a sparse column are unknown")
    return places.array(np.asarray(values), fill)


@maker("Series", "TimeSeries", "SparseSeries", "SparseTimeSeries")
def series(record: Record) -> Any:
    """A series; of 0.12 and before a subclass of ndarray with (index, name)."""
    pd = pandas()
    subclass = array_and_state(record)
    if subclass is not None:
        array, own = subclass
        if record.cls.name.startswith("Sparse"):
            index, fill, places, name = (*own, None)[:4]
            return pd.Series(_sparse_column(places, array, fill), index=as_index(index), name=name)
        index, name = (*own, None, None)[:2]
        expect(index is None or len(index) == len(array), "its index has not as many items")
        return pd.Series(array, index=index, name=name, dtype=_kept(array))
    parts = _manager(record)
    expect(len(parts.axes) == 1, f"it has {len(parts.axes)} axes")
    values = parts.columns[0]
    expect(len(values) == len(parts.axes[0]), "its index has not as many items")
    name = named(fields(record), "_name", "name")
    made = pd.Series(values, index=parts.axes[0], name=name, dtype=_kept(values), copy=False)
    return _finished(made, record)


@maker("Panel", "WidePanel")
def panel(record: Record) -> object:
    """A panel, which 0.25 removed, as a dict of frames by item."""
    parts = _manager(record)
    expect(len(parts.axes) == 3, f"it has {len(parts.axes)} axes")
    items, major, minor = parts.axes
    pd = pandas()
    return {
        item: pd.DataFrame(np.asarray(parts.columns[place]), index=major, columns=minor)
        for place, item in enumerate(items)
    }
