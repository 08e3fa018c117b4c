"""How pickles of both Pythons spell the standard library's plain values.

Each function here is ours, checks its parts, and builds an exact standard type;
what does not fit stays a record. Names are those that CPython 2.3 to 3.14
write; the sources are the ``__reduce__`` methods of the types themselves
(``datetime``, ``decimal``, ``collections``, ``array``, ``uuid``, ``pathlib`` ...).
"""

from __future__ import annotations

import array as array_module
import datetime
import fractions
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from persist._runtime.lazy_regex import regex
from persist._wire.pickle.handlers import INERT, Finisher, Rebuilder
from persist._wire.pickle.machine import Machine
from persist._wire.pickle.opcodes.containers import hashable_set, set_pairs
from persist._wire.pickle.timezones import named, zone_of
from persist.tree import ABSENT, Global, Record, typed_array
from persist.typing import Array

__all__ = ["FINISH", "REBUILD"]

REBUILD: dict[str, Rebuilder] = {}
FINISH: dict[str, Finisher] = {}

_FACTORIES: dict[str, Any] = {
    "list": list, "dict": dict, "int": int, "float": float, "set": set, "str": str,
    "tuple": tuple, "bool": bool, "bytes": bytes, "frozenset": frozenset, "complex": complex,
    "unicode": str, "long": int,
}  # fmt: skip
_FACTORIES_OF_COLLECTIONS: dict[str, Any] = {
    f"collections.{kind.__name__}": kind for kind in (Counter, OrderedDict, deque)
}


def _rebuilds(*names: str) -> Callable[[Rebuilder], Rebuilder]:
    def register(function: Rebuilder) -> Rebuilder:
        REBUILD.update(dict.fromkeys(names, function))
        return function

    return register


def _finishes(*names: str) -> Callable[[Finisher], Finisher]:
    def register(function: Finisher) -> Finisher:
        FINISH.update(dict.fromkeys(names, function))
        return function

    return register


def _builtin(*names: str) -> Callable[[Rebuilder], Rebuilder]:
    return _rebuilds(
        *(f"{module}.{name}" for name in names for module in ("__builtin__", "builtins"))
    )


# Text, bytes and numbers.


@_rebuilds("_codecs.encode")
def _encode(machine: Machine, args: tuple[object, ...]) -> object:
    """Protocols 0 to 2 of Python 3 have no bytes: they write latin-1 text and its encoding."""
    text, encoding = args if len(args) == 2 else (*args, "utf-8")
    # Looking up an encoding would import a module of that name: only these are known.
    if isinstance(text, str) and encoding in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        return text.encode(encoding)
    return INERT


@_builtin("bytes")
def _bytes(machine: Machine, args: tuple[object, ...]) -> object:
    if not args:
        return b""
    if len(args) == 1 and isinstance(args[0], list):
        return bytes(args[0])
    return args[0] if len(args) == 1 and isinstance(args[0], bytes) else INERT


@_builtin("bytearray")
def _bytearray(machine: Machine, args: tuple[object, ...]) -> object:
    """Python 2 gives text and its encoding (and its state None), Python 3 bytes."""
    if not args:
        return bytearray()
    if len(args) == 1 and isinstance(args[0], bytes | bytearray | str):
        data = machine.raw(args[0])
        return INERT if data is None else bytearray(data)
    text, encoding = args[0], args[1]
    if isinstance(text, str) and encoding in ("latin-1", "latin1"):
        return bytearray(text.encode("latin-1"))
    return INERT


@_builtin("complex")
def _complex(machine: Machine, args: tuple[Any, ...]) -> object:
    if all(isinstance(part, int | float) for part in args) and len(args) == 2:
        return complex(*args)
    return INERT


@_builtin("int", "long", "float", "bool", "str", "unicode")
def _scalar(machine: Machine, args: tuple[object, ...]) -> object:
    """A reduced scalar: NumPy's and SymPy's pickles hold ``int(text)`` and the like."""
    return args[0] if len(args) == 1 and type(args[0]) in (int, float, bool, str) else INERT


# Containers.


