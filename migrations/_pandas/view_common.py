"""Views of records of pandas: how a class is looked at, what a view costs, and what a record must hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from persist._trees.pack_view import spending
from persist._wire.pickle.numpy_rebuild import array_of_parts
from persist.tree import Global, LazyArray, Record

__all__ = [
    "ITEM",
    "LABEL",
    "Look",
    "add",
    "array_and_state",
    "charge_for",
    "class_of",
    "expect",
    "get_field",
    "items_of",
    "looked_at",
    "looks_at",
    "seen_record",
    "size_of",
    "step_of_label",
]

Look = Callable[[Record, str], Any]
_LOOKS: dict[str, Look] = {}
LABEL = 64  # bytes of a label, at least
ITEM = 32  # bytes of a number in a list


def charge_for(count: int) -> None:
    """Charge what a view is about to make: a record can state more than its file holds."""
    spending()(count)


class _Unplaced(Exception):
    """A view would leave out or misplace a part of the record."""


def seen_record(record: Record, looker: object) -> object:
    """What a record looks like by the last step of its class's name; None where no function knows it."""
    name = class_of(record)
    known = _LOOKS.get(name)
    return None if known is None else looked_at(record, name, known, looker)


def looked_at(record: Record, name: str, known: Look, looker: Any) -> object:
    """Return what a record looks like; fall back to the record, and report it, where parts are left over."""
    try:
        seen = known(record, name)
        why = "its parts are not those of any known release" if seen is None else ""
    except _Unplaced as error:
        seen, why = None, str(error)
    if why and looker is not None and name not in _RECORDS:
        looker.note(f"a {record.qualname} is shown as its record, not by its values: {why}")
    return seen


def looks_at(*names: str) -> Callable[[Look], Look]:
    """Declare the function that looks at records, by the last step of their classes' names."""

    def register(function: Look) -> Look:
        _LOOKS.update(dict.fromkeys(names, function))
        return function

    return register


_RECORDS = frozenset(("Timestamp", "Timedelta", "_unpickle_timestamp", "_timedelta_unpickle"))
_MADE_BY = frozenset(
    (
        "_new_Index", "_new_DatetimeIndex", "_new_PeriodIndex", "_new_IntervalIndex",
        "__pyx_unpickle_NDArrayBacked", "__pyx_unpickle_IntervalMixin",
        "__pyx_unpickle_PeriodMixin",
    )
)  # fmt: skip


def class_of(record: Record) -> str:
    """The last part of the class's name, also where a function with the class as argument makes it."""
    if record.cls.name in _MADE_BY and record.args and isinstance(record.args[0], Global):
        return record.args[0].name
    return record.cls.name


def get_field(record: Record, *names: str) -> Any:
    """The first of these fields that the state has."""
    fields = record.fields()
    return next((fields[name] for name in names if name in fields), None)


def expect(holds: object, why: str) -> None:
    """Refuse a view of a record that does not hold what one of its kind holds; ``why`` says what it has."""
    if not holds:
        raise _Unplaced(why)


def add(parts: dict[str, Any], step: str, value: object) -> None:
    """Put a part under its step, or under ``step~2`` where there is one already."""
    names = itertools.chain((step,), (f"{step}~{count}" for count in itertools.count(2)))
    parts[next(name for name in names if name not in parts)] = value


def items_of(value: object) -> object:
    """The items of a FrozenList, which is a list subclass."""
    if isinstance(value, Record):
        if value.listitems:
            return value.listitems
        return next((list(item) for item in value.args if isinstance(item, list | tuple)), None)
    return value


def size_of(values: Any) -> int:
    """How many items values have; 1 of a single one."""
    if isinstance(values, np.ndarray | LazyArray):
        return values.size
    return len(values) if isinstance(values, list | tuple) else 1


def step_of_label(label: object) -> str:
    """A label of an axis as a step of a natural path."""
    if isinstance(label, bytes):
        try:
            return label.decode("utf-8")
        except UnicodeDecodeError:
            return label.decode("latin-1")
    if isinstance(label, tuple):
        return ".".join(step_of_label(part) for part in label)
    if isinstance(label, Record):
        seen = seen_record(label, None)
        return str(label if seen is None else seen)
    return str(label)


def array_and_state(record: Record) -> tuple[object, tuple[object, ...]] | None:
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
