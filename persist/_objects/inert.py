"""What a migration made, as values of a tree: live instances become records.

A step may return or contain instances of declared classes and the values of constants. In a tree
that is upgraded there are only records and names, so that the result is the same whether
objects are made of it, it is written to a file, or it is compared with what was written.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from persist._instances.adapter import adapter_of
from persist._trees.driver import ATOMS, Driver, Parts, object_fields
from persist._upgrade.records import constant_record
from persist.errors import PersistError
from persist.registry import Registry
from persist.tree import ABSENT, Global, LazyArray, Record, step_of

__all__ = ["Inert"]

_LEAVES = ATOMS | {Global, LazyArray}


class Inert:
    """Puts records in the place of live instances, in what the steps of one run give.

    One instance that several steps give is one record. Lists, dicts and records are changed in
    place, so that what shares them still does.

    Args:
        registry: the classes and constants that are declared.
        is_pickle: constants are spelled as in pickles of ours, for one that is written.
    """

    def __init__(self, registry: Registry, *, is_pickle: bool = False) -> None:
        self._registry = registry
        self._is_pickle = is_pickle
        self._made: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: object, is_done: Callable[[Any], bool]) -> object:
        """Return the value with records in it.

        Args:
            value: what a step gave.
            is_done: whether a record is one of the tree itself, which is not looked into.

        Raises:
            SchemaError: the state of an instance cannot be had.
        """
        return _Walk(self._registry, self._made, is_done, self._is_pickle).run(value)


class _Walk(Driver):
    """One walk; containers are looked at anew in each, since steps may change them."""

    def __init__(
        self,
        registry: Registry,
        made: dict[int, tuple[object, object]],
        is_done: Callable[[Any], bool],
        is_pickle: bool,
    ) -> None:
        super().__init__()
        self._is_pickle = is_pickle
        self._registry = registry
        self._made = made
        self._is_done = is_done
        self._seen: dict[int, tuple[object, object]] = {}

    def enter(self, value: Any) -> tuple[object, Parts | None]:
        kind = type(value)
        if kind in _LEAVES:
            return value, None
        known = self._seen.get(id(value)) or self._made.get(id(value))
        if known is not None:
            return known[1], None
        walker = _WALKERS.get(kind)
        if walker is not None:
            if kind is Record and self._is_done(value):
                return value, None
            return None, walker(self, value)
        if kind is np.ndarray:
            is_ours = value.dtype.hasobject and value.flags.writeable
            return (None, self._array(value)) if is_ours else (value, None)
        if self._registry.declared(kind) is not None:
            return None, self._instance(value)
        name = self._registry.constant_name(value)
        if name is None:
            return value, None
        module, _, last = name.rpartition(".")
        made = constant_record(name) if self._is_pickle else Global(module, last)
        self._made[id(value)] = (value, made)
        return made, None

    def _note(self, old: object, new: object) -> Any:
        self._seen[id(old)] = (old, new)
        return new

    def _list(self, items: Any) -> Parts:
        self._note(items, items)
        for index, item in enumerate(items):
            if type(item) not in _LEAVES:
                made = yield str(index), item
                if made is not item:
                    items[index] = made
        return items

    def _tuple(self, items: tuple[object, ...]) -> Parts:
        if _LEAVES.issuperset(map(type, items)):
            return items
        made = []
        for index, item in enumerate(items):
            made.append((yield str(index), item))
        same = all(new is old for new, old in zip(made, items, strict=True))
        return self._note(items, items if same else tuple(made))

    def _set(self, items: Any) -> Parts:
        made = yield "", tuple(items)
        if all(new is old for new, old in zip(made, items, strict=True)):
            return self._note(items, items)
        if type(items) is frozenset:
            return self._note(items, frozenset(made))
        items.clear()
        items.update(made)
        return self._note(items, items)

    def _dict(self, items: Any) -> Parts:
        self._note(items, items)
        keys = {}
        for key in items:
            if type(key) not in _LEAVES:
                made = yield "key", key
                if made is not key:
                    keys[id(key)] = made
        for key, item in list(items.items()):
            if type(item) not in _LEAVES:
                made = yield step_of(key), item
                if made is not item:
                    items[key] = made
        if keys:
            pairs = [(keys.get(id(key), key), item) for key, item in items.items()]
            items.clear()
            items.update(pairs)
        return items

    def _array(self, array: Any) -> Parts:
        self._note(array, array)
        for view in [array] if array.dtype == object else object_fields(array):
            for index in np.ndindex(view.shape):
                item = view[index]
                if type(item) not in _LEAVES:
                    view[index] = yield "/".join(map(str, index)), item
        return array

    def _record(self, record: Record) -> Parts:
        self._note(record, record)
        if record.state is not ABSENT:
            record.state = yield "", record.state
        if not record.is_bare:
            record.args = yield "args", record.args
            record.kwargs = yield "kwargs", record.kwargs
            record.listitems = yield "", record.listitems
            record.dictitems = yield "", record.dictitems
        return record

    def _instance(self, obj: object) -> Parts:
        """The record of a live instance; its values are the instance's own, looked into in turn."""
        kind = type(obj)
        try:
            flat = adapter_of(kind, self._registry).flat(obj, is_saved=False)
        except PersistError as error:
            raise error.at(where=self.path or None) from error.__cause__
        named = Global(kind.__module__, kind.__qualname__)
        record = Record(named, kind="newobj", version=flat.schema.version)
        self._made[id(obj)] = (obj, record)
        if flat.array is not None:
            record.kind, record.maker = "reduce", Global("persist.versioned", "_array")
            record.args = (named, flat.array)
        elif flat.args or flat.kwargs:
            record.args = yield "args", flat.args
            record.kwargs = yield "kwargs", dict(flat.kwargs)
        if flat.listitems:
            record.listitems = yield "", list(flat.listitems)
        if flat.dictitems:
            record.dictitems = yield "", list(flat.dictitems)
        if flat.state is not ABSENT:
            record.state = yield "", flat.state
        return record


_WALKERS: dict[type, Callable[[_Walk, Any], Parts]] = {
    list: _Walk._list,
    deque: _Walk._list,
    tuple: _Walk._tuple,
    set: _Walk._set,
    frozenset: _Walk._set,
    dict: _Walk._dict,
    OrderedDict: _Walk._dict,
    defaultdict: _Walk._dict,
    Counter: _Walk._dict,
    Record: _Walk._record,
}
