"""Plain pickle: what steps see of instances that are built already.

By `persist.load` a step sees records, names of constants and read-only arrays. ``pickle`` hands over
live instances, so here each instance of a declared class in a state is seen as a `Record` of its
current state, made when it is looked at, and each constant as its `Global`. What a step returns gets
the instances back. A change to such a record would not reach the instance, so it is an error.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from persist._instances.constants import NAMED
from persist._instances.unfinished import Unfinished
from persist._instances.waiting import Views
from persist._trees.copier import SCALAR, has_no_arrays
from persist._upgrade.state import freeze
from persist.errors import MigrationFailedError
from persist.tree import Global, Record, lazy_record

if TYPE_CHECKING:
    from persist._instances.adapter import ClassAdapter
    from persist._instances.taking import Flat

__all__ = ["InertViews", "holds_instances"]

_DICTS = (dict, OrderedDict, defaultdict)
_LISTS = (list, tuple, deque, set, frozenset)
_DEEP = 64  # containers inside each other that are looked through, as in `unset_in`


def holds_instances(state: Any, is_declared: Callable[[type], bool]) -> bool:
    """True if there are instances of declared classes, or what may be a constant, in a state."""
    todo, seen = [(state, 0)], set()
    while todo:
        value, depth = todo.pop()
        kind = type(value)
        if kind in SCALAR:
            continue
        if kind in _DICTS:
            inside = [*value, *value.values()]
        elif kind in _LISTS:
            inside = list(value)
        elif isinstance(value, NAMED) or is_declared(kind):
            return True
        else:
            continue
        if id(value) in seen or depth > _DEEP or has_no_arrays([inside]):
            continue
        seen.add(id(value))
        todo += [(item, depth + 1) for item in inside]
    return False


class InertViews(Views):
    """The views of one upgrade.

    Args:
        adapter_of: class -> its adapter, or None where the class is not declared.
        constant_name: value -> the name of the constant that it is, or None.
        frozen: the arrays that were made read-only for the steps, by id.
        waiting: the views of instances without a state, if there are any.
    """

    def __init__(
        self,
        adapter_of: Callable[[type], ClassAdapter | None],
        constant_name: Callable[[Any], str | None],
        frozen: dict[int, Any],
        waiting: Views | None = None,
    ) -> None:
        if waiting is None:
            super().__init__({}, False, {})
        else:
            super().__init__({**waiting.pairs}, waiting.is_copy, {**waiting.back})
            self.is_trial, self.looks = waiting.is_trial, waiting.looks
        self._adapter_of = adapter_of
        self._constant_name = constant_name
        self._frozen = frozen
        self._shown: list[tuple[Record, list[Any]]] = []  # those looked at, and what was in them
        self._names: list[Global] = []  # kept, since they are known by their ids

    def leaf(self, value: object) -> Any:
        """Return what a step sees of a value that is no container."""
        kind = type(value)
        if kind in SCALAR or isinstance(value, Unfinished):
            return super().leaf(value)
        adapter = self._adapter_of(kind)
        if adapter is not None:
            return self._record(value, adapter)
        if isinstance(value, NAMED):
            name = self._constant_name(value)
            if name is not None:
                module, _, last = name.rpartition(".")
                made = Global(module, last)
                self._names.append(made)
                self.back[id(made)] = value
                return made
        return super().leaf(value)

    def _record(self, obj: object, adapter: ClassAdapter) -> Record:
        """The record of a live instance; its state is taken when a step first asks for it."""
        cls = adapter.cls
        named = Global(cls.__module__, cls.__qualname__)
        record = lazy_record(
            named, adapter.schema.version, lambda: self._state(record, obj, adapter)
        )
        self.pairs[id(obj)] = (obj, record)
        self.back[id(record)] = obj
        if adapter.builtin is not object:
            self._state(record, obj, adapter)
        return record

    def _state(self, record: Record, obj: object, adapter: ClassAdapter) -> Any:
        flat: Flat = adapter.flat(obj, is_saved=False)
        record.state = self.seen(flat.state)
        record.args, record.kwargs = self.seen(flat.args), self.seen(dict(flat.kwargs))
        if flat.array is not None:
            record.args = (record.cls, flat.array)
        record.listitems = self.seen(list(flat.listitems or ()))
        record.dictitems = self.seen(list(flat.dictitems or ()))
        freeze([record.state, record.args, record.listitems, record.dictitems], self._frozen)
        self._shown.append((record, _inside(record)))
        return record.state

    def refuse_changes(self) -> None:
        """Refuse a change of what the steps were shown.

        Raises:
            MigrationFailedError: a step has changed an instance that it was given.
        """
        for record, before in self._shown:
            now = _inside(record)
            if len(now) != len(before) or any(
                new is not old for new, old in zip(now, before, strict=True)
            ):
                raise MigrationFailedError(
                    f"a step changed an instance of {record.qualname} that it was given, which plain pickle "
                    "has built already.",
                    remedy="Make the change in a step of that class, or load the file with persist.load.",
                    schema=record.qualname,
                )


def _inside(record: Record) -> list[object]:
    """All values in a record, through containers, in order; for a comparison by identity."""
    todo: list[Any] = [
        [record.state, record.args, record.kwargs, record.listitems, record.dictitems]
    ]
    found: list[Any] = []
    seen = set()
    while todo:
        value = todo.pop()
        kind = type(value)
        if kind in _DICTS:
            inside = [*value, *value.values()]
        elif kind in _LISTS:
            inside = list(value)
        elif kind is np.ndarray and value.dtype == object:
            inside = value.reshape(-1).tolist()
        else:
            continue
        if id(value) not in seen:
            seen.add(id(value))
            found += inside
            todo += inside
    return found
