"""How objects of the standard library are made of what their pickles say.

Each function takes a record whose parts are objects already. Nothing is called but the classes of
the table in ``stdlib.py``, with arguments whose types are checked, so that no file runs code: an
iterator is made over plain containers only (one over anything else might never end), a method is
bound to plain values only, and a method is called by name (`operator.methodcaller`) only where no
object has a method of that name that writes or deletes anything.

Evidence: ``__reduce__`` of the types in ``Lib/`` and ``Modules/`` of CPython 2.7 and 3.6 to 3.14.
"""

from __future__ import annotations

import functools
import importlib
import operator
import re
import types
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from persist.errors import RestoreError, SchemaError
from persist.tree import ABSENT, Global, Record

__all__ = ["FUNCTIONS", "METHODS", "TAKEN"]

_TEXTS = (str, bytes, bytearray)
_POOLS = (list, tuple, dict, set, frozenset, deque, range, *_TEXTS)
_ATOMS = (bool, int, float, complex, type(None), range, slice, *_POOLS)
# Methods that a file may name for a call on whatever the program gives: those of texts, numbers and
# containers, without the ones by which other classes write files (Path.replace, ndarray.tofile) or
# look into code (str.format).
_CALLED = frozenset(
    name
    for kind in (str, bytes, int, float, complex, list, tuple, dict, set)
    for name in dir(kind)
    if not name.startswith("_")
) - {"replace", "format", "format_map", "remove", "clear", "pop", "popitem", "update"} | {
    "sum", "mean", "std", "var", "min", "max", "prod", "any", "all", "argmax", "argmin", "astype", "reshape", "ravel",
    "flatten", "transpose", "squeeze", "tolist", "date", "time", "isoformat", "total_seconds", "group", "groups",
}  # fmt: skip
_DEBUG = 128  # re.DEBUG prints


def _refuse(record: Record, why: str) -> RestoreError:
    return RestoreError(f"{record.qualname} {why}")


def _class(record: Record) -> Any:
    """The class of a record: of the table in ``stdlib.py``, so that no other module is imported."""
    module, _, name = record.qualname.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _called(record: Record, most: int = 1 << 16) -> tuple[Any, ...]:
    """The arguments with which the pickle calls the class or function."""
    if record.kind not in ("reduce", "newobj", "newobj_ex") or len(record.args) > most:
        raise _refuse(record, f"is made in a way that no Python writes ({record.kind})")
    return record.args


def _are_pools(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, _POOLS) or _is_iterator(value) for value in values)


def _is_iterator(value: object) -> bool:
    """Whether a value is an iterator that was made here."""
    return type(value).__module__ in ("builtins", "itertools") and hasattr(type(value), "__next__")


def _set_index(made: Any, record: Record) -> object:
    """Set the position of an iterator, which is all of its state."""
    if record.state is not ABSENT and record.state is not None:
        if type(record.state) not in (int, bool):
            raise _refuse(record, f"has a state of {type(record.state).__name__}")
        made.__setstate__(record.state)
    return made


def pattern(record: Record) -> re.Pattern[Any]:
    """``re._compile(pattern, flags)``."""
    text, flags = (*_called(record), 0)[:2]
    if not isinstance(text, str | bytes) or not isinstance(flags, int):
        raise _refuse(record, "is called without a text and its flags")
    # What Python 2 wrote has no flag for a text of Unicode; TEMPLATE (1) went with 3.13.
    return re.compile(text, int(flags) & ~_DEBUG & ~1)


def partial(record: Record) -> Any:
    """``(partial, (function,), (function, args, keywords, attributes))``."""
    if record.kind == "called":  # a methodcaller with keywords
        target, args = record.args
        if isinstance(target, functools.partial) and target.func is operator.methodcaller:
            return _methodcaller(record, (*target.args, *args), target.keywords)
        raise _refuse(record, "is called")
    state = record.state
    if type(state) is not tuple or len(state) != 4:
        raise _refuse(record, "has no state of four parts")
    function, args, keywords, attributes = state
    is_call = callable(function) and type(args) is tuple and isinstance(keywords, dict | None)
    if not is_call or not all(type(name) is str for name in keywords or ()):
        raise _refuse(record, "has a state of other parts")
    made = functools.partial(function, *args, **(keywords or {}))
    for name, value in (attributes or {}).items():
        if type(name) is not str or name.startswith("__"):
            raise _refuse(record, f"has the attribute {name!r}")
        setattr(made, name, value)
    return made


def getter(record: Record) -> Any:
    """``itemgetter(*items)``."""
    return operator.itemgetter(*_called(record))


def attributes(record: Record) -> Any:
    """``attrgetter(*names)``, of names without two underscores."""
    names = _called(record)
    for name in names:
        if type(name) is not str or any(part.startswith("__") for part in name.split(".")):
            raise _refuse(record, f"asks for {name!r}, by which Python itself finds code")
    return operator.attrgetter(*names)


