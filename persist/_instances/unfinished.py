"""Instances that are not upgraded yet, since the state of another one is still to come.

``pickle`` never says that a load is over, and an instance without attributes is pickled without a state:
one that waits for such a state would wait for ever. So the first access upgrades it, with that other one as
it is, without attributes. Where that fails, it raises the error at every access: nobody meets
an instance with its fields missing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from persist.errors import PersistError

__all__ = ["Unfinished", "finished", "settled", "unfinished"]


class Unfinished:
    """The first in the MRO of the class that an instance has until its upgrade succeeds."""

    __slots__ = ()

    def __init_subclass__(cls, **keywords: object) -> None:
        """Keep the hooks of the user's class from running: no class of theirs is made."""

    def __getattribute__(self, name: str) -> object:
        if name == "__class__":
            return type(self)
        settled(type(self))
        return getattr(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        settled(type(self))
        setattr(self, name, value)

    def __delattr__(self, name: str) -> None:
        settled(type(self))
        delattr(self, name)

    def __repr__(self) -> str:
        try:
            settled(type(self))
        except PersistError as error:
            return f"<{type(self).__name__}, not upgraded: {error}>"
        return repr(self)


def settled(cls: type) -> type:
    """Return a class itself; of an unfinished instance its own class, after the upgrade.

    Raises:
        PersistError: the upgrade fails: the instance cannot be used, saved or copied.
    """
    if not issubclass(cls, Unfinished):
        return cls
    said: Any = vars(cls)["_persist_upgrade"]
    if isinstance(said, PersistError):
        error = copy.copy(said)  # a new one each time, as callers add the place to it
        error.__cause__ = said.__cause__
        raise error
    own: type = cls.__mro__[2]
    if said is None:  # somebody has noted the class before
        return own
    try:
        said()
    except PersistError as error:
        type.__setattr__(cls, "_persist_upgrade", error)
        raise
    type.__setattr__(cls, "_persist_upgrade", None)
    return own


def unfinished(obj: object, upgrade: Callable[[], None]) -> None:
    """Let the first access to an instance upgrade it, unless it is `finished` before.

    Args:
        obj: the instance.
        upgrade: upgrades it, and gives it its own class again; raises a `PersistError` if it cannot.

    Where Python cannot give the instance another class, it is upgraded at once.
    """
    cls = type(obj)
    try:
        object.__setattr__(obj, "__class__", _made(cls, upgrade))
    except TypeError:
        upgrade()


def _made(cls: type, upgrade: Callable[[], None]) -> type:
    """A subclass with the layout of the class, in which `Unfinished` comes before it."""

    def mro(self: type) -> list[type]:
        return [self, Unfinished, *cls.__mro__]

    kind = type.__new__(type, type(cls).__name__, (type(cls),), {"mro": mro})
    body = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type.__new__(kind, cls.__name__, (cls,), {**body, "_persist_upgrade": upgrade})


def finished(obj: object) -> None:
    """Give an instance its own class again."""
    cls = type(obj)
    if issubclass(cls, Unfinished):
        object.__setattr__(obj, "__class__", cls.__mro__[2])
