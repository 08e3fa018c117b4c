"""What all of them need: the installed pandas, and the parts of a record."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from persist._wire.pickle.numpy_rebuild import array_of_parts
from persist.errors import RestoreError
from persist.packs import Record
from persist.tree import Global
from persist.typing import State

__all__ = [
    "MAKERS",
    "TAKE_CLASSES",
    "array_and_state",
    "class_of",
    "expect",
    "fields",
    "maker",
    "named",
    "pandas",
]

MAKERS: dict[str, Callable[[Record], Any]] = {}
"""The last step of a class's or function's name -> how its records become objects."""


def maker(*names: str) -> Callable[[Callable[[Record], Any]], Callable[[Record], Any]]:
    """Declare how records of some classes become objects, by the last step of their names."""

    def decorate(function: Callable[[Record], object]) -> Callable[[Record], object]:
        MAKERS.update(dict.fromkeys(names, function))
        return function

    return decorate


def pandas() -> Any:
    """The installed pandas."""
    return importlib.import_module("pandas")


def class_of(record: Record) -> str:
    """The last part of the name of a record's class, also where a function is given the class."""
    first = record.args[0] if record.args else None
    if isinstance(first, Global) and record.cls.name in TAKE_CLASSES:
        return first.name.rpartition(".")[2]
    return record.cls.name


TAKE_CLASSES = frozenset(
    (
        "_new_Index", "_new_DatetimeIndex", "_new_TimedeltaIndex", "_new_PeriodIndex", "_new_IntervalIndex",
        "__pyx_unpickle_NDArrayBacked", "__pyx_unpickle_IntervalMixin", "__pyx_unpickle_PeriodMixin",
    )
)  # fmt: skip
"""Functions of pandas that are given the class of what they make."""


def fields(record: Record) -> State:
    """The attributes of a state: a dict, a tuple with dicts in it, or the slots next to a dict."""
    state = record.state
    if isinstance(state, dict):
        return state
    found: dict[str, Any] = {}
    for part in state if isinstance(state, tuple) else ():
        if isinstance(part, dict):
            found.update(part)
    return found


def array_and_state(record: Record) -> tuple[Any, tuple[Any, ...]] | None:
    """The array of a subclass of ndarray (0.12 and before, FrozenNDArray) and the class's own state."""
    state = record.state
    made = record.maker.name if record.maker is not None else record.cls.name
    if made != "_reconstruct" or not isinstance(state, tuple):
        return None
    if len(state) == 3 and isinstance(state[0], tuple) and len(state[0]) == 2:
        # DateRange of 0.7: ((the array's, (name,)), offset, zone)
        (inner, name), offset, zone = state
        own = (*(name if isinstance(name, tuple) else (name,)), offset, zone)
        array = array_of_parts(inner) if isinstance(inner, tuple) else None
    elif len(state) == 2 and isinstance(state[0], tuple):
        own = state[1] if isinstance(state[1], tuple) else (state[1],)
        array = array_of_parts(state[0])
    else:
        own, array = (), array_of_parts(state)
    return None if array is None else (np.asarray(array), own)


def named(values: dict[str, Any], *names: str, default: object = None) -> Any:
    """The first of some names that a dict has."""
    return next((values[name] for name in names if name in values), default)


def expect(holds: object, why: str) -> None:
    """Refuse a record whose parts do not fit together.

    Raises:
        RestoreError: ``holds`` is not true.
    """
    if not holds:
        raise RestoreError(why)
