"""The calls by which pickle would make an instance of a trusted class and set its state."""

from __future__ import annotations

from typing import Any

from persist._instances.builtin_bases import base_in_c, can_make, reconstructed
from persist._instances.machinery import (
    is_machinery,
    machinery_in,
    refuse_changed,
    refuse_machinery,
)
from persist.tree import (
    is_slots_pair,
)

__all__ = ["append_to", "made_by_call", "set_attribute", "set_state"]

set_attribute = object.__setattr__


def made_by_call(cls: Any, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """Make an instance of a trusted class with the call that its pickle states."""
    refuse_machinery(filter(is_machinery, kwargs))
    if kind == "reconstructor":
        return reconstructed(cls, args[1] if len(args) > 1 else None)
    if kind == "reduce" or (kind in ("inst", "obj") and args):
        return cls(*args)
    if not can_make(cls, args, kwargs) and not hasattr(cls, "__getnewargs_ex__"):
        return base_in_c(cls).__new__(cls, *args)
    if kind in ("inst", "obj"):
        return cls.__new__(cls)
    return cls.__new__(cls, *args, **kwargs)


def append_to(obj: Any, item: object) -> None:
    """Append an item as pickle does, by the method of the instance."""
    obj.append(item)


def set_state(obj: object, state: Any) -> None:
    """Do what the opcode BUILD of pickle does, to a new instance."""
    setter = getattr(obj, "__setstate__", None)
    if setter is not None:
        cls = type(obj)
        if isinstance(obj, BaseException):  # of C: it sets whatever the state names
            refuse_machinery(machinery_in(state))
        setter(state)
        refuse_changed(obj, cls, state)
        return
    for part in state if is_slots_pair(state) else (state,):
        if part is None:
            continue
        if not isinstance(part, dict):
            raise TypeError(f"its state is a {type(part).__name__}, and it has no __setstate__")
        refuse_machinery(name for name, value in part.items() if is_machinery(name, value))
        for name, value in part.items():
            if not isinstance(name, str):
                raise TypeError(f"its state has the key {name!r}, which cannot be an attribute")
            object.__setattr__(obj, name, value)
