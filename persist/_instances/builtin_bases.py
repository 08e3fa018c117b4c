"""Subclasses of built-in types: save and restore the data that the built-in base holds.

The four functions that builders of trees use are in `persist.versioned`; those that need no registry
are defined here.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import attrs
import numpy as np

from persist import schema as _schema
from persist._instances.machinery import is_machinery, refuse_machinery
from persist.errors import SchemaError
from persist.schema import dotted
from persist.tree import Record
from persist.typing import Array

__all__ = [
    "Contents",
    "attributes_of",
    "base_in_c",
    "builtin_of",
    "can_make",
    "fill",
    "has",
    "make",
    "make_array",
    "makes_itself",
    "reconstructed",
    "unpacked",
]


class Contents(NamedTuple):
    """The contents of a record in addition to its state, from any spelling in a pickle."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    listitems: list[Any]
    dictitems: list[tuple[Any, Any]]
    array: Any
    by_base: bool = False  # made by the built-in base, not by the __new__ of the class


_HELD = (
    object, list, dict, OrderedDict, defaultdict, set, frozenset, tuple, int, float, complex, str, bytes, np.ndarray,
)  # fmt: skip


def builtin_of(cls: type) -> type:
    """Return the class of the MRO that is implemented in C and holds data of its own.

    Raises:
        SchemaError: such subclasses are not supported.
    """
    if cls in _schema.MAKERS:
        return object  # functions that the user gave take all of it
    for base in cls.__mro__:
        in_c = not base.__flags__ & (1 << 9) or base.__flags__ & (
            1 << 8
        )  # no heap type, or immutable
        if in_c or base is np.ndarray:
            held = base in _HELD or issubclass(base, BaseException)
            if held and not issubclass(cls, np.ma.MaskedArray):
                return base
            raise SchemaError(
                f"subclasses of {dotted(base)} are not supported.",
                where=f"class {dotted(cls)}",
                remedy="Keep one in a field instead of inheriting from it.",
                schema=dotted(cls),
            )
    return object


def written_names(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if base is not object for name in vars(base)}


def converters_of(cls: type) -> dict[str, Callable[[Any, Any], object]]:
    """Attribute -> (instance, value) -> value, of an attrs class."""
    found: dict[str, Callable[[Any, Any], Any]] = {}
    for attribute in getattr(cls, "__attrs_attrs__", ()):
        converter = attribute.converter
        if converter is None:
            continue
        if isinstance(converter, getattr(attrs, "Converter", ())):
            found[attribute.name] = functools.partial(_call_converter, converter, attribute)
        else:
            found[attribute.name] = functools.partial(_call_plain, converter)
    return found


def _call_converter(converter: Any, attribute: object, obj: object, value: object) -> object:
    return converter(value, obj, attribute)


def _call_plain(converter: Any, obj: object, value: object) -> object:
    return converter(value)


def validators_of(cls: type) -> list[object]:
    return [
        attribute
        for attribute in getattr(cls, "__attrs_attrs__", ())
        if attribute.validator is not None
    ]


def has(obj: object, attribute: str) -> bool:
    """Whether an instance has an attribute, without asking its ``__getattr__``."""
    try:
        object.__getattribute__(obj, attribute)
    except AttributeError:
        return False
    return True


def attributes_of(obj: object) -> Iterator[tuple[str, object]]:
    """Yield every attribute that an instance has, in its ``__dict__`` and in slots."""
    yield from list(getattr(obj, "__dict__", {}).items())
    for base in type(obj).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if name in ("__dict__", "__weakref__"):
                continue
            attribute = _schema.mangled(name, base)
            if has(obj, attribute):
                yield attribute, object.__getattribute__(obj, attribute)


def make_array(cls: type, array: Array) -> object:
    """Make an instance of an ndarray subclass that shares the memory of an array."""
    return np.ndarray.view(np.asarray(array), cls)


# Its name in files (docs/envelope.md).
make_array.__module__, make_array.__qualname__ = "persist.versioned", "_array"
make_array.__name__ = "_array"