@_builtin("set")
def _set(machine: Machine, args: tuple[Any, ...]) -> object:
    return hashable_set(machine, list(args[0])) if len(args) == 1 and _items(args[0]) else INERT


@_builtin("frozenset")
def _frozenset(machine: Machine, args: tuple[Any, ...]) -> object:
    if not args:
        return frozenset()
    items = args[0]
    return frozenset(hashable_set(machine, list(items))) if _items(items) else INERT


@_rebuilds("sets.Set", "sets.ImmutableSet")
def _old_set(machine: Machine, args: tuple[Any, ...]) -> object:
    return hashable_set(machine, list(args[0])) if len(args) == 1 and _items(args[0]) else INERT


@_builtin("list")
def _list(machine: Machine, args: tuple[Any, ...]) -> object:
    return list(args[0]) if len(args) == 1 and _items(args[0]) else INERT if args else []


@_builtin("dict")
def _dict(machine: Machine, args: tuple[object, ...]) -> object:
    return {} if not args else INERT


@_builtin("tuple")
def _tuple(machine: Machine, args: tuple[Any, ...]) -> object:
    return tuple(args[0]) if len(args) == 1 and _items(args[0]) else INERT


@_builtin("slice")
def _slice(machine: Machine, args: tuple[object, ...]) -> object:
    # CPython frees (and 3.12 hashes) a slice of slices by recursion; numbers and names are genuine.
    if len(args) != 3 or any(isinstance(part, slice | deque | defaultdict) for part in args):
        return INERT
    return slice(*args)


@_builtin("range", "xrange")
def _range(machine: Machine, args: tuple[Any, ...]) -> object:
    return range(*args) if all(type(part) is int for part in args) else INERT


@_rebuilds("collections.OrderedDict", "ordereddict.OrderedDict", "_collections.OrderedDict")
def _ordered_dict(machine: Machine, args: tuple[Any, ...]) -> object:
    result: OrderedDict[object, object] = OrderedDict()
    if len(args) == 1 and _items(args[0]):
        pairs = [part for pair in args[0] for part in _pair(pair)]
        set_pairs(machine, result, pairs)
    elif args:
        return INERT
    return result


@_rebuilds("collections.defaultdict")
def _defaultdict(machine: Machine, args: tuple[object, ...]) -> object:
    """A factory that is a built-in type, or one of collections', is kept; any other would be a call: a record."""
    if not args or args == (None,):
        return defaultdict()
    factory = args[0]
    if len(args) != 1 or not isinstance(factory, Global):
        return INERT
    if factory.module in ("__builtin__", "builtins"):
        known = _FACTORIES.get(factory.name)
    else:
        known = _FACTORIES_OF_COLLECTIONS.get(factory.qualname)
    return INERT if known is None else defaultdict(known)


@_rebuilds("collections.Counter")
def _counter(machine: Machine, args: tuple[object, ...]) -> object:
    result: Counter[object] = Counter()
    if len(args) == 1 and isinstance(args[0], dict):
        dict.update(result, args[0])
    elif args:
        return INERT
    return result


@_rebuilds("collections.deque")
def _deque(machine: Machine, args: tuple[Any, ...]) -> object:
    items, maxlen = (*args, None, None)[:2] if len(args) < 3 else (0, 0)
    if (items is None or _items(items)) and (maxlen is None or type(maxlen) is int):
        return deque(items or (), maxlen)
    return INERT


def _items(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset)


def _pair(value: object) -> tuple[object, object]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("no pair of key and value")
    return value[0], value[1]


# array.array


@_rebuilds("array._array_reconstructor")
def _array_rebuilt(machine: Machine, args: tuple[Any, ...]) -> object:
    """Python 3: (class, type code, machine format, bytes); formats as in ``array``'s docs, PEP 3118.

    Source: ``Modules/arraymodule.c``, ``mformat_descriptors``.
    """
    cls, code, form, data = args
    if not (isinstance(cls, Global) and cls.qualname == "array.array") or not isinstance(
        data, bytes
    ):
        return INERT
    if form in (18, 19, 20, 21):
        encoding = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")[form - 18]
        return typed_array("u", data.decode(encoding))
    dtype = np.dtype(_MACHINE_FORMATS[form])
    return _array_of(machine, code, np.frombuffer(data, dtype))


