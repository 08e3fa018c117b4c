"""Opcodes of globals, and of what is made by classes and functions: nothing is imported or called."""

from __future__ import annotations

import copyreg
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from persist._wire.base.c_recursion import RECURSIVE, holds_recursive
from persist._wire.pickle.by_value import class_of
from persist._wire.pickle.handlers import INERT, Finisher, call_handler, charge
from persist._wire.pickle.opcodes._registered import opcode
from persist._wire.pickle.records import new_record
from persist.errors import DamagedFileError, FormatError
from persist.tree import (
    ABSENT,
    Global,
    PersistentRef,
    Record,
    are_attributes,
    is_cython_maker,
)

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["CarriageReturnError", "build_record"]

_NAME = 4096  # characters of a module's and a global's name; genuine ones are far shorter

_U2 = struct.Struct("<H").unpack_from
_I4 = struct.Struct("<i").unpack_from

_RECONSTRUCTORS = frozenset(("copy_reg._reconstructor", "copyreg._reconstructor"))
_NEWOBJ = frozenset(("copy_reg.__newobj__", "copyreg.__newobj__"))
_NEWOBJ_EX = frozenset(("copy_reg.__newobj_ex__", "copyreg.__newobj_ex__"))
_SINGLETONS: dict[str, object] = {
    f"{module}.{name}": value
    for module in ("builtins", "__builtin__")
    for name, value in (("Ellipsis", ...), ("NotImplemented", NotImplemented))
}
_BY_CLASS = _RECONSTRUCTORS | _NEWOBJ | _NEWOBJ_EX


class CarriageReturnError(FormatError):
    """The file's line ends are CR LF, because of a transfer in text mode."""


def _named(machine: Machine, module: str, name: str) -> Global:
    if len(module) + len(name) > _NAME:
        raise DamagedFileError(
            f"a name of {len(module) + len(name):,} characters is here.",
            file=machine.source.name,
            where=f"offset {machine.at}",
            remedy=f"No module has one of more than {_NAME:,}; the file is damaged.",
        )
    qualname = f"{module}.{name}"
    known = machine.globals.get(qualname)
    if known is None or known.module != module:
        known = machine.globals[qualname] = Global(module, name)
    return known


def _global_lines(machine: Machine) -> Global:
    module = str(machine.line(), "utf-8")
    name = str(machine.line(), "utf-8")
    if module.endswith("\r") or name.endswith("\r"):
        raise CarriageReturnError(
            "its line ends are CR LF: it went through a transfer in text mode.",
            file=machine.source.name,
            where=f"offset {machine.at}",
            remedy="Transfer it again in binary mode.",
        )
    return _named(machine, module, name)


@opcode(b"c", "GLOBAL")
def _global(machine: Machine) -> None:
    known = _global_lines(machine)
    machine.stack.append(_SINGLETONS.get(known.qualname, known))


@opcode(b"\x93", "STACK_GLOBAL")
def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise TypeError("a global's name is no text")
    known = _named(machine, module, name)
    machine.stack.append(_SINGLETONS.get(known.qualname, known))


def _extension(machine: Machine, code: int) -> None:
    """EXT: an index of the writer's ``copyreg`` table; its name only if our table has it."""
    known = copyreg._inverted_registry.get(code)  # type: ignore[attr-defined]
    module, name = known or ("copyreg", f"extension {code}")
    machine.stack.append(_named(machine, module, name))


@opcode(b"\x82", "EXT1")
def _ext1(machine: Machine) -> None:
    _extension(machine, machine.take(1)[0])


@opcode(b"\x83", "EXT2")
def _ext2(machine: Machine) -> None:
    _extension(machine, _U2(machine.take(2))[0])


@opcode(b"\x84", "EXT4")
def _ext4(machine: Machine) -> None:
    _extension(machine, _I4(machine.take(4))[0])


@opcode(b"P", "PERSID")
def _persid(machine: Machine) -> None:
    _refer(machine, str(machine.line(), "utf-8"))


@opcode(b"Q", "BINPERSID")
def _binpersid(machine: Machine) -> None:
    _refer(machine, machine.stack.pop())