def unpacked(cls: type, record: Record) -> Contents:
    """Return the contents of a record in addition to its state, from any spelling in a pickle."""
    base = builtin_of(cls)
    args, listitems, dictitems = record.args, list(record.listitems), list(record.dictitems)
    array = None
    by_base = record.kind == "reconstructor"
    if record.kind == "reconstructor":
        value = args[1] if len(args) > 1 else None
        args = ()
        if isinstance(value, dict):
            dictitems = [*value.items(), *dictitems]
        elif base in (list, set) and isinstance(value, list | set):
            listitems = [*value, *listitems]
        elif value is not None:
            args = (value,)
    elif record.kind == "reduce" and base is np.ndarray:
        array = next((item for item in args if isinstance(item, np.ndarray)), None)
        args = ()
    elif base is set and len(args) == 1:
        listitems, args = [*args[0], *listitems], ()
    elif base is object and record.kind in ("inst", "obj", "reduce"):
        args, by_base = (), True  # what it was called with is its state, or nothing
    return Contents(args, dict(record.kwargs), listitems, dictitems, array, by_base)


def make(
    cls: type,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, object] | None = None,
    array: Any = None,
    by_base: bool = False,
) -> Any:
    """Make an instance without calling ``__init__``; it has no state yet.

    Args:
        cls: a class that is declared.
        args: what `Contents` gives.
        kwargs: likewise.
        array: of a subclass of ndarray, whose memory the instance shares.
        by_base: let the builtin base make it, as pickle's protocols 0 and 1 do.

    Raises:
        SchemaError: a keyword has a name that no file may set.
    """
    refuse_machinery(filter(is_machinery, kwargs or ()), f"class {dotted(cls)}")
    if cls in _schema.MAKERS:
        maker, _ = _schema.MAKERS[cls]
        new: Any = object.__new__ if maker is None else maker
        return new(cls) if maker is None else new()
    base = builtin_of(cls)
    if base is np.ndarray and array is not None:
        return make_array(cls, array)
    chosen = {"__getnewargs__", "__getnewargs_ex__"} & {
        name
        for owner in cls.__mro__
        for name, value in vars(owner).items()
        if isinstance(value, types.FunctionType)
    }
    if chosen and not by_base and (args or kwargs or can_make(cls)):
        return cls.__new__(cls, *args, **(kwargs or {}))
    if base in (object, list, set) or issubclass(base, dict):
        return base.__new__(cls)
    made: Any = base.__new__(cls, *args, **(kwargs or {}))
    if issubclass(base, BaseException) and base not in (BaseException, Exception):
        base.__init__(made, *args)
    return made


def can_make(
    cls: type, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
) -> bool:
    """Whether the ``__new__`` of a class can be called with these arguments.

    One that needs others was never meant to be called by pickle: there the
    builtin base makes the instance, as `copyreg` does in protocols 0 and 1.
    """
    written = cls.__new__
    if not isinstance(written, types.FunctionType):
        return True
    try:
        inspect.signature(written).bind(cls, *args, **(kwargs or {}))
    except TypeError:
        return False
    return True


def makes_itself(cls: type) -> bool:
    """Whether a class says itself with what its ``__new__`` is to be called."""
    return "__getnewargs_ex__" in written_names(cls) or any(
        isinstance(vars(base).get("__getnewargs__"), types.FunctionType) for base in cls.__mro__
    )


def base_in_c(cls: type) -> type:
    """The first class of the MRO that no Python code made, as `copyreg` chooses it."""
    return next(base for base in cls.__mro__ if not base.__flags__ & (1 << 9))


def reconstructed(cls: Any, value: Any) -> object:
    """Make an instance as `copyreg._reconstructor` does, by the base of the class that is here.

    Args:
        cls: of any kind.
        value: of its base (a tuple, a dict, a number ...); None where it had none.
    """
    base: Any = base_in_c(cls)
    if base is object or value is None:
        return base.__new__(cls)
    made = base.__new__(cls, value)
    if base.__init__ is not object.__init__:
        base.__init__(made, value)
    return made


def fill(
    obj: Any, listitems: Iterable[Any] = (), dictitems: Iterable[tuple[object, object]] = ()
) -> None:
    """Add items to an instance of a list, set or dict subclass with the methods of the built-in type."""
    base = builtin_of(type(obj))
    if base is list:
        list.extend(obj, listitems)
    elif base is set:
        set.update(obj, listitems)
    elif issubclass(base, dict):
        is_own = getattr(obj, "__dict__", None) is obj  # then its items are its attributes
        for name, value in dictitems:
            if is_own and is_machinery(name, value):
                refuse_machinery([name], f"class {dotted(type(obj))}")
            base.__setitem__(obj, name, value)
