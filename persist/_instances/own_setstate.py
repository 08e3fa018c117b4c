"""Which objects are having their own ``__setstate__`` run, and what the default one does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from persist._instances.machinery import is_machinery, refuse_machinery
from persist.schema import dotted
from persist.tree import is_slots_pair

__all__ = ["busy", "default_setstate", "is_busy", "occupied"]


class _Busy(threading.local):
    """The objects whose own ``__setstate__`` is running, in this thread."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.upgrades: list[type] = []  # the classes whose steps are running


busy = _Busy()


def is_busy(obj: object) -> bool:
    """Whether the instance's own ``__setstate__`` is running, in this thread."""
    return id(obj) in busy.ids


@contextlib.contextmanager
def occupied(obj: object) -> Iterator[None]:
    """Note that the ``__setstate__`` of an instance is running, in this thread."""
    busy.ids.append(id(obj))
    try:
        yield
    finally:
        busy.ids.pop()


def default_setstate(obj: object, state: Any) -> None:
    """What ``super().__setstate__(state)`` does where no base wrote one: the attributes are set."""
    parts = state if is_slots_pair(state) else (state,)
    for part in parts:
        if part is not None:
            if not isinstance(part, dict):
                raise TypeError(
                    f"a state of {type(part).__name__} needs a __setstate__ of its own."
                )
            refuse_machinery(
                (name for name, value in part.items() if is_machinery(name, value)),
                f"class {dotted(type(obj))}",
            )
            for name, value in part.items():
                object.__setattr__(obj, name, value)
