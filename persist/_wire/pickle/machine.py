"""The pickle machine: executes every opcode of protocols 0 to 5 without calling anything.

Decisions and execution happen in the same pass. The machine imports and calls
nothing that the file names: a global becomes a `Global`, an instance a `Record`.
Plain data that pickle spells as calls (dates, sets, NumPy arrays) is built by
the tables ``rebuild`` and ``finish``, whose functions are ours and check every
part.

Opcode by opcode after CPython's ``Lib/pickletools.py`` and ``Lib/pickle.py``
(protocols 0 to 5), and Python 2's ``cPickle.c`` (INST, OBJ, STRING).

Rules that the machine keeps:

- No Python recursion: the depth of values is not limited. The depth of *hashed*
  values is (`Limits.depth`), since CPython hashes by recursion on the C stack.
- Nothing is allocated for a claimed size before that many bytes are available.
- The memo is a dict: an index of 2**31 costs the same as an index of 1.
- Opcodes, values visited for one hash, and equal hashes in one dict are counted
  and limited, so that no small file takes long.
"""

from __future__ import annotations

import codecs
import copyreg
import re
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NoReturn

import numpy as np

from persist._runtime.lazy_regex import regex
from persist._wire.base.c_recursion import BARE, MOST, holds_bare, is_too_deep
from persist._wire.base.hashing import KeyCosts
from persist._wire.base.source import Cursor, Source
from persist._wire.pickle import fast_loop
from persist._wire.pickle.by_value import class_of
from persist.errors import DamagedFileError, FormatError, LimitError, PersistError
from persist.tree import (
    ABSENT,
    PRIMITIVES,
    Global,
    LazyArray,
    PersistentRef,
    Record,
    are_attributes,
)

__all__ = ["INERT", "CarriageReturnError", "Finisher", "Machine", "Rebuilder"]

Rebuilder = Callable[["Machine", tuple[Any, ...]], Any]
Finisher = Callable[["Machine", Record], Any]

INERT: object = type("Inert", (), {"__repr__": lambda self: "INERT"})()
"""Returned by a rebuilder or finisher if the parts are not plain data: the record stays."""

# A damaged or hostile file can raise these inside an opcode: an empty stack,
# a memo slot that was never set, bytes that are not a number or text, a value
# of the wrong type. They are reported with opcode and offset.
_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
    MemoryError,
)

_CHEAP_KEYS = PRIMITIVES
_HOLDERS = frozenset((list, tuple, set, frozenset, dict, OrderedDict, Counter, deque))
_RAW = frozenset((str, bytes, bytearray))
_NAME = 4096  # characters of a module's and a global's name; genuine ones are far shorter
_LONG = 1 << 10  # integers of more bits are charged for hashing
_COLLISION_CHECK = 4096  # a dict is checked for equal hashes at this size and at each doubling
_COLLISION_BITS = _COLLISION_CHECK.bit_length() - 1
_BATCH = 2000  # keys and values that are set at once; CPython writes as many
_COLLISIONS = 1000  # so many keys with equal hashes are an attack

_U2 = struct.Struct("<H").unpack_from
_U4 = struct.Struct("<I").unpack_from
_I4 = struct.Struct("<i").unpack_from
_U8 = struct.Struct("<Q").unpack_from
_F8 = struct.Struct(">d").unpack_from

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


class _EarlierMemo(Exception):
    """A pickle refers to a memo entry of an earlier pickle of the same ``Pickler``."""


