"""The pickle writer: trees, with records as the instances they were, and live objects.

CPython's own pickler cannot write a `Record`: it wants the class, and checks that the class
is where it says. This one writes what the tree says - the names, how an instance was made,
its state, its items - so that the program that knows the class reads its own pickle again.
Everything else is pickled by its ``__reduce_ex__``, as ``pickle`` does.

Opcode by opcode after CPython's ``Lib/pickle.py`` and ``Lib/pickletools.py``, protocols 0 to 5.
Iterative: each value is a generator of its parts, so that depth has no limit.
"""

from __future__ import annotations

import _compat_pickle
import copyreg
import pickle as opcodes
import struct
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from persist._envelope import CODEC, FIELDS, Layer, seal, unwrap, wrap
from persist.errors import FormatError
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record

__all__ = ["PickleWriter"]

Parts = Iterator[Any]

_BATCH = 1000  # items between MARK and APPENDS or SETITEMS, as CPython has it
_HIGHEST = 5
_NOTHING: object = object()


class PickleWriter:
    """Writes one pickle.

    Args:
        write: takes bytes.
        protocol: 0 to 5; 2 is the newest that Python 2 reads.
        reducer: what a value is reduced to (as ``copyreg`` has it), or None: by its own
            ``__reduce_ex__``.
        name: of what is written, for errors.
    """

    def __init__(
        self,
        write: Callable[[Any], Any],
        protocol: int = 4,
        reducer: Callable[[Any], Any] | None = None,
        name: str = "",
    ) -> None:
        if not 0 <= protocol <= _HIGHEST:
            raise FormatError(
                f"there is no pickle protocol {protocol}.",
                file=name,
                remedy=f"Choose one from 0 to {_HIGHEST}; 2 is the newest that Python 2 reads.",
            )
        self._write = write
        self._protocol = protocol
        self._reducer = reducer
        self._name = name
        self._memo: dict[int, tuple[int, object]] = {}
        self._globals: dict[tuple[str, str], int] = {}

    def dump(self, root: object) -> None:
        """Write ``root`` and everything that it leads to.

        Raises:
            FormatError: a value that no pickle can hold, with its class.
        """
        if self._protocol >= 2:
            self._write(opcodes.PROTO + bytes((self._protocol,)))
        stack: list[Parts] = [iter((root,))]
        while stack:
            value = next(stack[-1], _NOTHING)
            if value is _NOTHING:
                stack.pop()
                continue
            parts = self._save(value)
            if parts is not None:
                stack.append(parts)
        self._write(opcodes.STOP)

    def _save(self, value: Any) -> Parts | None:
        """Write an atom at once; of anything else, return the parts that must be written."""
        known = self._memo.get(id(value))
        if known is not None:
            self._write(self._get(known[0]))
            return None
        kind = type(value)
        atom = _ATOMS.get(kind)
        if atom is not None:
            atom(self, value)
            return None
        container = _CONTAINERS.get(kind)
        if container is not None:
            return container(self, value)
        if isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType):
            owner = getattr(value, "__self__", None)
            if isinstance(owner, type):
                return self._method(owner, value)
            self._named(value)
            return None
        return self._reduced(value)

    # The memo.

    def _memoize(self, value: object) -> None:
        slot = len(self._memo) + len(self._globals)
        self._memo[id(value)] = (slot, value)
        self._put(slot)

    def _put(self, slot: int) -> None:
        if self._protocol >= 4:
            self._write(opcodes.MEMOIZE)
        elif self._protocol == 0:
            self._write(opcodes.PUT + b"%d\n" % slot)
        elif slot < 256:
            self._write(opcodes.BINPUT + bytes((slot,)))
        else:
            self._write(opcodes.LONG_BINPUT + struct.pack("<I", slot))

    def _get(self, slot: int) -> bytes:
        if self._protocol == 0:
            return opcodes.GET + b"%d\n" % slot
        if slot < 256:
            return opcodes.BINGET + bytes((slot,))
        return opcodes.LONG_BINGET + struct.pack("<I", slot)

    # Atoms.

    def _none(self, value: None) -> None:
        self._write(opcodes.NONE)

    def _bool(self, value: bool) -> None:
        if self._protocol >= 2:
            self._write(opcodes.NEWTRUE if value else opcodes.NEWFALSE)
        else:
            self._write(b"I01\n" if value else b"I00\n")

    def _int(self, value: int) -> None:
        if self._protocol and 0 <= value < 256:
            self._write(opcodes.BININT1 + bytes((value,)))
        elif self._protocol and 0 <= value < 65536:
            self._write(opcodes.BININT2 + struct.pack("<H", value))
        elif self._protocol and -(2**31) <= value < 2**31:
            self._write(opcodes.BININT + struct.pack("<i", value))
        elif self._protocol >= 2:
            data = opcodes.encode_long(value)
            if len(data) < 256:
                self._write(opcodes.LONG1 + bytes((len(data),)) + data)
            else:
                self._write(opcodes.LONG4 + struct.pack("<i", len(data)) + data)
        else:
            self._write(opcodes.LONG + _decimal(value) + b"L\n")

    def _float(self, value: float) -> None:
        if self._protocol:
            self._write(opcodes.BINFLOAT + struct.pack(">d", value))
        else:
            self._write(opcodes.FLOAT + repr(value).encode("ascii") + b"\n")

    def _str(self, value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        if self._protocol == 0:
            text = value.replace("\\", "\\u005c").replace("\0", "\\u0000")
            text = text.replace("\n", "\\u000a").replace("\r", "\\u000d").replace("\x1a", "\\u001a")
            self._write(opcodes.UNICODE + text.encode("raw-unicode-escape") + b"\n")
        elif self._protocol >= 4 and len(data) < 256:
            self._write(opcodes.SHORT_BINUNICODE + bytes((len(data),)) + data)
        elif self._protocol >= 4 and len(data) > 0xFFFFFFFF:
            self._write(opcodes.BINUNICODE8 + struct.pack("<Q", len(data)) + data)
        else:
            self._write(opcodes.BINUNICODE + struct.pack("<I", len(data)) + data)
        self._memoize(value)

    def _data(self, data: Any) -> None:
        """Bytes of protocol 3 and later."""
        if len(data) < 256:
            self._write(opcodes.SHORT_BINBYTES + bytes((len(data),)) + bytes(data))
            return
        if self._protocol >= 4 and len(data) > 0xFFFFFFFF:
            self._write(opcodes.BINBYTES8 + struct.pack("<Q", len(data)))
        else:
            self._write(opcodes.BINBYTES + struct.pack("<I", len(data)))
        self._write(data)

    def _inert(self, value: Global) -> None:
        self._global(value.module, value.name)

    def _ellipsis(self, value: object) -> None:
        self._global(self._builtins, repr(value))

    # Names.

    def _named(self, value: Any) -> None:
        """A class or function that is here, by its module and name."""
        if value in _SINGLETONS:
            self._singleton_class(value)
            return
        name = getattr(value, "__qualname__", value.__name__)
        module = getattr(value, "__module__", None) or "builtins"
        if "<" in name:
            raise FormatError(
                f"{module}.{name} is a lambda or a local class; no pickle can hold it.",
                file=self._name,
                remedy="Move it to the top level of a module.",
            )
        if self._protocol < 3:
            pair = _compat_pickle.REVERSE_NAME_MAPPING.get((module, name))
            if pair is not None:
                module, name = pair
            else:
                module = _compat_pickle.REVERSE_IMPORT_MAPPING.get(module, module)
        self._global(module, name)

    def _method(self, owner: type, value: Any) -> Parts:
        """A method of a class, such as ``ZoneInfo._unpickle``: by a name with a dot, or by getattr."""
        if self._protocol >= 4:
            self._global(owner.__module__, f"{owner.__qualname__}.{value.__name__}")
            return
        yield from self._call(Global(self._builtins, "getattr"), (owner, value.__name__))
        self._memoize(value)

    def _singleton_class(self, value: object) -> None:
        """``type(None)`` and its like have no name of their own: ``type(None)`` is called."""
        self._global(self._builtins, "type")
        self._write(opcodes.MARK)
        self._save(_SINGLETONS[value])
        self._write(opcodes.TUPLE + opcodes.REDUCE)

    def _global(self, module: str, name: str) -> None:
        slot = self._globals.get((module, name))
        if slot is not None:
            self._write(self._get(slot))
            return
        if self._protocol >= 4:
            self._save(module)
            self._save(name)
            self._write(opcodes.STACK_GLOBAL)
        elif "\n" in module + name:
            raise FormatError(
                f"the name {module + '.' + name!r} holds a line end; protocol "
                f"{self._protocol} cannot say it.",
                file=self._name,
                remedy="Choose protocol 4 or later.",
            )
        else:
            self._write(opcodes.GLOBAL + f"{module}\n{name}\n".encode())
        slot = len(self._memo) + len(self._globals)
        self._globals[module, name] = slot
        self._put(slot)

    # Containers.

    def _bytes(self, value: bytes) -> Parts:
        if self._protocol >= 3:
            self._data(value)
            self._memoize(value)
            return
        if not value:  # as CPython: bytes() of nothing
            self._global("__builtin__", "bytes")
            yield ()
        else:
            self._global("_codecs", "encode")
            yield (value.decode("latin-1"), "latin1")
        self._write(opcodes.REDUCE)
        self._memoize(value)

    def _bytearray(self, value: bytearray) -> Parts:
        if self._protocol >= 5:
            self._write(opcodes.BYTEARRAY8 + struct.pack("<Q", len(value)))
            self._write(value)
        else:
            self._global(self._builtins, "bytearray")
            if self._protocol >= 3:
                yield (bytes(value),) if value else ()
            else:
                yield (value.decode("latin-1"), "latin-1") if value else ()
            self._write(opcodes.REDUCE)
        self._memoize(value)

    def _tuple(self, value: tuple[object, ...]) -> Parts:
        if not value:
            self._write(opcodes.EMPTY_TUPLE if self._protocol else opcodes.MARK + opcodes.TUPLE)
            return
        short = len(value) <= 3 and self._protocol >= 2
        if not short:
            self._write(opcodes.MARK)
        yield from value
        known = self._memo.get(id(value))
        if known is not None:  # it holds itself: take the parts back, fetch the one that was made
            if short:
                self._write(opcodes.POP * len(value))
            else:
                self._write(opcodes.POP_MARK if self._protocol else opcodes.POP * (len(value) + 1))
            self._write(self._get(known[0]))
            return
        self._write(_SHORT_TUPLES[len(value)] if short else opcodes.TUPLE)
        self._memoize(value)

    def _list(self, value: list[object]) -> Parts:
        self._write(opcodes.EMPTY_LIST if self._protocol else opcodes.MARK + opcodes.LIST)
        self._memoize(value)
        yield from self._appended(value)

    def _dict(self, value: dict[object, object]) -> Parts:
        self._write(opcodes.EMPTY_DICT if self._protocol else opcodes.MARK + opcodes.DICT)
        self._memoize(value)
        yield from self._put_in(value.items())

    def _set(self, value: set[object]) -> Parts:
        if self._protocol < 4:
            yield from self._call(Global(self._builtins, "set"), ([*value],))
            self._memoize(value)
            return
        self._write(opcodes.EMPTY_SET)
        self._memoize(value)
        for batch in _batches(value):
            self._write(opcodes.MARK)
            yield from batch
            self._write(opcodes.ADDITEMS)

    def _frozenset(self, value: frozenset[object]) -> Parts:
        if self._protocol < 4:
            yield from self._call(Global(self._builtins, "frozenset"), ([*value],))
            self._memoize(value)
            return
        self._write(opcodes.MARK)
        yield from value
        known = self._memo.get(id(value))
        if known is not None:
            self._write(opcodes.POP_MARK + self._get(known[0]))
            return
        self._write(opcodes.FROZENSET)
        self._memoize(value)

    @property
    def _builtins(self) -> str:
        return "builtins" if self._protocol >= 3 else "__builtin__"

    def _appended(self, items: Any) -> Parts:
        for batch in _batches(items):
            if self._protocol == 0:
                for item in batch:
                    yield item
                    self._write(opcodes.APPEND)
            else:
                self._write(opcodes.MARK)
                yield from batch
                self._write(opcodes.APPENDS)

    def _put_in(self, pairs: object) -> Parts:
        for batch in _batches(pairs):
            if self._protocol:
                self._write(opcodes.MARK)
            for key, item in batch:
                yield key
                yield item
                if not self._protocol:
                    self._write(opcodes.SETITEM)
            if self._protocol:
                self._write(opcodes.SETITEMS)

    # Instances.

    def _reference(self, value: PersistentRef) -> Parts:
        if self._protocol:
            yield value.pid
            self._write(opcodes.BINPERSID)
        else:
            self._write(opcodes.PERSID + str(value.pid).encode("ascii") + b"\n")

    def _lazy(self, value: LazyArray) -> Parts:
        yield np.asarray(value)

    def _buffer(self, value: opcodes.PickleBuffer) -> Parts:
        with value.raw() as view:
            if view.readonly:
                self._data(view)
            else:
                self._write(opcodes.BYTEARRAY8 + struct.pack("<Q", len(view)))
                self._write(view)
        return iter(())

    def _call(self, function: object, args: tuple[Any, ...]) -> Parts:
        yield function
        yield args
        self._write(opcodes.REDUCE)

    def _record(self, record: Record) -> Parts:
        yield from self._made(record)
        if id(record) in self._memo:  # its own arguments led to it, and made it
            self._write(opcodes.POP + self._get(self._memo[id(record)][0]))
            return
        self._memoize(record)
        yield from self._appended(record.listitems)
        yield from self._put_in(record.dictitems)
        if record.state is not ABSENT:
            yield _versioned(record)
            self._write(opcodes.BUILD)

    def _made(self, record: Record) -> Parts:
        """The instance as it was made, before its state."""
        kind = record.kind
        if kind in ("inst", "obj"):
            yield from self._old_style(record)
        elif kind == "newobj_ex" and record.kwargs:
            yield from self._with_keywords(record)
        elif kind in ("newobj", "newobj_ex", "record"):
            yield from self._new(record.cls, record.args)
        elif kind == "reconstructor":
            base, value = record.args if len(record.args) == 2 else (_OBJECT, None)
            module = "copyreg" if self._protocol >= 3 else "copy_reg"
            yield from self._call(Global(module, "_reconstructor"), (record.cls, base, value))
        elif kind == "built":
            yield record.args[0]
        elif kind == "called" and len(record.args) == 2:  # what was called is an instance itself
            yield from self._call(record.args[0], record.args[1])
        else:
            yield from self._call(record.maker or record.cls, record.args)

    def _new(self, cls: object, args: tuple[object, ...]) -> Parts:
        if self._protocol >= 2:
            yield cls
            yield args
            self._write(opcodes.NEWOBJ)
        else:  # protocols 0 and 1 have no NEWOBJ: copyreg.__newobj__(cls, *args) is the same
            yield from self._call(Global("copy_reg", "__newobj__"), (cls, *args))

    def _with_keywords(self, record: Record) -> Parts:
        if self._protocol >= 4:
            yield record.cls
            yield record.args
            yield record.kwargs
            self._write(opcodes.NEWOBJ_EX)
            return
        module = "copyreg" if self._protocol >= 3 else "copy_reg"
        parts = (record.cls, record.args, record.kwargs)
        yield from self._call(Global(module, "__newobj_ex__"), parts)

    def _old_style(self, record: Record) -> Parts:
        """An instance of an old-style class of Python 2 (or of what took its place)."""
        self._write(opcodes.MARK)
        if self._protocol:
            yield record.cls
            yield from record.args
            self._write(opcodes.OBJ)
        else:
            yield from record.args
            self._write(opcodes.INST + f"{record.cls.module}\n{record.cls.name}\n".encode())

    def _reduced(self, value: Any) -> Parts:
        """Any other value, by what it says of itself."""
        try:
            reduced = None if self._reducer is None else self._reducer(value)
            if reduced is None:
                reduced = _reduce(value, self._protocol)
        except (TypeError, opcodes.PicklingError, AttributeError) as error:
            raise FormatError(
                f"a {type(value).__module__}.{type(value).__qualname__} cannot be pickled: {error}.",
                file=self._name,
            ) from error
        if isinstance(reduced, str):
            module = getattr(value, "__module__", None) or type(value).__module__
            self._global(module, reduced)
            return
        function, args, state, listitems, dictitems = (*reduced, None, None, None)[:5]
        name = getattr(function, "__name__", "")
        if name == "__newobj__" and self._protocol >= 2:
            yield from self._new(args[0], tuple(args[1:]))
        elif name == "__newobj_ex__" and self._protocol >= 4:
            yield from args
            self._write(opcodes.NEWOBJ_EX)
        else:
            yield from self._call(function, args)
        known = self._memo.get(id(value))
        if known is not None:
            self._write(opcodes.POP + self._get(known[0]))
        else:
            self._memoize(value)
        yield from self._appended(() if listitems is None else listitems)
        yield from self._put_in(() if dictitems is None else dictitems)
        if state is None:
            return
        if len(reduced) > 5 and reduced[5] is not None:  # its own function sets the state
            yield from self._call(reduced[5], (value, state))
            self._write(opcodes.POP)
            return
        yield state
        self._write(opcodes.BUILD)


def _versioned(record: Record) -> object:
    """Return the state; if the record has a version, in the envelope that `Versioned` reads."""
    state = record.state
    if record.version is None or unwrap(state) is not None:
        return state
    if isinstance(state, dict) and all(type(name) is str for name in state):
        layer = Layer(record.qualname, record.version, "", FIELDS, tuple(state))
        return wrap(seal([layer]), [tuple(state.values())])
    arity = len(state) if type(state) is tuple else None
    return wrap(seal([Layer(record.qualname, record.version, "", CODEC, arity)]), [state])


def _reduce(value: object, protocol: int) -> Any:
    reducer = copyreg.dispatch_table.get(type(value))
    if reducer is not None:
        return reducer(value)
    return value.__reduce_ex__(protocol)


def _batches(items: Any) -> Iterator[list[Any]]:
    batch: list[object] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _decimal(value: int) -> bytes:
    """An int's decimal digits, past the number that ``str`` allows too."""
    try:
        return b"%d" % value
    except ValueError:
        sign, value = (b"-", -value) if value < 0 else (b"", value)
        parts = []
        while value:
            value, rest = divmod(value, 10**4000)
            parts.append(b"%04000d" % rest if value else b"%d" % rest)
        return sign + b"".join(reversed(parts))


_OBJECT = Global("builtins", "object")
_SINGLETONS: dict[object, object] = {
    type(None): None,
    type(...): ...,
    type(NotImplemented): NotImplemented,
}
_SHORT_TUPLES = {1: opcodes.TUPLE1, 2: opcodes.TUPLE2, 3: opcodes.TUPLE3}
_ATOMS: dict[type, Callable[[PickleWriter, Any], None]] = {
    type(None): PickleWriter._none,
    bool: PickleWriter._bool,
    int: PickleWriter._int,
    float: PickleWriter._float,
    str: PickleWriter._str,
    Global: PickleWriter._inert,
    type(...): PickleWriter._ellipsis,
    type(NotImplemented): PickleWriter._ellipsis,
}
_CONTAINERS: dict[type, Callable[[PickleWriter, Any], Parts]] = {
    bytes: PickleWriter._bytes,
    bytearray: PickleWriter._bytearray,
    tuple: PickleWriter._tuple,
    list: PickleWriter._list,
    dict: PickleWriter._dict,
    set: PickleWriter._set,
    frozenset: PickleWriter._frozenset,
    Record: PickleWriter._record,
    PersistentRef: PickleWriter._reference,
    LazyArray: PickleWriter._lazy,
    opcodes.PickleBuffer: PickleWriter._buffer,
}