def _refer(machine: Machine, pid: object) -> None:
    value = ABSENT if machine.persistent is None else machine.persistent(pid)
    machine.stack.append(PersistentRef(pid) if value is ABSENT else value)


def _made(machine: Machine, record: Record) -> None:
    """Push a new record, and watch it when its BUILD will turn it into a plain value."""
    maker = record.maker
    if _finisher(machine, record.cls) or (maker is not None and _finisher(machine, maker)):
        machine.waiting[id(record)] = []
    machine.stack.append(record)


def _finisher(machine: Machine, ref: Global) -> Finisher | None:
    """Return the finisher for records of this class or function; None if there is none."""
    known = machine.finishers.get(id(ref))
    if known is None or known[0] is not ref:
        known = machine.finishers[id(ref)] = (ref, machine.finish.get(ref.qualname))
    finisher: Finisher | None = known[1]
    return finisher


@opcode(b"i", "INST")
def _inst(machine: Machine) -> None:
    cls = _global_lines(machine)
    _made(machine, Record(cls, kind="inst", args=tuple(machine.pop_to_mark())))


@opcode(b"o", "OBJ")
def _obj(machine: Machine) -> None:
    items = machine.pop_to_mark()
    _made(machine, Record(_class(machine, items[0]), kind="obj", args=tuple(items[1:])))


@opcode(b"\x81", "NEWOBJ")
def _newobj(machine: Machine) -> None:
    args, cls = machine.stack.pop(), machine.stack.pop()
    if not isinstance(args, tuple):
        raise TypeError("arguments are no tuple")
    _made(machine, new_record(_class(machine, cls), args))


@opcode(b"\x92", "NEWOBJ_EX")
def _newobj_ex(machine: Machine) -> None:
    kwargs, args, cls = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise TypeError("arguments are no tuple, or keywords no dict")
    _made(machine, Record(_class(machine, cls), kind="newobj_ex", args=args, kwargs=kwargs))


def _class(machine: Machine, value: object) -> Global:
    """Return the global of a class; for a class that is made by a call, its maker.

    A class that a pickle holds by value has a name all the same.
    """
    if isinstance(value, Global):
        return value
    if isinstance(value, Record):
        return _by_value(machine, value) or value.cls
    raise TypeError(f"a {type(value).__name__} is where a class was expected")


def _by_value(machine: Machine, made: Record) -> Global | None:
    """Return the name of a class that the file holds by value; its content is kept in ``classes``."""
    found = class_of(made)
    if found is None:
        return None
    known = machine.globals.setdefault(found.qualname, found)
    machine.classes[known.qualname] = made
    return known


@opcode(b"R", "REDUCE")
def _reduce(machine: Machine) -> None:
    args, function = machine.stack.pop(), machine.stack.pop()
    if not isinstance(args, tuple):
        raise TypeError("arguments are no tuple")
    if not isinstance(function, Global):
        _called(machine, function, args)
        return
    known = machine.rebuilders.get(id(function))
    if known is None or known[0] is not function:
        name = function.qualname
        known = machine.rebuilders[id(function)] = (function, name, machine.rebuild.get(name))
    _, name, handler = known
    if handler is not None:
        charge(machine, args)
        value = call_handler(machine, handler, args)
        kind = type(value)
        if kind in RECURSIVE and holds_recursive(value):
            machine.recursive.append(value)
        if kind is Record:  # named by its class rather than by the function
            _made(machine, value)
            return
        if value is not INERT:
            machine.stack.append(value)
            return
    if args and type(args[0]) is Record and name in _BY_CLASS:
        named = _by_value(machine, args[0])
        args = args if named is None else (named, *args[1:])
    if name in _RECONSTRUCTORS and len(args) == 3 and isinstance(args[0], Global):
        _made(machine, new_record(args[0], args[1:], "reconstructor", function))
    elif name in _NEWOBJ and args and isinstance(args[0], Global):
        _made(machine, new_record(args[0], args[1:]))
    elif name in _NEWOBJ_EX and _is_newobj_ex(args):
        _made(machine, Record(args[0], kind="newobj_ex", args=args[1], kwargs=args[2]))
    elif args and isinstance(args[0], Global) and is_cython_maker(function):
        _made(machine, _of_cython(function, args))
    else:
        _made(machine, new_record(function, args, "reduce", function))