def _methodcaller(record: Record, args: tuple[Any, ...], keywords: dict[str, Any]) -> object:
    name = args[0] if args else None
    if name not in _CALLED:
        raise _refuse(
            record, f"calls the method {name!r} of whatever it gets, and a file may not choose that"
        )
    return operator.methodcaller(*args, **keywords)


def caller(record: Record) -> object:
    """``methodcaller(name, *args)``."""
    return _methodcaller(record, _called(record), dict(record.kwargs))


def bound(record: Record) -> object:
    """``getattr(value, name)``: a method of a plain value, as Python 3 pickles ``"a".upper``."""
    value, name = _called(record)
    is_plain = type(value) in _ATOMS or value in _ATOMS
    if not is_plain or type(name) is not str or name.startswith("_"):
        raise _refuse(record, f"asks for {name!r} of a {type(value).__name__}")
    if name in ("format", "format_map"):
        raise _refuse(record, "asks for str.format, which looks into whatever it gets")
    return getattr(value, name)


def iterator(record: Record) -> object:
    """``iter(values)``, ``reversed(values)`` and a position."""
    (values,) = _called(record)
    if not isinstance(values, _POOLS):
        raise _refuse(record, f"is over a {type(values).__name__}")
    return _set_index(_BUILTINS[record.cls.name](values), record)


def joined(record: Record) -> Any:
    """``zip``, ``enumerate``, ``map`` and ``filter`` of iterators."""
    args = _called(record)
    function = args[:1] if record.cls.name in ("map", "filter") else ()
    rest = args[:1] if record.cls.name == "enumerate" else args[len(function) :]
    if not _are_pools(rest) or any(one is not None and not callable(one) for one in function):
        raise _refuse(record, "is of something else than iterators of plain values")
    return _set_index(_BUILTINS[record.cls.name](*args), record)


_BUILTINS: dict[str, Callable[..., object]] = {
    "iter": iter, "reversed": reversed, "zip": zip, "enumerate": enumerate, "map": map, "filter": filter,
}  # fmt: skip


def counted(record: Record) -> Any:
    """``count(start[, step])`` and ``repeat(value[, times])``: nothing is read when they are made."""
    return _class(record)(*_called(record))


def chained(record: Record) -> object:
    """The iterators of `itertools` that read their arguments one by one."""
    name = record.cls.name
    args = _called(record)
    function: tuple[object, ...] = ()
    rest = args
    if name in ("takewhile", "dropwhile", "filterfalse", "starmap"):
        function, rest = args[:1], args[1:]
    elif name == "accumulate":
        function, rest = args[1:], args[:1]
    elif name == "islice":
        rest = args[:1]
    if any(one is not None and not callable(one) for one in function):
        raise _refuse(record, "has no function where one belongs")
    if not _are_pools(rest):
        raise _refuse(record, "is of something else than iterators of plain values")
    made = _class(record)(*args)
    state = record.state
    if state is ABSENT or state is None:
        return made
    if name == "chain":
        if type(state) is not tuple or not 1 <= len(state) <= 2 or not _are_pools(state):
            raise _refuse(record, "has a state that is no iterator")
    elif name == "cycle":
        is_pair = type(state) is tuple and len(state) == 2 and type(state[0]) is list
        if not is_pair or type(state[1]) not in (int, bool):
            raise _refuse(record, "has a state without the values that it repeats")
    elif name in ("takewhile", "dropwhile", "islice"):
        if type(state) not in (int, bool):
            raise _refuse(record, "has a state that is no number")
    elif name == "zip_longest":
        pass  # the value that fills gaps
    elif name != "accumulate":  # its state is the total
        raise _refuse(record, "has a state")
    made.__setstate__(state)
    return made


def combined(record: Record) -> object:
    """``product``, ``permutations`` and ``combinations`` of values that are there, and where they are."""
    name, args, state = record.cls.name, _called(record), record.state
    pools = args if name == "product" else args[:1]
    if not all(isinstance(pool, (list, tuple, range, *_TEXTS)) for pool in pools):
        raise _refuse(record, "is of something else than plain values")
    if name != "product" and (len(args) != 2 or type(args[1]) is not int or args[1] > 1 << 20):
        raise _refuse(record, "has no number of values")
    made = _class(record)(*args)
    if state is ABSENT or state is None:
        return made
    # Positions in C arrays: each is checked here, whatever the release checks.
    if name == "product":
        counts: Any = [len(pool) for pool in pools]
        rows = [(state, counts)]
    elif name == "permutations":
        count, wanted = len(pools[0]), args[1]
        if type(state) is not tuple or len(state) != 2:
            raise _refuse(record, "has a state of other parts")
        rows = [(state[0], [count] * count), (state[1], [count + 1] * wanted)]
    else:
        rows = [(state, [len(pools[0])] * args[1])]
    for row, limits in rows:
        is_row = type(row) is tuple and len(row) == len(limits)
        if not is_row or not all(
            type(one) is int and 0 <= one < limit for one, limit in zip(row, limits, strict=True)
        ):
            raise _refuse(record, "has positions outside of its values")
    if name == "permutations" and sorted(state[0]) != list(range(len(pools[0]))):
        raise _refuse(record, "has positions that are no permutation")
    made.__setstate__(state)
    return made


