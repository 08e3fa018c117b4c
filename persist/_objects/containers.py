"""Containers of a tree: filled with what is built of their items, and hashed when that has its state."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from persist._envelope import FIELDS
from persist._instances.adapter import adapter_of
from persist._objects.reports import Reports
from persist._objects.trust import (
    Trust,
)
from persist._objects.trusted_calls import set_attribute
from persist._trees.driver import ATOMS, Parts, object_fields
from persist.errors import (
    RestoreError,
)
from persist.registry import Registry
from persist.tree import (
    Global,
    LazyArray,
    Record,
    at_path,
    step_of,
)

__all__ = ["Containers", "private"]


def _finds_all(items: frozenset[object]) -> bool:
    """True if every member is found by its hash."""
    return all(item in items for item in items)


def private(array: Any) -> Any:
    """An array that may be written: itself, or a copy of one that may not."""
    return array if array.flags.writeable else array.copy()


class Containers(Reports):
    """Builds tuples, sets, dicts and arrays of objects in place."""

    _plain: frozenset[type]

    def __init__(
        self,
        registry: Registry,
        trust: Trust,
        file: str | None,
        is_known: Callable[[Record], bool],
        *,
        live: bool,
    ) -> None:
        super().__init__(registry, trust, file, is_known, live=live)
        self._done: dict[int, tuple[Any, Any]] = {}
        self._unset: dict[int, tuple[object, Record]] = {}  # objects that have no state yet, by id
        self._rehashed: list[tuple[Any, list[Any], str]] = []  # dicts and sets to be filled again
        self._frozen: list[tuple[frozenset[Any], str]] = []  # to be checked when all is built

    def _keep(self, old: object, new: object) -> Any:
        self._done[id(old)] = (old, new)
        return new

    def _array(self, value: Any) -> tuple[Any, Parts | None]:
        if value.dtype.hasobject:
            return None, self._object_array(value)
        return (value if value.flags.writeable else self._keep(value, value.copy())), None

    def _object_array(self, array: Any) -> Parts:
        self._keep(array, array)
        flat = array.view(np.ndarray)
        views = [flat] if flat.dtype == object else object_fields(flat)
        for view in views:
            for index in np.ndindex(view.shape):
                item = view[index]
                if type(item) not in self._plain:
                    view[index] = yield "/".join(map(str, index)), item
        return array

    def _tuple(self, items: tuple[Any, ...]) -> Parts:
        if self._plain.issuperset(map(type, items)):
            return items
        made = []
        for index, item in enumerate(items):
            made.append((yield str(index), item))
        if id(items) in self._done:  # a part led back here, and made it
            return self._done[id(items)][1]
        same = all(new is old for new, old in zip(made, items, strict=True))
        return self._keep(items, items if same else tuple(made))

    def _frozenset(self, items: frozenset[object]) -> Parts:
        made = yield "", tuple(items)
        if id(items) in self._done:  # a part led back here, and made it
            return self._done[id(items)][1]
        path = self.path
        if self._has_unset(made):
            whole = self._hashed(lambda: frozenset(made), path)
            self._frozen.append((whole, path))
        else:
            whole = frozenset(made)
        return self._keep(items, whole)

    def _set(self, items: set[object]) -> Parts:
        self._keep(items, items)
        if not self._plain.issuperset(map(type, items)):
            made = yield "", tuple(items)
            self._refill(items, list(made), made)
        return items

    def _refill(self, holder: Any, items: list[Any], keys: Iterable[object]) -> None:
        """Fill a dict with pairs, or a set with members, some of which were made just now."""
        if not self._has_unset(keys):
            holder.clear()
            holder.update(items)
            return
        self._rehashed.append((holder, items, self.path))
        holder.clear()
        try:
            holder.update(items)
        except Exception:  # a hash that needs more than is there yet: filled in `complete`
            holder.clear()

    # Hashes. An object may be a key or a member of what its own state holds; then it is hashed
    # before it has a state. What can be set is set first, and dicts and sets are filled again
    # when everything is built.

    def _has_unset(self, keys: Iterable[Any]) -> bool:
        """Whether the hash of any key asks an object that has no state yet; its plain fields are set."""
        if not self._unset:
            return False
        found = False
        todo = list(keys)
        while todo:
            key = todo.pop()
            if type(key) in (tuple, frozenset):
                todo.extend(key)
            elif id(key) in self._unset:
                self._set_plain_fields(*self._unset[id(key)])
                found = True
        return found

    def _set_plain_fields(self, obj: object, record: Record) -> None:
        """Set the plain fields, so that `__hash__` can read them; all fields are set again later."""
        if self._registry.class_for(record.qualname) is not type(obj):
            return
        given = record.fields()
        for part in adapter_of(type(obj), self._registry).layout.parts:
            for field in part.fields if part.kind == FIELDS else ():
                value = given.get(field.name, self)
                is_method = isinstance(getattr(type(obj), field.attribute, None), property)
                if type(value) in ATOMS and not is_method:
                    set_attribute(obj, field.attribute, value)

    def _hashed(self, act: Callable[[], Any], path: str) -> Any:
        cure = "Its hash needs a field that holds the object itself: let __hash__ use plain fields."
        return self._reporting(at_path(path), cure, act)

    def _rehash(self) -> None:
        """Fill dicts and sets again whose keys had no state when they were hashed."""
        for holder, items, path in self._rehashed:
            holder.clear()
            self._hashed(functools.partial(holder.update, items), path)
        for whole, path in self._frozen:
            if not self._hashed(functools.partial(_finds_all, whole), path):
                raise RestoreError(
                    "a frozenset holds an object whose hash changed while it was built.",
                    file=self._file,
                    where=at_path(path),
                    remedy="Let its __hash__ use plain fields that need no conversion, or keep a set.",
                )

    def _dict(self, items: dict[Any, Any]) -> Parts:
        self._keep(items, items)
        if isinstance(items, defaultdict) and isinstance(items.default_factory, Global):
            items.default_factory = self._global(items.default_factory)
        keys = {}
        for key in items:
            if type(key) not in self._plain and not isinstance(
                key, LazyArray
            ):  # no array has a hash
                keys[id(key)] = yield "key", key
        for key, item in list(items.items()):
            if type(item) not in self._plain:
                items[key] = yield step_of(key), item
        if any(keys[id(key)] is not key for key in items if id(key) in keys):
            pairs = [(keys.get(id(key), key), item) for key, item in items.items()]
            self._refill(items, pairs, keys.values())
        return items
