"""Objects of foreign libraries on their way into a file: what their pickle would write, as records.

A pack says of which classes it makes objects again (`Registry.rebuild`); only those are taken. Their
own ``__reduce_ex__`` says what they hold, as it does for pickle, and its parts are flattened like
any other value: arrays become members of a container, and no pickle is written.
"""

from __future__ import annotations

import copyreg
import types
from collections.abc import Callable
from typing import Any

from persist.errors import SchemaError
from persist.registry import Registry
from persist.tree import ABSENT, Global, Record

__all__ = ["Packs", "name_in_library", "record_of_library"]

Packs = Callable[[str], Registry]
"""Returns the registry with the pack of the library of a dotted name behind it."""

_NEWOBJ = getattr(copyreg, "__newobj__")  # noqa: B009  # the name is private to type checkers
_NEWOBJ_EX = getattr(copyreg, "__newobj_ex__")  # noqa: B009


def _dotted(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def record_of_library(value: object, packs: Packs) -> Record | Global | None:
    """Return an object of a library as a record, or a singleton as its name.

    None of an object that its pack does not make again.

    Raises:
        SchemaError: the object says how it is pickled in a way that has no record.
    """
    kind = type(value)
    name = _dotted(kind)
    known = packs(name)
    rebuild = known.rebuild_for(known.resolve(name))
    if rebuild is None:
        return None
    rebuild.requires()
    reduced = value.__reduce_ex__(2)
    if isinstance(reduced, str):  # a singleton, such as pandas.NA
        library = name.partition(".")[0]
        return (
            None
            if known.importable_for(f"{library}.{reduced}") is None
            else Global(library, reduced)
        )
    maker, args, state, listitems, dictitems = (*reduced, None, None, None)[:5]
    record = _made(maker, tuple(args), name)
    record.state = ABSENT if state is None else state
    record.listitems = list(listitems or ())
    record.dictitems = list(dictitems or ())
    return record


def _made(maker: Any, args: tuple[Any, ...], name: str) -> Record:
    """A record without a state: how the object is made."""
    if maker is _NEWOBJ:
        return Record(_global(args[0]), kind="newobj", args=args[1:])
    if maker is _NEWOBJ_EX:
        return Record(_global(args[0]), kind="newobj_ex", args=tuple(args[1]), kwargs=dict(args[2]))
    if maker is copyreg._reconstructor:  # type: ignore[attr-defined]
        return Record(_global(args[0]), kind="reconstructor", args=args[1:])
    if not isinstance(maker, type | types.FunctionType | types.BuiltinFunctionType) and not hasattr(
        maker, "__qualname__"
    ):
        raise SchemaError(
            f"a {name} is pickled by a call of a {type(maker).__name__}.",
            remedy="Save what it is made of.",
        )
    named = _global(maker)
    return Record(named, maker=named, kind="reduce", args=args)


def _global(value: Any) -> Global:
    return Global(value.__module__, value.__qualname__)


def name_in_library(value: object, packs: Packs) -> Global | None:
    """Return the name of a class or function that a pack finds again by it; else None."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if type(module) is not str or type(qualname) is not str:
        # A ufunc of NumPy before 2.2 has no module.
        module, qualname = type(value).__module__, getattr(value, "__name__", None)
        if type(qualname) is not str or module.partition(".")[0] != "numpy":
            return None
        module = "numpy"
    if "<" in qualname or not (isinstance(value, type) or callable(value)):
        return None
    known = packs(f"{module}.{qualname}")
    name = known.resolve(f"{module}.{qualname}")
    is_found = known.importable_for(name) is not None or (
        isinstance(value, type) and known.rebuild_for(name) is not None
    )
    return Global(module, qualname) if is_found else None