_MACHINE_FORMATS = (
    "u1", "i1", "<u2", ">u2", "<i2", ">i2", "<u4", ">u4", "<i4", ">i4", "<u8", ">u8", "<i8", ">i8",
    "<f4", ">f4", "<f8", ">f8",
)  # fmt: skip


@_rebuilds("array.array")
def _array(machine: Machine, args: tuple[Any, ...]) -> object:
    """Python 2 and protocol 2: (type code, list), or (type code, raw native bytes) in 2.x before 2.7."""
    code, items = args
    if code == "c":
        data = (
            machine.raw(items) if not isinstance(items, list) else "".join(items).encode("latin-1")
        )
        return np.frombuffer(data or b"", "S1")
    if code == "u" and isinstance(items, list | str):
        return typed_array("u", "".join(items))
    if isinstance(items, list):
        return typed_array(code, items)
    data = machine.raw(items)
    if data is None or code not in _NATIVE:
        return INERT
    return _array_of(machine, code, np.frombuffer(data, _NATIVE[code]))


_NATIVE = {
    "b": "i1", "B": "u1", "h": "<i2", "H": "<u2", "i": "<i4", "I": "<u4", "l": "<i8", "L": "<u8",
    "q": "<i8", "Q": "<u8", "f": "<f4", "d": "<f8",
}  # fmt: skip


def _array_of(machine: Machine, code: Any, values: Array) -> object:
    """An array of the type code asked for, widened where this machine's is too narrow."""
    machine.source.spend_copies(8 * len(values))  # an item of one byte may become one of eight
    if values.dtype.kind == "f":
        return array_module.array(code if code in "fd" else "d", values.tolist())
    signed = values.dtype.kind == "i"
    for candidate in (code, "q" if signed else "Q"):
        try:
            return array_module.array(candidate, values.tolist())
        except OverflowError:
            continue
    return INERT


# Dates and times.


@_rebuilds("datetime.datetime")
def _datetime(machine: Machine, args: tuple[Any, ...]) -> object:
    """Ten bytes of state and perhaps a zone; (bits of) ``fold`` in the month's high bit."""
    zone = args[1] if len(args) == 2 else None
    if len(args) not in (1, 2):
        return datetime.datetime(*args) if _all_ints(args) else INERT
    data = machine.raw(args[0])
    if data is None or len(data) != 10:
        return INERT
    year, month, fold = data[0] * 256 + data[1], data[2] & 127, data[2] >> 7
    day, hour, minute, second = data[3:7]
    micro = int.from_bytes(data[7:10], "big")
    moment = datetime.datetime(year, month, day, hour, minute, second, micro, fold=fold)
    if zone is None:
        return moment
    known = zone_of(zone, moment)
    return INERT if known is None else moment.replace(tzinfo=known)


@_rebuilds("datetime.date")
def _date(machine: Machine, args: tuple[Any, ...]) -> object:
    if len(args) == 3:
        return datetime.date(*args) if _all_ints(args) else INERT
    data = machine.raw(args[0]) if len(args) == 1 else None
    if data is None or len(data) != 4:
        return INERT
    return datetime.date(data[0] * 256 + data[1], data[2], data[3])


@_rebuilds("datetime.time")
def _time(machine: Machine, args: tuple[object, ...]) -> object:
    lost = args[1] if len(args) == 2 else None
    zone = zone_of(lost)
    data = machine.raw(args[0]) if args else None
    if data is None or len(data) != 6 or (zone is None and lost is not None):
        return INERT
    micro = int.from_bytes(data[3:6], "big")
    return datetime.time(data[0] & 127, data[1], data[2], micro, tzinfo=zone, fold=data[0] >> 7)


@_rebuilds("datetime.timedelta")
def _timedelta(machine: Machine, args: tuple[Any, ...]) -> object:
    return datetime.timedelta(*args) if _all_ints(args) else INERT