def parametrized(record: Record) -> object:
    """``operator.getitem(List, (int,))``: an alias of `typing`."""
    origin, args = _called(record)
    if getattr(origin, "__module__", "") != "typing":
        raise _refuse(record, "is called with something else than a form of typing")
    return origin[args]


def generic(record: Record) -> object:
    """``types.GenericAlias(list, (int,))``."""
    origin, args = _called(record)
    if not isinstance(origin, type):
        raise _refuse(record, "is of no class")
    return types.GenericAlias(origin, args)


def union(record: Record) -> Any:
    """``functools.reduce(operator.or_, types)``: ``int | str``."""
    function, args = _called(record)
    is_or = type(function) is Global and function.qualname in ("_operator.or_", "operator.or_")
    forms = (type, types.GenericAlias, types.UnionType, type(None))
    if not is_or or type(args) is not tuple or not args:
        raise _refuse(record, "is no union of types")
    if not all(isinstance(one, forms) or type(one).__module__ == "typing" for one in args):
        raise _refuse(record, "is of something else than types")
    made: Any = functools.reduce(operator.or_, args)
    return made


def stream(record: Record) -> Any:
    """``BytesIO`` and ``StringIO``: contents, position."""
    state = record.state
    is_text = record.cls.name == "StringIO"
    made = _class(record)()
    if type(state) is not tuple or len(state) != (4 if is_text else 3):
        raise _refuse(record, "has a state of other parts")
    if any(name.startswith("__") for name in state[-1] or ()):
        raise _refuse(record, "has attributes that no file may set")
    made.__setstate__(state)
    return made


def element(record: Record) -> object:
    """``xml.etree.ElementTree.Element``: tag, attributes, text, tail, children."""
    from xml.etree.ElementTree import Element

    state = record.state
    if type(state) is not dict or not set(state) <= {"tag", "_children", "attrib", "text", "tail"}:
        raise _refuse(record, "has a state of other parts")
    attrib = state.get("attrib") or {}
    tag: Any = state.get("tag")  # of a comment it is a function
    made = Element(tag, attrib)
    made.text, made.tail = state.get("text"), state.get("tail")
    made.extend(state.get("_children") or [])
    return made


def c_number(record: Record) -> object:
    """``_ctypes._unpickle(c_int, ({}, b"..."))``: a number of C."""
    import ctypes

    kind, state = _called(record)
    is_simple = isinstance(kind, type) and kind.__name__ in _NUMBERS and kind.__module__ == "ctypes"
    if not is_simple or type(state) is not tuple or len(state) != 2 or state[0]:
        raise _refuse(record, "is no number")
    if type(state[1]) is not bytes or len(state[1]) != ctypes.sizeof(kind):
        raise _refuse(record, "has other bytes than a number has here")
    return kind.from_buffer_copy(state[1])


_NUMBERS = frozenset(
    ("c_bool", "c_byte", "c_ubyte", "c_short", "c_ushort", "c_int", "c_uint", "c_long", "c_ulong",
     "c_longlong", "c_ulonglong", "c_float", "c_double", "c_longdouble", "c_size_t", "c_ssize_t", "c_char")
)  # fmt: skip


def logger(record: Record) -> object:
    """``logging.getLogger(name)``; `logging` gives one logger for each name."""
    import logging

    name = (*_called(record, 1), "")[0]
    if type(name) is not str:
        raise _refuse(record, "has no name")
    return logging.getLogger(name)


def kind_of(record: Record) -> Any:
    """``type(None)``, ``type(...)``: how pickle names types without a name."""
    (value,) = _called(record)
    if value is not None and value is not ... and value is not NotImplemented:
        raise _refuse(record, "is called with something else than a constant")
    return type(value)


def factory_dict(record: Record) -> object:
    """``defaultdict(factory)`` with a factory that is no builtin type: one of `partial`, a declared class."""
    (factory,) = _called(record)
    if factory is not None and not callable(factory):
        raise _refuse(record, "has a factory that cannot be called")
    made: defaultdict[Any, Any] = defaultdict(factory)
    made.update(record.dictitems)
    return made


