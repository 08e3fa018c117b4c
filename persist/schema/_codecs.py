"""The ``__getstate__`` and ``__setstate__`` that somebody wrote for a class."""

from __future__ import annotations

import types
from typing import Any

__all__ = ["OWN_GETSTATE", "OWN_SETSTATE", "codec_of", "is_written"]

OWN_SETSTATE = "_persist_setstate"  # in the __dict__ of a class: the __setstate__ that it wrote
OWN_GETSTATE = "_persist_getstate"  # likewise: what takes its state, where that is not __getstate__


def codec_of(cls: type, layers: set[type]) -> tuple[Any, Any]:
    """The ``__getstate__`` and ``__setstate__`` that a class wrote, or took from an undeclared base."""
    covered = {base for layer in layers - {cls} if issubclass(cls, layer) for base in layer.__mro__}
    getstate = setstate = None
    for base in cls.__mro__:
        if base is not cls and base in covered:
            continue
        own = vars(base)
        if getstate is None:
            getstate = own.get(OWN_GETSTATE) or _written(own.get("__getstate__"))
        if setstate is None:
            setstate = own.get(OWN_SETSTATE) or _written(own.get("__setstate__"))
    return getstate, setstate


def _written(function: object) -> object:
    """A function that somebody wrote: not a builtin, not one that attrs or dataclasses made."""
    if not isinstance(function, types.FunctionType) or hasattr(function, "_persist_own"):
        return None
    if function.__module__ == "dataclasses" or function.__code__.co_name in _GENERATED:
        return None
    return function


_GENERATED = frozenset(
    ("slots_getstate", "slots_setstate", "_dataclass_getstate", "_dataclass_setstate")
)


def is_written(function: object) -> bool:
    """True if a ``__getstate__`` or ``__setstate__`` is the class's own, not a generated one."""
    return _written(function) is not None