@_rebuilds("datetime.timezone")
def _timezone(machine: Machine, args: tuple[Any, ...]) -> object:
    if not args or not isinstance(args[0], datetime.timedelta) or len(args) > 2:
        return INERT
    if len(args) == 1 and not args[0]:
        return datetime.UTC
    return datetime.timezone(*args)


@_rebuilds("pytz._UTC")
def _pytz_utc(machine: Machine, args: tuple[object, ...]) -> object:
    return datetime.UTC


@_rebuilds("zoneinfo.ZoneInfo._unpickle")
def _zoneinfo(machine: Machine, args: tuple[object, ...]) -> object:
    """A zone by its key; one that this machine's table lacks stays a record."""
    zone = named(args[0])
    return INERT if zone is None else zone


def _all_ints(parts: tuple[Any, ...]) -> bool:
    return all(type(part) is int for part in parts)


# Numbers and names.


@_rebuilds("decimal.Decimal", "_decimal.Decimal", "cdecimal.Decimal", "_pydecimal.Decimal")
def _decimal(machine: Machine, args: tuple[object, ...]) -> object:
    return Decimal(args[0]) if len(args) == 1 and isinstance(args[0], str) else INERT


@_rebuilds("fractions.Fraction")
def _fraction(machine: Machine, args: tuple[Any, ...]) -> object:
    """Its text, or numerator and denominator."""
    if len(args) == 1 and isinstance(args[0], str):
        top, _, below = args[0].partition("/")
        return fractions.Fraction(int(top), int(below or "1"))
    if len(args) != 2 or not _all_ints(args) or any(part.bit_length() > 1 << 17 for part in args):
        return INERT  # of longer ones it takes long to find the common divisor
    return fractions.Fraction(*args)


@_finishes("uuid.UUID")
def _uuid(machine: Machine, record: Record) -> object:
    """Its state holds ``int``, and ``is_safe`` since Python 3.7."""
    fields = record.fields()
    number = fields.get("int")
    return uuid.UUID(int=number) if type(number) is int and not record.args[2:] else INERT


def _path(args: tuple[Any, ...], kind: type) -> object:
    return kind(*args) if all(isinstance(part, str) for part in args) else INERT


def _path_of(kind: str) -> Rebuilder:
    """A path of another kind of machine is a pure path here; of this kind, it is what it was."""
    is_pure = kind.startswith("Pure")
    system = "Windows" if kind.endswith("WindowsPath") else "Posix"
    pure: type = PureWindowsPath if system == "Windows" else PurePosixPath
    here = type(Path())
    made = here if not is_pure and here.__name__ == kind else pure
    return lambda machine, args: _path(args, made)


for _kind in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"):
    for _module in ("pathlib", "pathlib._local"):
        _rebuilds(f"{_module}.{_kind}")(_path_of(_kind))


@_builtin("getattr")
def _getattr(machine: Machine, args: tuple[object, ...]) -> object:
    """``getattr(class, name)`` is how a nested class or a method is named: a longer name."""
    if len(args) == 2 and isinstance(args[0], Global) and isinstance(args[1], str):
        if len(args[0].name) + len(args[1]) > 4096:  # links of a chain of such calls
            return INERT
        return Global(args[0].module, f"{args[0].name}.{args[1]}")
    return INERT


@_rebuilds("dill._dill._get_attr", "dill.dill._get_attr")
def _attribute_of_module(machine: Machine, args: tuple[Any, ...]) -> object:
    """``_get_attr(_import_module(module), name)`` is how dill up to 0.3.4 names functions that are
    built in, on Python 3 NumPy's ``_reconstruct`` and ``scalar`` among them: a global like any.

    Source: ``dill/_dill.py`` (``save_builtin_method``, ``_get_attr``, ``_import_module``).
    """
    if len(args) != 2 or not isinstance(args[1], str):
        return INERT
    holder = args[0]
    if isinstance(holder, Global):
        return _getattr(machine, args)
    is_module = (
        isinstance(holder, Record)
        and holder.maker is not None
        and holder.maker.qualname in _IMPORTS
        and bool(holder.args)
        and isinstance(holder.args[0], str)
    )
    if not is_module:
        return INERT
    found = Global(holder.args[0], args[1])
    if len(found.qualname) > 4096:
        return INERT
    return machine.globals.setdefault(found.qualname, found)


