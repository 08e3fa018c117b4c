"""Compare two trees: every value, array, record, shared reference and cycle."""

from __future__ import annotations

import array as array_module
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from persist._wire.base.ml_dtypes import dtype_name, dtype_text, encoded, stored_dtype
from persist.tree import Global, LazyArray, PersistentRef, Record, step_of

__all__ = ["difference"]

_CHUNK = 1 << 24  # bytes of an array that are compared at once
_PARTS = ("cls", "maker", "kind", "args", "kwargs", "state", "listitems", "dictitems", "version")
_SHARED = (list, dict, deque, Record)  # mutable, so it matters whether two places share one object


def difference(left: object, right: object, *, arrays: bool = True) -> str | None:
    """Return the place and kind of the first difference of two trees, or None if they are equal.

    Arrays are equal if dtype, shape and every byte are; floats are equal if their ``repr`` is
    (so NaN equals NaN). Two places that share a list, dict or record in one tree must share
    it in the other tree.

    Args:
        left, right: the trees.
        arrays: also compare the bytes of arrays, not only dtype and shape.
    """
    partner: dict[int, int] = {}
    done: set[tuple[int, int]] = set()
    kept: list[
        object
    ] = []  # keeps compared objects alive, since the id of a freed object is reused
    todo = [("", left, right)]
    while todo:
        path, one, two = todo.pop()
        fault = _fault(one, two, arrays)
        if not fault and isinstance(one, _SHARED):
            fault = _stranger(partner, one, two)
        if fault:
            return f"{path or 'the root'}: {fault}"
        below = _below(one, two)
        if below is None or (id(one), id(two)) in done:
            continue
        done.add((id(one), id(two)))
        kept += (one, two)
        prefix = f"{path}/" if path else ""
        todo += [(prefix + step, first, second) for step, first, second in below]
    return None


def _stranger(partner: dict[int, int], one: object, two: object) -> str:
    same = partner.setdefault(id(one), id(two)) == id(two)
    back = partner.setdefault(-id(two), id(one)) == id(one)
    return "" if same and back else "it is shared with another place on one side only"


def _fault(one: Any, two: Any, arrays: bool = True) -> str:
    """The difference between two values themselves, not below them; empty if there is none."""
    if _is_array(one) and _is_array(two):
        return _array_fault(one, two, arrays)
    if type(one) is not type(two):
        return f"a {type(two).__name__} instead of a {type(one).__name__}"
    if isinstance(one, Record):
        return "" if one.cls == two.cls else f"{two.qualname} instead of {one.qualname}"
    if isinstance(one, PersistentRef):
        return _fault(one.pid, two.pid)
    if isinstance(one, list | tuple | deque | dict):
        if isinstance(one, defaultdict) and one.default_factory is not two.default_factory:
            return "another default factory"
        return "" if len(one) == len(two) else f"{len(two):,} items instead of {len(one):,}"
    if isinstance(one, set | frozenset):
        return "" if _texts(one) == _texts(two) else "other items in a set"
    if isinstance(one, np.generic):
        return "" if (one.dtype, one.tobytes()) == (two.dtype, two.tobytes()) else "another scalar"
    if isinstance(one, array_module.array):
        return (
            ""
            if (one.typecode, one.tobytes()) == (two.typecode, two.tobytes())
            else "another array"
        )
    if one == two and not isinstance(one, float | complex):
        return ""
    return "" if repr(one) == repr(two) else "another value"


def _texts(items: Iterable[object]) -> Counter[tuple[str, str]]:
    return Counter((type(item).__name__, step_of(item)) for item in items)


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray | LazyArray)


def _is_padded(dtype: Any) -> bool:
    """Whether a dtype has bytes that belong to no field."""
    if dtype.names is None:
        return False
    inner = [dtype[name].base for name in dtype.names]
    held = sum(dtype[name].itemsize for name in dtype.names)
    return bool(held < dtype.itemsize) or any(map(_is_padded, inner))


def _array_fault(one: Any, two: Any, arrays: bool) -> str:
    before, after = stored_dtype(one), stored_dtype(two)
    is_named_alike = dtype_name(before) == dtype_name(after)  # opaque dtypes of one width are equal
    if before != after or not is_named_alike or tuple(one.shape) != tuple(two.shape):
        return (
            f"an array {dtype_text(after)} {two.shape} instead of {dtype_text(before)} {one.shape}"
        )
    if not arrays and not one.dtype.hasobject:
        return ""
    first, second = encoded(one), encoded(two)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray) and type(one) is not type(two):
        return f"a {type(two).__name__} instead of a {type(one).__name__}"
    if first.dtype.hasobject or not first.size or not first.itemsize:
        return ""
    if _is_padded(first.dtype):  # what lies between fields is nobody's
        parts = (
            _array_fault(first[name], second[name], arrays) for name in first.dtype.names or ()
        )
        return next(filter(None, parts), "")
    if not (first.flags.c_contiguous and second.flags.c_contiguous):
        first, second = np.ascontiguousarray(first.T), np.ascontiguousarray(second.T)
    first, second = first.reshape(-1).view(np.uint8), second.reshape(-1).view(np.uint8)
    for start in range(0, len(first), _CHUNK):
        part = slice(start, start + _CHUNK)
        if not np.array_equal(first[part], second[part]):
            return "other bytes in an array"
    return ""


def _below(one: Any, two: Any) -> Iterator[tuple[str, object, object]] | None:
    """The pairs of parts of two values of the same type; None for a type without parts."""
    if isinstance(one, Record):
        return ((name, _part(one, name), _part(two, name)) for name in _PARTS)
    if isinstance(one, dict):
        return _items(one, two)
    if isinstance(one, list | tuple | deque):
        pairs = zip(one, two, strict=True)
        return ((str(index), first, second) for index, (first, second) in enumerate(pairs))
    if isinstance(one, np.ma.MaskedArray):
        return iter([("mask", np.ma.getmaskarray(one), np.ma.getmaskarray(two))])
    if isinstance(one, np.ndarray) and one.dtype.hasobject:
        rows = zip(one.reshape(-1).tolist(), np.asarray(two).reshape(-1).tolist(), strict=True)
        return ((str(index), first, second) for index, (first, second) in enumerate(rows))
    return None


def _part(record: Record, name: str) -> object:
    """A part of a record; Python 2's module name ``copy_reg`` is mapped to ``copyreg``."""
    part = getattr(record, name)
    is_old = name == "maker" and isinstance(part, Global) and part.module == "copy_reg"
    return Global("copyreg", part.name) if is_old else part


def _items(one: Any, two: Any) -> Iterator[tuple[str, object, object]]:
    for (key, value), (other, second) in zip(one.items(), two.items(), strict=True):
        yield f"key {step_of(key)}", key, other
        yield step_of(key), value, second
    if isinstance(one, OrderedDict):
        yield "its attributes", vars(one), vars(two)
