"""How much a file or a part of it holds: arrays, numbers and bytes, shared memory counted once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from persist._trees.leaves import counted, escaped, size_text
from persist._trees.pack_view import PackView, is_array
from persist.tree import LazyArray

__all__ = ["Totals", "memory_of", "nbytes_of", "totals_below", "totals_of", "totals_text"]

_VISITED = 100_000  # values below one line that are counted
_NAMED = 4  # shared arrays whose names are listed
_OTHERS = 3  # other names of one of them


@attrs.define
class Totals:
    """Sums over arrays.

    Attributes:
        names: number of names that lead to an array.
        arrays: number of different arrays: those with the same memory, shape and strides are one.
        numbers: number of elements of these.
        nbytes: bytes of these in memory.
        tied: the names of each array that has several, in order.
        is_partial: whether not everything could be visited.
    """

    names: int = 0
    arrays: int = 0
    numbers: int = 0
    nbytes: int = 0
    tied: list[list[str]] = attrs.field(factory=list)
    is_partial: bool = False


def memory_of(array: Any) -> tuple[object, ...]:
    """Return a key that is equal for arrays that are the same part of the same memory.

    Tensors of torch files are compared by their storage, offset, shape and strides, which are known
    without reading them; arrays of NumPy by their address. An array without bytes is itself, and so is
    any other lazy one, which is not read for it.
    """
    storage = getattr(array, "storage", None)
    if storage is not None:
        blob = getattr(storage, "blob", storage)
        return (id(blob), storage.__class__, array.offset, array.shape, array.strides, array.kind)
    if isinstance(array, LazyArray):
        return (id(array),)
    interface = getattr(array, "__array_interface__", None) if hasattr(array, "strides") else None
    if interface is not None and array.nbytes:
        return (interface["data"][0], array.shape, array.strides, array.dtype.str)
    return (id(array),)


def nbytes_of(array: Any) -> int:
    """Return the bytes of an array, also of an ``array.array``."""
    size = getattr(array, "nbytes", None)
    return len(array) * int(array.itemsize) if size is None else int(size)


def _count_of(array: Any) -> int:
    return int(array.size) if hasattr(array, "size") else len(array)


def _summed(items: Iterable[tuple[str, object]]) -> Totals:
    total = Totals()
    names: dict[tuple[object, ...], list[str]] = {}
    kept: list[object] = []  # ids are those of objects that live until all are counted
    for name, array in items:
        total.names += 1
        kept.append(array)
        known = names.setdefault(memory_of(array), [])
        known.append(name)
        if len(known) > 1:
            continue
        total.arrays += 1
        total.numbers += _count_of(array)
        total.nbytes += nbytes_of(array)
    total.tied = [known for known in names.values() if len(known) > 1]
    return total


def totals_of(arrays: Mapping[str, object]) -> Totals:
    """Return the sums over the arrays of a file, or of a part, by their names."""
    return _summed((name, arrays[name]) for name in arrays)


def totals_below(value: object, looker: PackView) -> Totals:
    """Return the sums over the arrays below a value; each object is visited once."""
    found: list[tuple[str, Any]] = []
    seen: dict[int, object] = {}
    todo = [value]
    while todo and len(seen) < _VISITED:
        one = looker.through(todo.pop())
        if id(one) in seen:
            continue
        seen[id(one)] = one
        leaf, steps = looker.look(one)
        if is_array(leaf):
            found.append(("", leaf))
        todo += [item for _, item in reversed(steps)]
    total = _summed(found)
    total.names, total.tied, total.is_partial = total.arrays, [], bool(todo)
    return total


def totals_text(total: Totals) -> str:
    """Return the sums in words; the names of shared arrays are listed.

    ``62 arrays, 1,048,576 numbers, 4.0 MiB; head.weight is emb.weight (counted once)``.
    """
    parts = [
        f"{counted(total.arrays, 'array')}, {counted(total.numbers, 'number')}, "
        f"{size_text(total.nbytes)}"
    ]
    for names in total.tied[:_NAMED]:
        others = ", ".join(map(escaped, names[1 : 1 + _OTHERS]))
        more = f" and {len(names) - 1 - _OTHERS:,} more" if len(names) > 1 + _OTHERS else ""
        parts.append(f"{others}{more} = {escaped(names[0] or '(root)')}")
    if len(total.tied) > _NAMED:
        parts.append(f"{len(total.tied) - _NAMED:,} more have several names")
    text = "; ".join(parts)
    return f"{text} (shared, counted once)" if total.tied else text