def _of_cython(function: Global, args: tuple[Any, ...]) -> Record:
    """An instance of a class that Cython compiled, named by that class.

    The state is the third argument where none of the attributes is an object; else it comes by BUILD.
    """
    record = new_record(args[0], args, "reduce", function)
    if len(args) == 3 and type(args[2]) is tuple and args[2]:
        record.state = args[2]
    return record


def _called(machine: Machine, function: object, args: tuple[object, ...]) -> None:
    """REDUCE of an instance (a partial, or a class made by a call)."""
    if not isinstance(function, Record):
        raise TypeError(f"a {type(function).__name__} is called")
    named = _by_value(machine, function)
    if named is not None:
        _made(machine, new_record(named, args, "reduce", named))
        return
    new = None if args else _partial_new(function)
    if new is not None:
        _made(machine, new)
        return
    record = Record(function.cls, kind="called", args=(function, args))
    machine.stack.append(record)


@opcode(b"b", "BUILD")
def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is Record:
        build_record(machine, target, state)
    elif type(target) is OrderedDict and are_attributes(state, OrderedDict):
        vars(target).update(state)
    elif isinstance(target, Global) or not _is_void(state):
        # A plain value with a state: both are kept, and nothing is set on the value.
        cls = target if isinstance(target, Global) else Global("", type(target).__name__)
        machine.stack[-1] = Record(cls, state, kind="built", args=(target,))


def _is_void(state: object) -> bool:
    """Whether CPython's unpicklers (``load_build``) leave a value of a builtin type as it is with this state."""
    if type(state) is tuple and len(state) == 2:
        slots = state[1]
        return state[0] is None and (slots is None or (type(slots) is dict and not slots))
    return state is None


def build_record(machine: Machine, record: Record, state: object) -> None:
    """Set the state of a record, and let its finisher replace it by plain data."""
    if record.state is not ABSENT:  # a second BUILD: the first state is kept below it
        machine.stack[-1] = Record(record.cls, state, kind="built", args=(record,))
        return
    record.state = state
    slots = machine.waiting.get(id(record))
    if slots is None:
        return
    finisher = _finisher(machine, record.cls)
    if finisher is None and record.maker is not None:
        finisher = _finisher(machine, record.maker)
    if finisher is not None and isinstance(state, tuple):
        charge(machine, state)
    value = INERT if finisher is None else call_handler(machine, finisher, record)
    if value is INERT:
        return
    if type(value) in RECURSIVE and holds_recursive(value):
        machine.recursive.append(value)
    machine.stack[-1] = value
    for slot in slots:
        if machine.memo[slot] is record:
            machine.memo[slot] = value
    if id(record) in machine.escaped:
        machine.replaced[id(record)] = (record, value)
    else:
        del machine.waiting[id(record)]


def _partial_new(function: Record) -> Record | None:
    """NEWOBJ_EX as protocols 2 and 3 spell it: ``partial(cls.__new__, cls, *args, **kwargs)()``.

    Source: ``save_reduce`` in ``Lib/pickle.py`` and ``Modules/_pickle.c`` since Python 3.4.
    """
    state = function.state
    if function.cls.qualname != "functools.partial" or not isinstance(state, tuple):
        return None
    if len(state) < 3 or not isinstance(state[1], tuple) or not isinstance(state[2], dict):
        return None
    new, bound, kwargs = state[:3]
    cls = bound[0] if bound else None
    if not isinstance(new, Global) or not isinstance(cls, Global):
        return None
    if new.name.rpartition(".")[2] != "__new__":  # the class's own, or a base's
        return None
    return Record(cls, kind="newobj_ex", args=bound[1:], kwargs=kwargs)


def _is_newobj_ex(args: tuple[object, ...]) -> bool:
    return (
        len(args) == 3
        and isinstance(args[0], Global)
        and isinstance(args[1], tuple)
        and isinstance(args[2], dict)
    )
