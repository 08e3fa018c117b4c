"""Instances whose upgrade failed while the state of another one was still to come.

``pickle`` never says that a load is over, so an instance that waits for a state which never comes (an
instance without attributes is pickled without one) cannot raise then. Until its upgrade succeeds, it
raises the error at every access instead: nobody meets an instance with its fields missing.
"""

from __future__ import annotations

import copy
from typing import Any

from persist.errors import PersistError

__all__ = ["Unfinished", "finished", "refuse", "unfinished"]


class Unfinished:
    """The first in the MRO of the class that an instance has until its upgrade succeeds."""

    __slots__ = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Keep the hooks of the user's class from running: no class of theirs is made."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return type(self)
        raise _error_of(self)

    def __setattr__(self, name: str, value: Any) -> None:
        raise _error_of(self)

    def __delattr__(self, name: str) -> None:
        raise _error_of(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, not upgraded: {_error_of(self)}>"


def _error_of(obj: Any) -> PersistError:
    return _error_in(type(obj))


def _error_in(cls: type) -> PersistError:
    """The error of a made class: a new one each time, as callers add the place to it."""
    found: PersistError = cls.__dict__["_persist_error"]
    error = copy.copy(found)
    error.__cause__ = found.__cause__
    return error


def unfinished(obj: Any, error: PersistError) -> None:
    """Let an instance raise an error at every access, until it is `finished`.

    Raises:
        PersistError: the error itself, where Python cannot give the instance another class.
    """
    cls = type(obj)
    try:
        object.__setattr__(obj, "__class__", _made(cls, error))
    except TypeError:
        raise error from error.__cause__


def _made(cls: type, error: PersistError) -> type:
    """A subclass with the layout of the class, in which `Unfinished` comes before it."""

    def mro(self: type) -> list[type]:
        return [self, Unfinished, *cls.__mro__]

    kind = type.__new__(type, type(cls).__name__, (type(cls),), {"mro": mro})
    body = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type.__new__(kind, cls.__name__, (cls,), {**body, "_persist_error": error})


def finished(obj: Any) -> None:
    """Give an instance its own class again."""
    cls = type(obj)
    if issubclass(cls, Unfinished):
        object.__setattr__(obj, "__class__", cls.__mro__[2])


def refuse(cls: type) -> None:
    """Refuse the class of an unfinished instance: it cannot be saved or copied."""
    if issubclass(cls, Unfinished):
        raise _error_in(cls)