class Machine:
    """Executes the pickles of one source into inert trees.

    Args:
        source: the file that holds the pickles.
        py2_str: what Python 2's ``str`` becomes: None (text if it is UTF-8,
            bytes otherwise), "text" (the same, but latin-1 if it is not
            UTF-8), "bytes", the name of an encoding, or a callable from bytes.
        persistent: resolves a persistent id; ABSENT leaves it a `PersistentRef`.
        rebuild: dotted name of a function -> builds the result of its REDUCE.
        finish: dotted name of a class or function -> replaces its records by plain
            values after BUILD has set their state.
        buffers: out-of-band buffers of protocol 5, in order.
        most: largest number of opcodes; None for the source's limit.

    Attributes:
        globals: every `Global` that occurred, by its dotted name.
        classes: by name, the classes that the file holds by value and has instances of.
        protocol: the highest protocol of a PROTO opcode, 0 without one.
        has_py2_str: whether an opcode occurred that only Python 2 writes.
        steps: opcodes executed so far.
        phrase: executes a known sequence of opcodes that begins with two marks as one step:
            from the available bytes, the position, the stack and the memo it returns the new top
            of the stack, the position of the next opcode and the number of opcodes; or None.
    """

    table: ClassVar[list[Callable[[Machine], Any]]]  # the method for each opcode, by its byte

    _loop = staticmethod(fast_loop.run)

    def __init__(
        self,
        source: Source,
        *,
        py2_str: str | Callable[[bytes], Any] | None = None,
        persistent: Callable[[Any], Any] | None = None,
        rebuild: Mapping[str, Rebuilder] | None = None,
        finish: Mapping[str, Finisher] | None = None,
        buffers: list[Any] | None = None,
        most: int | None = None,
    ) -> None:
        self.source = source
        self.globals: dict[str, Global] = {}
        self.classes: dict[str, Record] = {}
        self.protocol = 0
        self.has_py2_str = False
        self.steps = 0
        self._most = source.most_opcodes if most is None else most
        self._persistent = persistent
        self._rebuild = rebuild or {}
        self._finish = finish or {}
        self._buffers = buffers
        self._buffer = 0
        self._py2 = _string_policy(py2_str)
        self._raw: dict[int, tuple[Any, bytes]] = {}  # results of an override, with their bytes
        self._memo: dict[int, Any] = {}
        self._earlier: dict[int, Any] = {}  # the memo of the pickles before this one
        self._waiting: dict[int, list[int]] = {}  # records to be finished -> their memo slots
        self._escaped: set[int] = set()  # records that were used before they were finished
        self._replaced: dict[int, tuple[Record, Any]] = {}
        self._cheap = _CHEAP_KEYS
        self._keys = KeyCosts()
        self._bare: list[Any] = []  # of `BARE`, which hold others of them
        self._judged: dict[
            int, tuple[Global, Any]
        ] = {}  # what finishes a global's records, or None
        self._asked: dict[int, tuple[Global, str, Any]] = {}  # a function's name, what rebuilds
        self.phrase: Callable[..., tuple[Any, int, int] | None] | None = None
        self._window()

    def _window(self) -> None:
        """Load the available bytes: all of a mapped source, otherwise the first 64 KiB."""
        source = self.source
        self._data = source.view(0, source.size if source.is_mapped else min(source.size, 1 << 16))
        self._end = len(self._data)
        self._pos = 0
        self._at = 0

    # The loop.

    def load(self, cursor: Cursor) -> Any:
        """Execute one pickle, and leave the cursor after its STOP.

        The next pickle of a file begins with an empty memo (``pickle.dump`` in a loop), unless it
        asks for what only the earlier ones put there (one ``Pickler`` that dumps several times).

        Raises:
            DamagedFileError: it is truncated or broken, with offset and opcode.
            LimitError: it would cost too much.
        """
        self._earlier, self._memo = self._memo, {}
        try:
            try:
                return self._load(cursor)
            except _EarlierMemo:
                self._memo, self._earlier = self._earlier, {}
                return self._load(cursor)
        finally:
            if len(self._bare) > MOST:
                self._refuse_deep()

    def _load(self, cursor: Cursor) -> Any:
        self._pos = cursor.offset
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._due = 0  # the claimed end of the last frame
        try:
            self._loop(self)
            if self._due > self.source.size:
                self._need(self._due - self._pos)
            value = self._stack.pop()
        except (PersistError, _EarlierMemo):
            raise
        except _FAULTS as error:
            self._broken(error)
        cursor.offset = self._pos
        if self._escaped and self._replaced:
            value = self._mend(value)
        return value

    def unfinished(self) -> Any:
        """Return what was built of a pickle that broke off: the one object, or the list of what
        was still to be put together, outermost first."""
        parts = [item for stack in (*self._marked, self._stack) for item in stack]
        return parts[0] if len(parts) == 1 else parts or ABSENT

    def _broken(self, error: BaseException) -> NoReturn:
        code = self._data[self._at]
        name = _NAMES.get(code)
        what = f"opcode {name} fails" if name else f"byte 0x{code:02x} is no pickle opcode"
        detail = f" ({type(error).__name__}: {error})" if name and str(error) else ""
        raise DamagedFileError(
            f"{what}{detail}.",
            file=self.source.name,
            where=f"offset {self._at}",
            remedy="The pickle is damaged, or the file is of another kind.",
            offset=self._at,
        ) from error

    def _too_much(self, what: str, limit: str) -> NoReturn:
        raise LimitError(
            what,
            file=self.source.name,
            where=f"offset {self._at}",
            remedy=f'If the file is honest, raise limits={{"{limit}": ...}}.',
        )

    # Bytes, for opcodes and for rebuilders of raw data between opcodes.

    def _need(self, count: int) -> None:
        """Ensure that ``count`` bytes are available at the position, or raise that the file ends."""
        wanted = self._pos + count
        if wanted <= self._end:
            return
        size = self.source.size
        if wanted > size:
            raise DamagedFileError(
                f"the file ends after {size:,} bytes, but its pickle goes on"
                + (f" ({count:,} bytes are due at {self._pos:,})." if count > 1 else "."),
                file=self.source.name,
                where=f"offset {self._at}",
                remedy="The file is truncated: copy it again from where it came from.",
                truncated=True,
                offset=self._at,
            )
        # Only what is new is read: behind a URL it is a request of its own.
        grown = bytearray(min(size, max(wanted, 4 * self._end)))
        grown[: self._end] = self._data
        grown[self._end :] = self.source.view(self._end, len(grown) - self._end)
        self._data = memoryview(grown).toreadonly()
        self._end = len(grown)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes of the stream and skip them."""
        pos = self._pos
        if pos + count > self._end:
            self._need(count)
        self._pos = pos + count
        return bytes(self._data[pos : pos + count])

    def tell(self) -> int:
        """Return the offset after the opcode that is being executed."""
        return self._pos

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes of the stream."""
        if count < 0 or self._pos + count > self.source.size:
            self._need(max(count, 1))
        self._pos += count

    def array(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], order: str = "C"
    ) -> np.ndarray[Any, Any] | LazyArray:
        """Return the raw array that is next in the stream and skip it."""
        array = self.source.array(self._pos, dtype, shape, order)
        self.skip(array.nbytes)
        return array

    def inner(
        self, source: Source | None = None, finish: Mapping[str, Finisher] | None = None
    ) -> Machine:
        """Return a machine with the same settings for another pickle.

        Args:
            source: the source of the pickle; None for the same stream.
            finish: in place of this machine's own.
        """
        other = Machine.__new__(Machine)
        other.__dict__.update(self.__dict__)
        other._memo, other._earlier = {}, {}
        other._waiting, other._escaped, other._replaced = {}, set(), {}
        other._bare, other._judged, other._asked = [], {}, {}
        if finish is not None:
            other._finish = finish
        if source is not None:
            other.source = source
            other._window()
        return other

    def raw(self, value: Any) -> bytes | None:
        """Return the bytes of a value that Python 2 may have written as ``str``, else None."""
        if isinstance(value, bytes):
            return value
        known = self._raw.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        if isinstance(value, bytearray):
            return bytes(value)
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        return None

    def _line(self) -> bytes:
        pos, most = self._pos, 256
        while True:
            stop = min(self._end, pos + most)
            chunk = bytes(self._data[pos:stop])
            end = chunk.find(b"\n")
            if end >= 0:
                self._pos = pos + end + 1
                return chunk[:end]
            if stop == self._end:
                self._need(stop - pos + 1)
            most *= 2

    # Numbers and constants.

    def _proto(self) -> None:
        version = self.take(1)[0]
        if version > 5:
            raise DamagedFileError(
                f"pickle protocol {version} is not known.",
                file=self.source.name,
                where=f"offset {self._at}",
                remedy="Protocols 0 to 5 are; the file is damaged, or newer than this program.",
            )
        self.protocol = max(self.protocol, version)

    def _frame(self) -> None:
        self._need(8)
        (length,) = _U8(self._data, self._pos)
        self._pos += 8
        self._due = max(self._due, self._pos + length)  # a truncated frame is read up to its end

    def _none(self) -> None:
        self._stack.append(None)

    def _true(self) -> None:
        self._stack.append(True)

    def _false(self) -> None:
        self._stack.append(False)

    def _int(self) -> None:
        line = self._line()
        if line == b"00":
            self._stack.append(False)
        elif line == b"01":
            self._stack.append(True)
        else:
            self._stack.append(self._decimal(line))

    def _long(self) -> None:
        line = self._line().strip()
        self._stack.append(self._decimal(line[:-1] if line[-1:] in (b"L", b"l") else line))

    def _decimal(self, text: bytes) -> int:
        """Read decimal digits; long ones by parts, since CPython refuses over 4,300 at once."""
        text = text.strip()
        if len(text) <= 4000:
            return int(text)
        if len(text) > self.source.limits.digits:
            self._too_much(f"an integer of {len(text):,} digits is here.", "digits")
        self.steps += (len(text) // 100) ** 2 // 100  # charged as opcodes
        self._cheap = _CHEAP_KEYS - {int}
        negative, digits = text.startswith(b"-"), text.lstrip(b"+-")
        if not digits.isdigit():
            raise ValueError("no decimal digits")
        first = len(digits) % 4000
        parts = [int(digits[:first] or b"0")]
        parts += [int(digits[at : at + 4000]) for at in range(first, len(digits), 4000)]
        power = 10**4000
        while (
            len(parts) > 1
        ):  # adjacent parts are joined, so that both factors have similar lengths
            if len(parts) % 2:
                parts.insert(0, 0)
            parts = [high * power + low for high, low in zip(parts[::2], parts[1::2], strict=True)]
            power *= power
        return -parts[0] if negative else parts[0]

    def _binint(self) -> None:
        self._need(4)
        self._stack.append(_I4(self._data, self._pos)[0])
        self._pos += 4

    def _binint1(self) -> None:
        self._need(1)
        self._stack.append(self._data[self._pos])
        self._pos += 1

    def _binint2(self) -> None:
        self._need(2)
        self._stack.append(_U2(self._data, self._pos)[0])
        self._pos += 2

    def _long1(self) -> None:
        self._stack.append(int.from_bytes(self.take(self.take(1)[0]), "little", signed=True))

    def _long4(self) -> None:
        length = _I4(self.take(4))[0]
        if length < 0:
            raise ValueError(f"a length of {length}")
        if 8 * length > _LONG:
            self._cheap = _CHEAP_KEYS - {int}
        self._stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def _float(self) -> None:
        self._stack.append(float(self._line()))

    def _binfloat(self) -> None:
        self._need(8)
        self._stack.append(_F8(self._data, self._pos)[0])
        self._pos += 8

    # Text and bytes.

    def _py2_string(self, data: bytes) -> None:
        self.has_py2_str = True
        if self._py2 is None:
            try:
                self._stack.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                self._stack.append(data)
            return
        value = self._py2(data)
        if value is not data:
            self._raw[id(value)] = (value, data)
        self._stack.append(value)

    def _string(self) -> None:
        line = self._line().rstrip(b"\r ")
        if len(line) < 2 or line[0] != line[-1] or line[0] not in b"\"'":
            raise ValueError("the string is not quoted")
        self._py2_string(_unescape(line[1:-1]))

    def _binstring(self) -> None:
        length = _I4(self.take(4))[0]
        if length < 0:
            raise ValueError(f"a length of {length}")
        self._py2_string(self.take(length))

    def _short_binstring(self) -> None:
        self._py2_string(self.take(self.take(1)[0]))

    def _unicode(self) -> None:
        self._stack.append(str(self._line(), "raw-unicode-escape"))

    def _text(self, length: int) -> None:
        self._stack.append(str(self.take(length), "utf-8", "surrogatepass"))

    def _short_binunicode(self) -> None:
        self._need(1)
        length = self._data[self._pos]
        self._pos += 1
        self._text(length)

    def _binunicode(self) -> None:
        self._text(_U4(self.take(4))[0])

    def _binunicode8(self) -> None:
        self._text(_U8(self.take(8))[0])

    def _short_binbytes(self) -> None:
        self._stack.append(self.take(self.take(1)[0]))

    def _binbytes(self) -> None:
        self._stack.append(self.take(_U4(self.take(4))[0]))

    def _binbytes8(self) -> None:
        self._stack.append(self.take(_U8(self.take(8))[0]))

    def _bytearray8(self) -> None:
        self._stack.append(bytearray(self.take(_U8(self.take(8))[0])))

    def _next_buffer(self) -> None:
        number, self._buffer = self._buffer, self._buffer + 1
        if self._buffers is not None and number < len(self._buffers):
            self._stack.append(self._buffers[number])
        else:
            self._stack.append(PersistentRef(f"out-of-band buffer {number}"))

    def _readonly_buffer(self) -> None:
        if not self._stack:
            raise IndexError("the stack is empty")

    # Stack and memo.

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop_to_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._marked.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            value = self._stack.pop()
            if type(value) is Record:
                self._apply_setter(value)
        else:
            self._pop_to_mark()

    def _apply_setter(self, call: Record) -> None:
        """Keep the state that a call, whose result is thrown away, gave to the object below it.

        The sixth item of ``__reduce__`` is written so: ``setter(object, state)``, then POP.
        """
        args = call.args
        if (
            call.maker is None
            or len(args) != 2
            or not self._stack
            or self._stack[-1] is not args[0]
        ):
            return
        if type(args[0]) is Record and args[0].state is ABSENT:
            self._build_record(args[0], args[1])

    def _dup(self) -> None:
        value = self._stack[-1]
        self._fetched(value)
        self._stack.append(value)

    def _store(self, slot: int) -> None:
        if slot < 0:
            raise ValueError(f"memo index {slot}")
        value = self._memo[slot] = self._stack[-1]
        if type(value) is Record and id(value) in self._waiting:
            self._waiting[id(value)].append(slot)

    def _lacks(self, slot: int) -> NoReturn:
        if slot in self._earlier:
            raise _EarlierMemo
        raise LookupError(f"nothing was put into the memo at {slot}")

    def _fetch(self, slot: int) -> None:
        if slot not in self._memo:
            self._lacks(slot)
        value = self._memo[slot]
        self._fetched(value)
        self._stack.append(value)

    def _fetched(self, value: object) -> None:
        if type(value) is Record and id(value) in self._waiting:
            self._escaped.add(id(value))

    def _put(self) -> None:
        self._store(self._decimal(self._line()))

    def _binput(self) -> None:
        self._need(1)
        self._pos += 1
        self._store(self._data[self._pos - 1])

    def _long_binput(self) -> None:
        self._store(_U4(self.take(4))[0])

    def _memoize(self) -> None:
        self._store(len(self._memo))

    def _get(self) -> None:
        self._fetch(self._decimal(self._line()))

    def _binget(self) -> None:
        self._need(1)
        self._pos += 1
        self._fetch(self._data[self._pos - 1])

    def _long_binget(self) -> None:
        self._fetch(_U4(self.take(4))[0])

    # Containers.

    def _empty_list(self) -> None:
        self._stack.append([])

    def _empty_tuple(self) -> None:
        self._stack.append(())

    def _empty_dict(self) -> None:
        self._stack.append({})

    def _empty_set(self) -> None:
        self._stack.append(set())

    def _list(self) -> None:
        items = self._pop_to_mark()
        self._stack.append(items)

    def _tuple(self) -> None:
        items = self._pop_to_mark()
        self._stack.append(tuple(items))

    def _tuple1(self) -> None:
        self._stack[-1] = (self._stack[-1],)

    def _tuple2(self) -> None:
        second = self._stack.pop()
        self._stack[-1] = (self._stack[-1], second)

    def _tuple3(self) -> None:
        third, second = self._stack.pop(), self._stack.pop()
        self._stack[-1] = (self._stack[-1], second, third)

    def _dict(self) -> None:
        items = self._pop_to_mark()
        target: dict[Any, Any] = {}
        self._set_pairs(target, items)
        self._stack.append(target)

    def _frozenset(self) -> None:
        items = self._pop_to_mark()
        self._stack.append(frozenset(self.hashable_set(items)))

    def _append(self) -> None:
        value = self._stack.pop()
        self._extend(self._stack[-1], [value])

    def _appends(self) -> None:
        items = self._pop_to_mark()
        self._extend(self._stack[-1], items)

    def _extend(self, target: object, items: list[object]) -> None:
        if type(target) is Record:
            target.listitems.extend(items)
        elif isinstance(target, list | deque):
            target.extend(items)
            if type(target) is deque:
                self._holds_bare(target, items)
        else:
            raise TypeError(f"items are appended to a {type(target).__name__}")

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_pairs(self._stack[-1], [key, value])

    def _setitems(self) -> None:
        items = self._pop_to_mark()
        self._set_pairs(self._stack[-1], items)

    def _additems(self) -> None:
        items = self._pop_to_mark()
        target = self._stack[-1]
        if type(target) is Record:
            target.listitems.extend(items)
        elif isinstance(target, set):
            target |= self.hashable_set(items)
        else:
            raise TypeError(f"items are added to a {type(target).__name__}")

    def _set_pairs(self, target: object, items: list[object]) -> None:
        if len(items) % 2:
            raise ValueError("a key has no value")
        if type(target) is Record:
            target.dictitems.extend(zip(items[::2], items[1::2], strict=True))
            return
        if not isinstance(target, dict):
            raise TypeError(f"items are set on a {type(target).__name__}")
        if type(target) is dict and len(items) <= _BATCH:
            keys, size = items[::2], len(target)
            if self._cheap.issuperset(map(type, keys)):
                target.update(zip(keys, items[1::2], strict=True))
                if size.bit_length() != len(target).bit_length() > _COLLISION_BITS:
                    self._check_collisions(target)
                return
        for index in range(0, len(items), 2):
            key = items[index]
            if type(key) not in self._cheap:
                self._check_key(key)
            size = len(target)
            target[key] = items[index + 1]
            if size >= _COLLISION_CHECK and not size & (size - 1) and len(target) > size:
                self._check_collisions(target)
        if type(target) is defaultdict:
            self._holds_bare(target, items[1::2])

    def hashable_set(self, items: list[Any]) -> set[Any]:
        """Return the items as a set; raise for values that cannot or must not be hashed."""
        result: set[Any] = set()
        for item in items:
            if type(item) not in self._cheap:
                self._check_key(item)
            size = len(result)
            result.add(item)
            if size >= _COLLISION_CHECK and not size & (size - 1) and len(result) > size:
                self._check_collisions(result)
        return result

    def _check_key(self, key: Any) -> None:
        """Limit the values that hashing ``key`` visits, before CPython hashes it on the C stack."""
        limits = self.source.limits
        cost = self._keys.of(key, limits.hashed, limits.depth)
        if cost.visited > limits.hashed:
            self._too_much(f"a key holds more than {limits.hashed:,} values.", "hashed")
        if cost.depth > limits.depth:
            self._too_much(f"a key is nested more than {limits.depth:,} deep.", "depth")
        if cost.unhashable is not None:
            raise TypeError(f"a {cost.unhashable.__name__} is used as a key")
        if cost.is_slow:
            raise LimitError(
                "decimals and integers of more than 600 digits are keys in one pickle, and "
                "comparing the two takes quadratic time.",
                file=self.source.name,
                where=f"offset {self._at}",
                remedy="The file is made to take for ever; it is refused.",
            )
        self.steps += cost.visited // 4 + cost.steps
        if self.steps > self._most:
            self._too_much("long keys are hashed again and again.", "opcodes")

    def _check_collisions(self, container: dict[Any, Any] | set[Any]) -> None:
        ((_, most),) = Counter(map(hash, container)).most_common(1)
        if most > _COLLISIONS:
            raise LimitError(
                f"{most:,} keys of one dict have the same hash.",
                file=self.source.name,
                where=f"offset {self._at}",
                remedy="The file is made to take for ever; it is refused.",
            )

    # Globals and instances.

    def _named(self, module: str, name: str) -> Global:
        if len(module) + len(name) > _NAME:
            raise DamagedFileError(
                f"a name of {len(module) + len(name):,} characters is here.",
                file=self.source.name,
                where=f"offset {self._at}",
                remedy=f"No module has one of more than {_NAME:,}; the file is damaged.",
            )
        qualname = f"{module}.{name}"
        known = self.globals.get(qualname)
        if known is None or known.module != module:
            known = self.globals[qualname] = Global(module, name)
        return known

    def _global_lines(self) -> Global:
        module = str(self._line(), "utf-8")
        name = str(self._line(), "utf-8")
        if module.endswith("\r") or name.endswith("\r"):
            raise CarriageReturnError(
                "its line ends are CR LF: it went through a transfer in text mode.",
                file=self.source.name,
                where=f"offset {self._at}",
                remedy="Transfer it again in binary mode.",
            )
        return self._named(module, name)

    def _global(self) -> None:
        known = self._global_lines()
        self._stack.append(_SINGLETONS.get(known.qualname, known))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a global's name is no text")
        known = self._named(module, name)
        self._stack.append(_SINGLETONS.get(known.qualname, known))

    def _extension(self, code: int) -> None:
        """EXT: an index of the writer's ``copyreg`` table; its name only if our table has it."""
        known = copyreg._inverted_registry.get(code)  # type: ignore[attr-defined]
        module, name = known or ("copyreg", f"extension {code}")
        self._stack.append(self._named(module, name))

    def _ext1(self) -> None:
        self._extension(self.take(1)[0])

    def _ext2(self) -> None:
        self._extension(_U2(self.take(2))[0])

    def _ext4(self) -> None:
        self._extension(_I4(self.take(4))[0])

    def _persid(self) -> None:
        self._refer(str(self._line(), "utf-8"))

    def _binpersid(self) -> None:
        self._refer(self._stack.pop())

    def _refer(self, pid: object) -> None:
        value = ABSENT if self._persistent is None else self._persistent(pid)
        self._stack.append(PersistentRef(pid) if value is ABSENT else value)

    def _made(self, record: Record) -> None:
        """Push a new record, and watch it when its BUILD will turn it into a plain value."""
        maker = record.maker
        if self._finisher(record.cls) or (maker is not None and self._finisher(maker)):
            self._waiting[id(record)] = []
        self._stack.append(record)

    def _finisher(self, ref: Global) -> Finisher | None:
        """Return the finisher for records of this class or function; None if there is none."""
        known = self._judged.get(id(ref))
        if known is None or known[0] is not ref:
            known = self._judged[id(ref)] = (ref, self._finish.get(ref.qualname))
        finisher: Finisher | None = known[1]
        return finisher

    def _inst(self) -> None:
        cls = self._global_lines()
        self._made(Record(cls, kind="inst", args=tuple(self._pop_to_mark())))

    def _obj(self) -> None:
        items = self._pop_to_mark()
        self._made(Record(self._class(items[0]), kind="obj", args=tuple(items[1:])))

    def _newobj(self) -> None:
        args, cls = self._stack.pop(), self._stack.pop()
        if not isinstance(args, tuple):
            raise TypeError("arguments are no tuple")
        self._made(fast_loop.new_record(self._class(cls), args))

    def _newobj_ex(self) -> None:
        kwargs, args, cls = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if not isinstance(args, tuple) or not isinstance(kwargs, dict):
            raise TypeError("arguments are no tuple, or keywords no dict")
        self._made(Record(self._class(cls), kind="newobj_ex", args=args, kwargs=kwargs))

    def _class(self, value: object) -> Global:
        """Return the global of a class; for a class that is made by a call, its maker.

        A class that a pickle holds by value has a name all the same.
        """
        if isinstance(value, Global):
            return value
        if isinstance(value, Record):
            return self._by_value(value) or value.cls
        raise TypeError(f"a {type(value).__name__} is where a class was expected")

    def _by_value(self, made: Record) -> Global | None:
        """Return the name of a class that the file holds by value; its content is kept in ``classes``."""
        found = class_of(made)
        if found is None:
            return None
        known = self.globals.setdefault(found.qualname, found)
        self.classes[known.qualname] = made
        return known

    def _reduce(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        if not isinstance(args, tuple):
            raise TypeError("arguments are no tuple")
        if not isinstance(function, Global):
            self._called(function, args)
            return
        known = self._asked.get(id(function))
        if known is None or known[0] is not function:
            name = function.qualname
            known = self._asked[id(function)] = (function, name, self._rebuild.get(name))
        _, name, handler = known
        if handler is not None:
            self._charge(args)
            value = self._plain(handler, args)
            kind = type(value)
            if kind in BARE and holds_bare(value):
                self._bare.append(value)
            if kind is Record:  # named by its class rather than by the function
                self._made(value)
                return
            if value is not INERT:
                self._stack.append(value)
                return
        if args and type(args[0]) is Record and name in _BY_CLASS:
            named = self._by_value(args[0])
            args = args if named is None else (named, *args[1:])
        if name in _RECONSTRUCTORS and len(args) == 3 and isinstance(args[0], Global):
            self._made(fast_loop.new_record(args[0], args[1:], "reconstructor", function))
        elif name in _NEWOBJ and args and isinstance(args[0], Global):
            self._made(fast_loop.new_record(args[0], args[1:]))
        elif name in _NEWOBJ_EX and _is_newobj_ex(args):
            self._made(Record(args[0], kind="newobj_ex", args=args[1], kwargs=args[2]))
        else:
            self._made(fast_loop.new_record(function, args, "reduce", function))

    def _called(self, function: object, args: tuple[object, ...]) -> None:
        """REDUCE of an instance (a partial, or a class made by a call)."""
        if not isinstance(function, Record):
            raise TypeError(f"a {type(function).__name__} is called")
        named = self._by_value(function)
        if named is not None:
            self._made(fast_loop.new_record(named, args, "reduce", named))
            return
        new = None if args else _partial_new(function)
        if new is not None:
            self._made(new)
            return
        record = Record(function.cls, kind="called", args=(function, args))
        self._stack.append(record)

    def _plain(self, handler: Callable[[Machine, Any], Any], parts: object) -> Any:
        """Call a handler; if the parts do not fit together, the record is kept instead."""
        try:
            return handler(self, parts)
        except PersistError:
            raise
        except _FAULTS:
            return INERT

    def _charge(self, parts: tuple[Any, ...]) -> None:
        """Charge the bytes that a handler may copy, since a file can pass the same parts repeatedly."""
        for part in parts:
            kind = type(part)
            if kind in _HOLDERS:
                if len(part) > 16:
                    self.source.spend_copies(16 * len(part))
            elif kind in _RAW and len(part) > 16:
                self.source.spend_copies(len(part))

    # Values that CPython frees by recursion on the C stack are tracked when nested (`nesting`).

    def _holds_bare(self, holder: object, items: Iterable[object]) -> None:
        if not BARE.isdisjoint(map(type, items)):
            self._bare.append(holder)

    def _refuse_deep(self) -> None:
        if is_too_deep(self._bare):
            raise LimitError(
                "arrays of objects, deques or defaultdicts hold each other more than "
                f"{MOST:,} deep.",
                file=self.source.name,
                remedy="Python itself would crash when it frees them.",
            )

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if type(target) is Record:
            self._build_record(target, state)
        elif type(target) is OrderedDict and are_attributes(state, OrderedDict):
            vars(target).update(state)
        else:
            # A plain value with a state: both are kept, and nothing is set on the value.
            cls = target if isinstance(target, Global) else Global("", type(target).__name__)
            self._stack[-1] = Record(cls, state, kind="built", args=(target,))

    def _build_record(self, record: Record, state: object) -> None:
        if record.state is not ABSENT:  # a second BUILD: the first state is kept below it
            self._stack[-1] = Record(record.cls, state, kind="built", args=(record,))
            return
        record.state = state
        slots = self._waiting.get(id(record))
        if slots is None:
            return
        finisher = self._finisher(record.cls)
        if finisher is None and record.maker is not None:
            finisher = self._finisher(record.maker)
        if finisher is not None and isinstance(state, tuple):
            self._charge(state)
        value = INERT if finisher is None else self._plain(finisher, record)
        if value is INERT:
            return
        if type(value) in BARE and holds_bare(value):
            self._bare.append(value)
        self._stack[-1] = value
        for slot in slots:
            if self._memo[slot] is record:
                self._memo[slot] = value
        if id(record) in self._escaped:
            self._replaced[id(record)] = (record, value)
        else:
            del self._waiting[id(record)]

    def _mend(self, root: object) -> Any:
        """Replace records that were used before they were finished by their finished values."""
        mended = _ReferencePatcher({key: value for key, (_, value) in self._replaced.items()})
        root = mended.walk(root)
        self._bare += mended.bare
        return root


class _ReferencePatcher:
    """Replaces records, by identity, in all values reachable from a root."""

    def __init__(self, replaced: dict[int, object]) -> None:
        self.replaced = replaced
        self.seen: set[int] = set()
        self.todo: list[Any] = []
        self.tuples: dict[int, tuple[object, tuple[object, ...]]] = {}
        self.bare: list[object] = []

    def walk(self, root: object) -> Any:
        """Return the root, with all containers below it updated in place."""
        root = self.swap(root)
        while self.todo:
            self.mend(self.todo.pop())
        return root

    def swap(self, value: object) -> Any:
        """Return the replacement of a value; containers are queued for updating."""
        if id(value) in self.replaced:
            value = self.replaced[id(value)]
        if isinstance(value, tuple) and value:
            return self.swap_tuple(value)
        is_holder = isinstance(value, list | dict | deque | Record) or (
            isinstance(value, np.ndarray) and value.dtype.hasobject
        )
        if is_holder and id(value) not in self.seen:
            self.seen.add(id(value))
            self.todo.append(value)
        return value

    def swap_tuple(self, value: tuple[object, ...]) -> tuple[Any, ...]:
        """Rebuild a tuple from the leaves up, without recursion, if anything in it changes."""
        stack = [value]
        entered: set[int] = set()
        while stack:
            top = stack[-1]
            if id(top) not in entered and id(top) not in self.tuples:
                entered.add(id(top))
                below = [
                    item
                    for item in top
                    if isinstance(item, tuple) and item and id(item) not in self.tuples
                ]
                if below:
                    stack.extend(below)
                    continue
            stack.pop()
            if id(top) not in self.tuples:
                items = tuple(
                    self.tuples[id(item)][1] if id(item) in self.tuples else self.swap(item)
                    for item in top
                )
                same = all(new is old for new, old in zip(items, top, strict=True))
                self.tuples[id(top)] = (top, top if same else items)
        return self.tuples[id(value)][1]

    def mend(self, holder: Any) -> None:
        """Update the items of one container in place."""
        if type(holder) in BARE:
            self.bare.append(holder)
        if isinstance(holder, Record):
            for name in ("args", "state"):
                setattr(holder, name, self.swap(getattr(holder, name)))
            self.swap(holder.kwargs)
            self.swap(holder.listitems)
            pairs = holder.dictitems
            pairs[:] = [(key, self.swap(item)) for key, item in pairs]
        elif isinstance(holder, dict):
            for key, item in list(holder.items()):
                holder[key] = self.swap(item)
        elif isinstance(holder, np.ndarray):
            self.mend_array(np.asarray(holder))
        else:
            for index, item in enumerate(holder):
                holder[index] = self.swap(item)

    def mend_array(self, array: np.ndarray[Any, Any]) -> None:
        """Update the objects in an array, also those in the fields of its rows."""
        todo = [array]
        while todo:
            part = todo.pop()
            if part.dtype.names is not None:
                todo += [part[name] for name in part.dtype.names if part[name].dtype.hasobject]
                continue
            for index, item in enumerate(part.flat):
                part.flat[index] = self.swap(item)


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


_ESCAPE = regex(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {
    b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v",
    b"\\": b"\\", b"'": b"'", b'"': b'"', b"\n": b"",
}  # fmt: skip


def _unescape(text: bytes) -> bytes:
    """The bytes that Python 2's ``repr`` of a ``str`` means (protocol 0's STRING)."""

    def one(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes((int(code[1:], 16),))
        if code[:1].isdigit() and code[:1] < b"8":
            return bytes((int(code, 8) & 255,))
        return _ESCAPED.get(code, match[0])

    return _ESCAPE.sub(one, text) if b"\\" in text else text


def _string_policy(
    policy: str | Callable[[bytes], Any] | None,
) -> Callable[[bytes], Any] | None:
    if policy is None or callable(policy):
        return policy
    if policy == "bytes":
        return lambda data: data
    if policy == "text":
        return _as_text
    try:
        codecs.lookup(policy)
    except LookupError as error:
        raise PersistError(
            f"py2_str={policy!r} is not a valid option for Python 2's str.",
            remedy='Give "text", "bytes", the name of an encoding, or a callable from bytes.',
        ) from error

    def decode(data: bytes) -> Any:
        try:
            return data.decode(policy)
        except UnicodeDecodeError:
            return data

    return decode


def _as_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


# Opcode, its name in CPython's pickletools, the method that executes it.
_OPCODES: tuple[tuple[bytes, str, str], ...] = (
    (b"(", "MARK", "_mark"),
    (b"0", "POP", "_pop"),
    (b"1", "POP_MARK", "_pop_to_mark"),
    (b"2", "DUP", "_dup"),
    (b"F", "FLOAT", "_float"),
    (b"I", "INT", "_int"),
    (b"J", "BININT", "_binint"),
    (b"K", "BININT1", "_binint1"),
    (b"L", "LONG", "_long"),
    (b"M", "BININT2", "_binint2"),
    (b"N", "NONE", "_none"),
    (b"P", "PERSID", "_persid"),
    (b"Q", "BINPERSID", "_binpersid"),
    (b"R", "REDUCE", "_reduce"),
    (b"S", "STRING", "_string"),
    (b"T", "BINSTRING", "_binstring"),
    (b"U", "SHORT_BINSTRING", "_short_binstring"),
    (b"V", "UNICODE", "_unicode"),
    (b"X", "BINUNICODE", "_binunicode"),
    (b"a", "APPEND", "_append"),
    (b"b", "BUILD", "_build"),
    (b"c", "GLOBAL", "_global"),
    (b"d", "DICT", "_dict"),
    (b"}", "EMPTY_DICT", "_empty_dict"),
    (b"e", "APPENDS", "_appends"),
    (b"g", "GET", "_get"),
    (b"h", "BINGET", "_binget"),
    (b"i", "INST", "_inst"),
    (b"j", "LONG_BINGET", "_long_binget"),
    (b"l", "LIST", "_list"),
    (b"]", "EMPTY_LIST", "_empty_list"),
    (b"o", "OBJ", "_obj"),
    (b"p", "PUT", "_put"),
    (b"q", "BINPUT", "_binput"),
    (b"r", "LONG_BINPUT", "_long_binput"),
    (b"s", "SETITEM", "_setitem"),
    (b"t", "TUPLE", "_tuple"),
    (b")", "EMPTY_TUPLE", "_empty_tuple"),
    (b"u", "SETITEMS", "_setitems"),
    (b"G", "BINFLOAT", "_binfloat"),
    (b"\x80", "PROTO", "_proto"),
    (b"\x81", "NEWOBJ", "_newobj"),
    (b"\x82", "EXT1", "_ext1"),
    (b"\x83", "EXT2", "_ext2"),
    (b"\x84", "EXT4", "_ext4"),
    (b"\x85", "TUPLE1", "_tuple1"),
    (b"\x86", "TUPLE2", "_tuple2"),
    (b"\x87", "TUPLE3", "_tuple3"),
    (b"\x88", "NEWTRUE", "_true"),
    (b"\x89", "NEWFALSE", "_false"),
    (b"\x8a", "LONG1", "_long1"),
    (b"\x8b", "LONG4", "_long4"),
    (b"B", "BINBYTES", "_binbytes"),
    (b"C", "SHORT_BINBYTES", "_short_binbytes"),
    (b"\x8c", "SHORT_BINUNICODE", "_short_binunicode"),
    (b"\x8d", "BINUNICODE8", "_binunicode8"),
    (b"\x8e", "BINBYTES8", "_binbytes8"),
    (b"\x8f", "EMPTY_SET", "_empty_set"),
    (b"\x90", "ADDITEMS", "_additems"),
    (b"\x91", "FROZENSET", "_frozenset"),
    (b"\x92", "NEWOBJ_EX", "_newobj_ex"),
    (b"\x93", "STACK_GLOBAL", "_stack_global"),
    (b"\x94", "MEMOIZE", "_memoize"),
    (b"\x95", "FRAME", "_frame"),
    (b"\x96", "BYTEARRAY8", "_bytearray8"),
    (b"\x97", "NEXT_BUFFER", "_next_buffer"),
    (b"\x98", "READONLY_BUFFER", "_readonly_buffer"),
)

_NAMES = {code[0]: name for code, name, _ in _OPCODES} | {0x2E: "STOP"}


def _unknown(machine: Machine) -> None:
    raise ValueError("no opcode")


Machine.table = [_unknown] * 256
for _code, _, _method in _OPCODES:
    Machine.table[_code[0]] = getattr(Machine, _method)
