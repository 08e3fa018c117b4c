"""Functions that were put on a class, for a pickle that sends the class itself.

cloudpickle (joblib, dask and ray with it) sends a class of a notebook with all that is in its
``__dict__``. The methods that `persist._instances.compiled_current` compiles there hold the class's private machinery, so
they go by reference, to this module. In the process that wrote them the reference is the function;
in any other it is one that finds the machinery anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persist._instances.adapter import adapter_of
from persist._instances.compiled_current import INSTALLED
from persist._instances.own_setstate import default_setstate, is_busy
from persist.schema import OWN_SETSTATE

__all__: list[str] = []

_arrived: dict[str, Callable[..., object]] = {}


def __getattr__(name: str) -> object:
    known = INSTALLED.get(name) or _arrived.get(name)
    if known is not None:
        return known
    if name.startswith("__reduce_ex___"):
        made = _reducing()
    elif name.startswith("__setstate___"):
        made = _setting()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made.__module__, made.__qualname__ = __name__, name
    made._persist_own = True  # type: ignore[attr-defined]
    _arrived[name] = made
    return made


def _reducing() -> Callable[..., object]:
    def __reduce_ex__(self: Any, protocol: object) -> object:  # noqa: N807
        return adapter_of(type(self)).reduce(self)

    return __reduce_ex__


def _setting() -> Callable[..., object]:
    def __setstate__(self: object, state: object) -> None:  # noqa: N807
        if not is_busy(self):
            adapter_of(type(self)).load(self, state)
            return
        # Called by the __setstate__ of a subclass: run the one that the class with this function wrote.
        own = None
        for base in type(self).__mro__:
            held = vars(base).get("__setstate__")
            if held is __setstate__ or getattr(held, "_persist_general", None) is __setstate__:
                own = vars(base).get(OWN_SETSTATE)
        (default_setstate if own is None else own)(self, state)

    return __setstate__
