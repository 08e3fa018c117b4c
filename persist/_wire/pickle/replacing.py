"""Replaces records that a pickle used before their state was known by their finished values."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from persist._wire.base.c_recursion import RECURSIVE
from persist.tree import Record
from persist.typing import Array

__all__ = ["ReferencePatcher"]


class ReferencePatcher:
    """Replaces records, by identity, in all values reachable from a root."""

    def __init__(self, replaced: dict[int, object]) -> None:
        self.replaced = replaced
        self.seen: set[int] = set()
        self.todo: list[Any] = []
        self.tuples: dict[int, tuple[object, tuple[object, ...]]] = {}
        self.recursive: list[object] = []

    def walk(self, root: object) -> Any:
        """Return the root, with all containers below it updated in place."""
        root = self.swap(root)
        while self.todo:
            self.mend(self.todo.pop())
        return root

    def swap(self, value: object) -> object:
        """Return the replacement of a value; containers are queued for updating."""
        if id(value) in self.replaced:
            value = self.replaced[id(value)]
        if isinstance(value, tuple) and value:
            return self.swap_tuple(value)
        is_holder = isinstance(value, list | dict | deque | Record) or (
            isinstance(value, np.ndarray) and value.dtype.hasobject
        )
        if is_holder and id(value) not in self.seen:
            self.seen.add(id(value))
            self.todo.append(value)
        return value

    def swap_tuple(self, value: tuple[object, ...]) -> tuple[object, ...]:
        """Rebuild a tuple from the leaves up, without recursion, if anything in it changes."""
        stack = [value]
        entered: set[int] = set()
        while stack:
            top = stack[-1]
            if id(top) not in entered and id(top) not in self.tuples:
                entered.add(id(top))
                below = [
                    item
                    for item in top
                    if isinstance(item, tuple) and item and id(item) not in self.tuples
                ]
                if below:
                    stack.extend(below)
                    continue
            stack.pop()
            if id(top) not in self.tuples:
                items = tuple(
                    self.tuples[id(item)][1] if id(item) in self.tuples else self.swap(item)
                    for item in top
                )
                same = all(new is old for new, old in zip(items, top, strict=True))
                self.tuples[id(top)] = (top, top if same else items)
        return self.tuples[id(value)][1]

    def mend(self, holder: Any) -> None:
        """Update the items of one container in place."""
        if type(holder) in RECURSIVE:
            self.recursive.append(holder)
        if isinstance(holder, Record):
            for name in ("args", "state"):
                setattr(holder, name, self.swap(getattr(holder, name)))
            self.swap(holder.kwargs)
            self.swap(holder.listitems)
            pairs = holder.dictitems
            pairs[:] = [(key, self.swap(item)) for key, item in pairs]
        elif isinstance(holder, dict):
            for key, item in list(holder.items()):
                holder[key] = self.swap(item)
        elif isinstance(holder, np.ndarray):
            self.mend_array(np.asarray(holder))
        else:
            for index, item in enumerate(holder):
                holder[index] = self.swap(item)

    def mend_array(self, array: Array) -> None:
        """Update the objects in an array, also those in the fields of its rows."""
        todo = [array]
        while todo:
            part = todo.pop()
            if part.dtype.names is not None:
                todo += [part[name] for name in part.dtype.names if part[name].dtype.hasobject]
                continue
            for index, item in enumerate(part.flat):
                part.flat[index] = self.swap(item)
