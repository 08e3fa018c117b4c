"""Objects of foreign libraries on their way into a file: what their pickle would write, as records.

A pack says of which classes it makes objects again (`Registry.rebuild`); only those are taken. Their
own ``__reduce_ex__`` says what they hold, as it does for pickle, and its parts are flattened like
any other value: arrays become members of a container, and no pickle is written.
"""

from __future__ import annotations

import copyreg
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from persist.errors import RestoreError, SchemaError
from persist.registry import Registry
from persist.registry._names import imported
from persist.tree import ABSENT, Global, Record

__all__ = ["Packs", "name_in_library", "record_of_library", "stamp_of"]

Packs = Callable[[str], Registry]
"""Returns the registry with the pack of the library of a dotted name behind it."""

_NEWOBJ = getattr(copyreg, "__newobj__")  # noqa: B009  # the name is private to type checkers
_NEWOBJ_EX = getattr(copyreg, "__newobj_ex__")  # noqa: B009


def _dotted(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def record_of_library(value: object, packs: Packs) -> Record | Global | None:
    """Return an object of a library as a record, or a singleton as its name.

    None of an object that its pack does not make again, and of a class: ``__reduce_ex__`` of a class is
    that of its instances, and a class in a file is its name.

    Raises:
        SchemaError: the object says how it is pickled in a way that has no record.
    """
    if isinstance(value, type):
        return None
    kind = type(value)
    name = _dotted(kind)
    known = packs(name)
    rebuild = known.rebuild_for(known.resolve(name))
    if rebuild is None:
        return _record_of_instance(value, name, known)
    rebuild.requires()
    reduced = _reduced(value) if rebuild.taken is None else rebuild.taken(value)
    if isinstance(reduced, str):  # a singleton, such as pandas.NA
        library = name.partition(".")[0]
        return (
            None
            if known.importable_for(f"{library}.{reduced}") is None
            else Global(library, reduced)
        )
    return _record_of(reduced, name)


def stamp_of(base: type, packs: Packs) -> dict[str, str] | None:
    """What records the installed release in a state; None if the pack of a class knows no such key."""
    if base.__module__.partition(".")[0] in (*sys.stdlib_module_names, "persist"):
        return None
    name = _dotted(base)
    known = packs(name)
    rebuild = known.rebuild_for(known.resolve(name))
    if rebuild is None or rebuild.stamp is None:
        return None
    try:
        return {rebuild.stamp: str(rebuild.requires())}
    except RestoreError:  # what the installed release writes is not known
        return None


def _record_of_instance(value: object, name: str, known: Registry) -> Record | None:
    """The record of an instance that is made again as its pickle says; None of any other."""
    listed = known.importable_for(known.resolve(name))
    if listed is None or not listed.instances:
        return None
    reduced = _reduced(value)
    return None if isinstance(reduced, str) else _record_of(reduced, name)


def _reduced(value: object) -> Any:
    """What pickle would write of an object: what `copyreg` has for its type, else what it says itself."""
    registered = copyreg.dispatch_table.get(type(value))
    return value.__reduce_ex__(2) if registered is None else registered(value)


def _record_of(reduced: tuple[Any, ...], name: str) -> Record:
    maker, args, state, listitems, dictitems = (*reduced, None, None, None)[:5]
    record = _made(maker, tuple(args), name)
    record.state = ABSENT if state is None else state
    record.listitems = list(listitems or ())
    record.dictitems = list(dictitems or ())
    return record


def _made(maker: object, args: tuple[Any, ...], name: str) -> Record:
    """A record without a state: how the object is made."""
    if maker is _NEWOBJ:
        return Record(_global(args[0]), kind="newobj", args=args[1:])
    if maker is _NEWOBJ_EX:
        return Record(_global(args[0]), kind="newobj_ex", args=tuple(args[1]), kwargs=dict(args[2]))
    if maker is copyreg._reconstructor:  # type: ignore[attr-defined]
        return Record(_global(args[0]), kind="reconstructor", args=args[1:])
    if isinstance(maker, functools.partial):  # as operator.methodcaller is pickled with keywords
        return Record(Global("functools", "partial"), kind="called", args=(maker, args))
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
    if type(value).__module__ == "typing" and imported(f"{module}.{qualname}") is not value:
        return None  # List[int] has the name of List
    if "<" in qualname or not (isinstance(value, type) or callable(value)):
        return None
    known = packs(f"{module}.{qualname}")
    name = known.resolve(f"{module}.{qualname}")
    is_found = known.importable_for(name) is not None or (
        isinstance(value, type) and known.rebuild_for(name) is not None
    )
    return Global(module, qualname) if is_found else None