def taken_caller(value: object) -> object:
    """What ``__reduce_ex__`` says of a methodcaller, if a load makes it again.

    Raises:
        SchemaError: it calls a method that no file may choose.
    """
    reduced: Any = value.__reduce_ex__(2)
    name = reduced[1][0] if isinstance(reduced[0], type) else reduced[0].args[0]
    if name not in _CALLED:
        raise SchemaError(
            f"an operator.methodcaller of {name!r} cannot be saved: a file may not choose which method "
            "is called, but those of texts, numbers and containers.",
            remedy="Save the name of the method and its arguments, or name the caller: "
            "persist.constant(name, value).",
        )
    return reduced


def taken_union(value: Any) -> object:
    """``int | str`` as `copyreg` has it, with the name of the operator, which is no function to be saved."""
    return functools.reduce, (Global("_operator", "or_"), value.__args__)


def taken(value: object) -> Any:
    """What ``__reduce_ex__`` says of an object of `itertools`, without the warning of 3.12 and 3.13."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return value.__reduce_ex__(2)


_ITERATORS = (
    "list_iterator", "list_reverseiterator", "tuple_iterator", "str_iterator", "str_ascii_iterator", "bytes_iterator",
    "bytearray_iterator", "range_iterator", "longrange_iterator", "set_iterator", "iterator", "dict_keyiterator",
    "dict_valueiterator", "dict_itemiterator", "dict_reversekeyiterator", "dict_reversevalueiterator",
    "dict_reverseitemiterator",
)  # fmt: skip
_ALIASES = (
    "_GenericAlias", "_UnionGenericAlias", "_CallableGenericAlias", "_LiteralGenericAlias", "_AnnotatedAlias",
    "_ConcatenateGenericAlias", "_UnpackGenericAlias", "_TypingEllipsis",
)  # fmt: skip
_READ_ONE_BY_ONE = (
    "chain", "cycle", "islice", "zip_longest", "accumulate", "compress", "starmap", "takewhile", "dropwhile",
    "filterfalse",
)  # fmt: skip

# Function -> the names that it makes objects of: what pickles call, and the types themselves, by which
# `persist.save` finds them.
FUNCTIONS: dict[Callable[[Record], object], tuple[str, ...]] = {
    pattern: ("re._compile", "re.Pattern", "_sre.SRE_Pattern"),
    partial: ("functools.partial",),
    getter: ("operator.itemgetter",),
    attributes: ("operator.attrgetter",),
    caller: ("operator.methodcaller",),
    bound: (
        "builtins.getattr",
        "builtins.builtin_function_or_method",
        "builtins.method_descriptor",
    ),
    iterator: (
        *("builtins.iter", "builtins.reversed"),
        *(f"builtins.{name}" for name in _ITERATORS),
    ),
    joined: ("builtins.zip", "builtins.enumerate", "builtins.map", "builtins.filter"),
    counted: ("itertools.count", "itertools.repeat"),
    chained: tuple(f"itertools.{name}" for name in _READ_ONE_BY_ONE),
    combined: tuple(
        f"itertools.{name}"
        for name in ("product", "permutations", "combinations", "combinations_with_replacement")
    ),
    parametrized: (
        *("operator.getitem", "_operator.getitem"),
        *(f"typing.{name}" for name in _ALIASES),
    ),
    generic: ("types.GenericAlias",),
    union: ("functools.reduce", "_functools.reduce", "types.UnionType"),
    factory_dict: ("collections.defaultdict",),
    stream: ("_io.BytesIO", "_io.StringIO", "io.BytesIO", "io.StringIO"),
    element: ("xml.etree.ElementTree.Element",),
    c_number: (
        "_ctypes._rebuild",
        "_ctypes._unpickle",
        *(f"ctypes.{name}" for name in sorted(_NUMBERS)),
    ),
    logger: ("logging.getLogger", "logging.Logger", "logging.RootLogger"),
    kind_of: ("builtins.type",),
}

# Function -> what takes its objects apart, where that is not `__reduce_ex__`.
TAKEN: dict[Callable[[Record], object], Callable[[Any], object]] = {
    counted: taken, chained: taken, combined: taken, caller: taken_caller, union: taken_union,
}  # fmt: skip

# Dotted name -> method of a builtin type, as pickles name ``str.split``; and the types that have no name.
_KINDS: dict[str, type] = {
    **{kind.__name__: kind for kind in (str, bytes, bytearray, int, float, complex, list, tuple, dict, set, frozenset)},
    "unicode": str, "long": int,  # as protocols 0 to 2 spell them
}  # fmt: skip
METHODS: dict[str, object] = {
    f"builtins.{kind_name}.{name}": getattr(kind, name)
    for kind_name, kind in _KINDS.items()
    for name in dir(kind)
    if not name.startswith("_") and callable(getattr(kind, name))
} | {
    "builtins.ellipsis": type(...),
    "builtins.NotImplementedType": type(NotImplemented),
    "builtins.NoneType": type(None),
}