_IMPORTS = ("dill._dill._import_module", "dill.dill._import_module")


@_rebuilds("dill._dill._load_type", "dill.dill._load_type")
def _type_of_dill(machine: Machine, args: tuple[object, ...]) -> object:
    """``_load_type("slice")``: builtin types, and those of the module ``types``, by name alone.

    Source: ``dill/_dill.py`` (``_create_typemap``, ``_reverse_typemap``).
    """
    if len(args) != 1 or not isinstance(args[0], str) or not args[0].isidentifier():
        return INERT
    name = _TYPES_OF_PYTHON_2.get(args[0], args[0])
    module = "builtins" if name in _BUILTIN_TYPES else "types"
    found = Global(module, name)
    return machine.globals.setdefault(found.qualname, found)


_BUILTIN_TYPES = frozenset(
    (
        "bool", "bytearray", "bytes", "classmethod", "complex", "dict", "enumerate", "filter",
        "float", "frozenset", "int", "list", "map", "memoryview", "object", "property", "range",
        "reversed", "set", "slice", "staticmethod", "str", "super", "tuple", "type", "zip",
    )
)  # fmt: skip
_TYPES_OF_PYTHON_2 = {
    "BooleanType": "bool", "IntType": "int", "LongType": "int", "FloatType": "float",
    "ComplexType": "complex", "StringType": "str", "UnicodeType": "str", "TupleType": "tuple",
    "ListType": "list", "DictType": "dict", "DictionaryType": "dict", "SliceType": "slice",
    "XRangeType": "range", "ObjectType": "object", "TypeType": "type", "unicode": "str",
    "long": "int", "xrange": "range",
}  # fmt: skip


@_rebuilds("cloudpickle.cloudpickle._builtin_type", "cloudpickle._builtin_type")
def _type_of_cloudpickle(machine: Machine, args: tuple[object, ...]) -> object:
    """``_builtin_type("CodeType")``: a type of the module ``types``, by name alone."""
    if len(args) != 1 or not isinstance(args[0], str) or not args[0].isidentifier():
        return INERT
    found = Global("types", args[0])
    return machine.globals.setdefault(found.qualname, found)


@_rebuilds("dill._dill._eval_repr", "dill.dill._eval_repr")
def _text_of_dill(machine: Machine, args: tuple[object, ...]) -> object:
    """``_eval_repr("range(0, 3)")``: ranges and singletons as text, which is read and never run."""
    if len(args) != 1 or not isinstance(args[0], str):
        return INERT
    if args[0] in _SINGLETONS:
        return _SINGLETONS[args[0]]
    found = _RANGE.fullmatch(args[0])
    return INERT if found is None else range(*(int(part) for part in found[1].split(",")))


_SINGLETONS = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}
_RANGE = regex(r"x?range\((-?\d{1,19}(?:, *-?\d{1,19}){0,2})\)")


@_builtin("NoneType", "type")
def _type_of_none(machine: Machine, args: tuple[object, ...]) -> object:
    """``type(None)``, ``type(...)`` and ``type(NotImplemented)``, as Python 3 pickles those types."""
    if args == (None,):
        return Global("builtins", "NoneType")
    if len(args) == 1 and isinstance(args[0], Global):
        name = _TYPES_OF.get(args[0].name)
        return Global("builtins", name) if name else INERT
    if args == (...,) or args == (NotImplemented,):
        return Global("builtins", type(args[0]).__name__)
    return INERT


_TYPES_OF = {"Ellipsis": "ellipsis", "NotImplemented": "NotImplementedType"}


# What `persist` itself writes into pickles (docs/envelope.md).


@_rebuilds("persist.versioned._set_state")
def _set_state(machine: Machine, args: tuple[object, ...]) -> object:
    """The envelope of an instance of a registered class, applied by a call of its own."""
    record, state = _pair(args)
    if not isinstance(record, Record) or record.state is not ABSENT:
        return INERT
    record.state = state
    return record
