"""Values that CPython and NumPy free by recursion: how deep they hold each other is bounded.

A list in a list in a list is freed without the C stack (CPython's "trashcan"); a `deque`, a
`defaultdict`, a slice and an array of objects are not, and 100,000 of them inside each other end the process
when they are let go, not when they are made. Whoever makes them of a file notes those that hold
others, and asks here before they are handed out.

Source: ``Modules/_collectionsmodule.c`` (``deque_dealloc``, ``defdict_dealloc``) of CPython 3.11,
``numpy/_core/src/multiarray/arrayobject.c`` (``array_dealloc``).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["MOST", "RECURSIVE", "holds_recursive", "is_too_deep"]

RECURSIVE = frozenset((deque, defaultdict, slice, np.ndarray))
MOST = 100


def holds_recursive(holder: object) -> bool:
    """Whether one of `RECURSIVE` holds others of them."""
    if type(holder) is np.ndarray and not holder.dtype.hasobject:
        return False
    return not RECURSIVE.isdisjoint(map(type, _items_of(holder)))


def is_too_deep(holders: Iterable[Any]) -> bool:
    """Whether values hold each other more than `MOST` deep; then they are emptied, one by one.

    Args:
        holders: of `RECURSIVE`, all that hold others. Slices cannot be emptied: whoever makes them does
            not make one of slices that are `MOST` deep.
    """
    known = {id(holder): holder for holder in holders}
    if len(known) <= MOST or _depth_of(known) <= MOST:
        return False
    for holder in known.values():
        if isinstance(holder, np.ndarray):
            holder[...] = np.zeros((), holder.dtype)
        elif not isinstance(holder, slice):
            holder.clear()
    return True


def _depth_of(holders: dict[int, object]) -> int:
    """Return how deeply they are nested in each other directly; cycles count once."""
    depths: dict[int, int] = {}
    entered: set[int] = set()
    for root in holders:
        todo = [root]
        while todo:
            key = todo[-1]
            below = [id(item) for item in _items_of(holders[key]) if id(item) in holders]
            if key not in entered:
                entered.add(key)
                fresh = [item for item in below if item not in entered]
                if fresh:
                    todo += fresh
                    continue
            todo.pop()
            if key not in depths:
                depths[key] = 1 + max((depths.get(item, 0) for item in below), default=0)
    return max(depths.values(), default=0)


def _items_of(holder: Any) -> Iterable[object]:
    items: Iterable[Any] = holder
    if isinstance(holder, defaultdict):
        return holder.values()
    if isinstance(holder, slice):
        return holder.start, holder.stop, holder.step
    if not isinstance(holder, np.ndarray):
        return items
    if holder.dtype.names is None:
        return list(holder.flat)
    names = [name for name in holder.dtype.names if holder.dtype[name].hasobject]
    return (item for name in names for item in _items_of(np.asarray(holder[name])))
