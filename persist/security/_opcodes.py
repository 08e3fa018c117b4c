"""What a pickle would import and call, found without building anything.

Every opcode of protocols 0 to 5 is executed on abstract values: names, texts and small tuples
keep their meaning, all else is one opaque value. So the stack and the memo are those of the
unpickler at every opcode, and no value is ever built, hashed or compared: the time is linear in
the bytes, whatever the pickle would make of them. What the unpickler would refuse is passed over
where the stack allows it: a name after it is reported all the same.

Source of the opcodes: CPython's ``Lib/pickletools.py``, ``Lib/pickle.py``, ``Modules/_pickle.c``.
"""

from __future__ import annotations

import copyreg
import re
import struct
from typing import Any, NamedTuple

from persist._runtime.lazy_regex import regex
from persist._wire.joblib.wrappers import INLINE
from persist.typing import State

__all__ = ["NESTED", "Import", "Nested", "Walk"]

_U2 = struct.Struct("<H").unpack_from
_U4 = struct.Struct("<I").unpack_from
_I4 = struct.Struct("<i").unpack_from
_U8 = struct.Struct("<Q").unpack_from

_NAMES = 100_000  # different names of one pickle that are kept
_CONSTANTS = 10_000  # embedded files of one pickle that are kept
_LINE = 1 << 16  # bytes of a line that are read; a module has no longer name
# What is kept of a dict: the state of an array's wrapper.
_FIELDS = frozenset(("dtype", "shape", "order", "numpy_array_alignment_bytes"))

# What an embedded file begins with: pickles, archives, compressed streams, NPY, HDF5.
NESTED = regex(
    rb"\x80[\x00-\x05][\x28-\x98]|PK\x03\x04|\x1f\x8b\x08|BZh[1-9]|\xfd7zXZ|\x78[\x01\x5e\x9c\xda]"
    rb"|\x93NUMPY|\x89HDF|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|\(*[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n"
    rb"|\(?[ld]p0?\n?"
)
# First bytes of what `NESTED` and `_BYTES_AS_TEXT` match.
_FIRST = frozenset(b"\x80P\x1fB\xfdx\x93\x89\x28\x04cild\xc2\xc3")
# How files begin whose bytes are text of the same code points, as UTF-8.
_BYTES_AS_TEXT = frozenset((b"\xc2\x80", b"\xc2\x93", b"\xc2\x89", b"\x1f\xc2", b"\xc3\xbd", b"PK", b"BZ", b"x\xc2"))  # fmt: skip
_GETATTR = frozenset(("builtins.getattr", "__builtin__.getattr"))
_RECONSTRUCTORS = frozenset(("copy_reg._reconstructor", "copyreg._reconstructor"))
_NEWOBJ = frozenset(("copy_reg.__newobj__", "copyreg.__newobj__"))


class Import(NamedTuple):
    """A name that the unpickler would import.

    Attributes:
        offset: of the opcode.
        module: as the pickle spells it.
        name: dotted where an attribute of it is taken.
        how: "global"; "attribute" of ``getattr`` upon a name; "extension" of the registry of
            `copyreg`; "computed" where the text of the name is made while it is loaded.
    """

    offset: int
    module: str
    name: str
    how: str = "global"


class Nested(NamedTuple):
    """Bytes or text in a pickle that begin like a file, with the offset of their opcode."""

    offset: int
    data: bytes


class _Name(NamedTuple):
    module: str
    name: str

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}"


class _Made:
    """An instance of a named class or the result of a named function, whose state may be kept."""

    __slots__ = ("args", "maker", "state")

    def __init__(self, maker: _Name, args: tuple[object, ...]) -> None:
        self.maker = maker
        self.args = args
        self.state: State = {}


class _Stop(Exception):
    """The unpickler would stop here; its text is the reason."""


OPAQUE: object = type("Opaque", (), {"__repr__": lambda self: "OPAQUE"})()


class Walk:
    """One pickle, walked through from an offset.

    Args:
        data: the bytes that hold it; `bytes` are walked through faster than a view.
        at: where it begins.
        with_arrays: skip the raw arrays that joblib writes behind their wrappers, as joblib does;
            False reads what follows as opcodes, as pickle does.

    Attributes:
        imports: by (module, name, how), where each name occurs first.
        nested: texts and bytes that begin like a file.
        end: offset behind the last opcode that was executed.
        fault: why it stops before its end; "" if it reached STOP.
        has_wrappers: whether raw arrays of joblib are in it.
        steps: opcodes executed.
    """

    def __init__(self, data: bytes | memoryview, at: int = 0, *, with_arrays: bool = True) -> None:
        self.imports: dict[tuple[str, str, str], Import] = {}
        self.nested: list[Nested] = []
        self.end = at
        self.fault = ""
        self.has_wrappers = False
        self.is_cut = False  # names or constants were left out
        self.steps = 0
        self._data = data
        self._size = len(data)
        self._with_arrays = with_arrays
        self._stack: list[Any] = []
        self._marks: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._harmless = True  # every use of getattr so far names an attribute of a name
        self._has_getattr = False
        try:
            self._run()
        except _Stop as stop:
            self.fault = str(stop)
        except (IndexError, KeyError):
            self.fault = "the stack or the memo lacks a value"
        if self._has_getattr and self._harmless:
            for name in ("builtins", "__builtin__"):
                self.imports.pop((name, "getattr", "global"), None)

    # Bytes.

    def _take(self, count: int) -> bytes:
        end = self.end + count
        if count < 0 or end > self._size:
            raise _Stop(f"{count:,} bytes are due and {self._size - self.end:,} are left")
        part = bytes(self._data[self.end : end])
        self.end = end
        return part

    def _skip(self, count: int) -> None:
        if count < 0 or self.end + count > self._size:
            raise _Stop(f"{count:,} bytes are due and {self._size - self.end:,} are left")
        self.end += count

    def _line(self, most: int = _LINE) -> bytes:
        """The next line; what is longer than ``most`` is cut, its rest skipped."""
        start, at = self.end, self.end
        while at < self._size:
            chunk = bytes(self._data[at : at + 4096])
            place = chunk.find(b"\n")
            if place >= 0:
                self.end = at + place + 1
                return bytes(self._data[start : min(at + place, start + most)])
            at += len(chunk)
        self.steps += (at - start) // 1024
        raise _Stop("a line has no end")

    # Values.

    def _text(self, data: bytes) -> Any:
        """A text; long ones cannot be names."""
        if len(data) <= 4096:
            try:
                return data.decode("utf-8")
            except UnicodeDecodeError:
                return OPAQUE
        return OPAQUE

    def _constant(self, at: int, length: int) -> None:
        """Skip bytes or text of the pickle, and keep it if it begins like a file."""
        start = self.end
        self._skip(length)
        if length >= 8 and NESTED.match(self._data[start : start + 64]):
            if len(self.nested) < _CONSTANTS:
                self.nested.append(Nested(at, bytes(self._data[start : start + length])))
            else:
                self.is_cut = True

    def _push_bytes(self, at: int, length: int) -> None:
        start = self.end
        self._constant(at, length)
        # Python 2 writes names as bytes, and a dtype's byte order.
        short = bytes(self._data[start : start + length]) if length <= 64 else b""
        self._stack.append(self._text(short) if short else OPAQUE)

    def _push_text(self, at: int, length: int) -> None:
        start = self.end
        self._constant(at, length)
        if length >= 8 and bytes(self._data[start : start + 2]) in _BYTES_AS_TEXT:
            self._encoded(at, str(bytes(self._data[start : self.end]), "utf-8", "replace"))
        self._stack.append(
            self._text(bytes(self._data[start : self.end])) if length <= 4096 else OPAQUE
        )

    def _encoded(self, at: int, text: str) -> None:
        """Keep bytes that protocols 0 to 2 write as text, for ``_codecs.encode`` as latin-1."""
        try:
            data = text.encode("latin-1")
        except UnicodeEncodeError:
            return
        if NESTED.match(data[:64]) and len(self.nested) < _CONSTANTS:
            self.nested.append(Nested(at, data))

    def _found(self, at: int, module: str, name: str, how: str = "global") -> _Name:
        key = (module, name, how)
        if key not in self.imports:
            if len(self.imports) < _NAMES:
                self.imports[key] = Import(at, module, name, how)
            else:
                self.is_cut = True
        made = _Name(module, name)
        self._has_getattr |= made.dotted in _GETATTR
        return made

    def _global(self, at: int, module: object, name: object) -> Any:
        if type(module) is str and type(name) is str:
            return self._found(at, module, name)
        known = [one if type(one) is str else "?" for one in (module, name)]
        self._found(at, known[0], known[1], "computed")
        return OPAQUE

    def _extension(self, at: int, code: int) -> object:
        known = copyreg._inverted_registry.get(code)  # type: ignore[attr-defined]
        if known is not None:
            self._found(at, known[0], known[1])
        return self._found(at, "copyreg", f"extension {code}", "extension")

    def _escaped(self, items: Any) -> None:
        """Note where ``getattr`` itself is put into something, from where anything may call it."""
        if self._has_getattr and any(
            type(item) is _Name and item.dotted in _GETATTR for item in items
        ):
            self._harmless = False

    def _call(self, at: int) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        args = args if type(args) is tuple else (OPAQUE,)
        if type(function) is not _Name:
            self._stack.append(OPAQUE)
            return
        if function.dotted in _GETATTR:
            self._stack.append(self._attribute(at, args))
        elif function.dotted in _RECONSTRUCTORS | _NEWOBJ and args and type(args[0]) is _Name:
            self._stack.append(_Made(args[0], args[1:]))
        else:
            self._stack.append(_Made(function, args))

    def _attribute(self, at: int, args: tuple[Any, ...]) -> object:
        """``getattr(name, "attribute")`` is a name; upon anything else it is what it is."""
        if len(args) == 2 and type(args[0]) is _Name and type(args[1]) is str:
            return self._found(at, args[0].module, f"{args[0].name}.{args[1]}", "attribute")
        is_method = len(args) == 2 and type(args[0]) is _Made and type(args[1]) is str
        if is_method and not args[1].startswith("__"):
            return OPAQUE
        self._harmless = False
        return OPAQUE

    def _to_mark(self) -> list[object]:
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def _set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        self._escaped(items)
        if type(target) is dict:
            for index in range(0, len(items) - 1, 2):
                if type(items[index]) is str and items[index] in _FIELDS:
                    target[items[index]] = items[index + 1]

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        self._escaped((state, target))
        if type(target) is not _Made:
            return
        if type(state) is dict:
            target.state = state
        if target.maker.dotted in INLINE:
            self.has_wrappers = True
            if self._with_arrays:
                self._skip_array(target.state)

    def _skip_array(self, state: dict[str, object]) -> None:
        """Skip the raw bytes of an array behind its wrapper, as joblib reads them.

        Source: ``NumpyArrayWrapper.read_array`` of joblib's ``numpy_pickle.py``.
        """
        dtype, shape = state.get("dtype"), state.get("shape")
        size = _item_size(dtype)
        if size is None or type(shape) is not tuple:
            raise _Stop("an array of joblib is of no known type")
        if size < 0:  # objects: a pickle of its own
            inner = Walk(self._data, self.end, with_arrays=self._with_arrays)
            for key, one in inner.imports.items():
                self.imports.setdefault(key, one)
            self.nested += inner.nested
            self.end, self.steps = inner.end, self.steps + inner.steps
            self.is_cut |= inner.is_cut
            if inner.fault:
                raise _Stop(inner.fault)
            return
        if type(state.get("numpy_array_alignment_bytes")) is int:
            self._skip(self._take(1)[0])
        for extent in shape:
            if type(extent) is not int or extent < 0:
                raise _Stop("an array of joblib is of no known shape")
            size *= extent
        self._skip(size)

    # The loop: the most frequent opcodes on local names, the others one by one.

    def _run(self) -> None:
        raw: Any = self._data
        size, memo, marks = self._size, self._memo, self._marks
        stack, at, steps = self._stack, self.end, 0
        margin = size - 10
        try:
            while True:
                steps += 1
                code = raw[at] if at < margin else -1
                if code == 0x8C:  # SHORT_BINUNICODE
                    end = at + 2 + raw[at + 1]
                    if end <= size and (end < at + 10 or raw[at + 2] not in _FIRST):
                        try:
                            stack.append(str(raw[at + 2 : end], "utf-8"))
                        except UnicodeDecodeError:
                            stack.append(OPAQUE)
                        at = end
                        continue
                elif code == 0x94:  # MEMOIZE
                    memo[len(memo)] = stack[-1]
                    at += 1
                    continue
                elif code == 0x68:  # BINGET
                    stack.append(memo[raw[at + 1]])
                    at += 2
                    continue
                elif code == 0x4B:  # BININT1
                    stack.append(raw[at + 1])
                    at += 2
                    continue
                elif code == 0x47:  # BINFLOAT
                    stack.append(OPAQUE)
                    at += 9
                    continue
                elif code == 0x28:  # MARK
                    marks.append(stack)
                    stack = self._stack = []
                    at += 1
                    continue
                elif code == 0x6A:  # LONG_BINGET
                    stack.append(memo[_U4(raw, at + 1)[0]])
                    at += 5
                    continue
                elif code == 0x72:  # LONG_BINPUT
                    memo[_U4(raw, at + 1)[0]] = stack[-1]
                    at += 5
                    continue
                elif code == 0x71:  # BINPUT
                    memo[raw[at + 1]] = stack[-1]
                    at += 2
                    continue
                elif code == 0x7D:  # EMPTY_DICT
                    stack.append({})
                    at += 1
                    continue
                elif code == 0x5D or code == 0x4E:  # EMPTY_LIST, NONE
                    stack.append(OPAQUE)
                    at += 1
                    continue
                elif code == 0x4D or code == 0x4A:  # BININT2, BININT
                    wide = code == 0x4A
                    stack.append((_I4 if wide else _U2)(raw, at + 1)[0])
                    at += 5 if wide else 3
                    continue
                self.end = at
                if self._step():
                    return
                at, stack = self.end, self._stack
        finally:
            self.end = max(self.end, at)
            self.steps += steps

    def _step(self) -> bool:
        """Execute one opcode, with every byte checked; True for STOP."""
        at = self.end
        if at >= self._size:
            raise _Stop("it ends without STOP")
        code = self._data[at]
        self.end = at + 1
        if code == 0x8C:  # SHORT_BINUNICODE
            self._push_text(at, self._take(1)[0])
        elif code == 0x86:  # TUPLE2
            second = self._stack.pop()
            self._stack[-1] = self._tuple((self._stack[-1], second))
        elif code == 0x85:  # TUPLE1
            self._stack[-1] = self._tuple((self._stack[-1],))
        elif code == 0x87:  # TUPLE3
            third, second = self._stack.pop(), self._stack.pop()
            self._stack[-1] = self._tuple((self._stack[-1], second, third))
        elif code == 0x74:  # TUPLE
            items = self._tuple(tuple(self._to_mark()))  # replaces the stack
            self._stack.append(items)
        elif code == 0x75:  # SETITEMS
            self._set_items(self._to_mark())
        elif code == 0x73:  # SETITEM
            value, key = self._stack.pop(), self._stack.pop()
            self._set_items([key, value])
        elif code == 0x52:  # REDUCE
            self._call(at)
        elif code == 0x62:  # BUILD
            self._build()
        elif code == 0x2E:  # STOP
            self._stack.pop()
            return True
        elif code in _PUSHED:
            self._skip(_PUSHED[code])
            self._stack.append(OPAQUE)
        elif code in _SKIPPED:
            self._skip(_SKIPPED[code])
        else:
            self._rare(code, at)
        return False

    def _tuple(self, items: tuple[Any, ...]) -> object:
        """A tuple; its items are kept as far as a name or a shape needs them."""
        self._escaped(items)
        if len(items) > 64:
            return OPAQUE
        return tuple([OPAQUE if type(item) is tuple and len(item) > 8 else item for item in items])

    def _mark(self, at: int) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _keep(self, slot: int) -> None:
        self._memo[slot] = self._stack[-1]

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _float(self, at: int) -> None:
        self._skip(8)
        self._stack.append(OPAQUE)

    def _rare(self, code: int, at: int) -> None:
        act = _RARE.get(code)
        if act is None:
            raise _Stop(f"byte 0x{code:02x} is no opcode")
        act(self, at)

    def _pop(self, at: int) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _global_lines(self, at: int) -> None:
        module, name = self._text(self._line()), self._text(self._line())
        self._stack.append(self._global(at, module, name))

    def _stack_global(self, at: int) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._global(at, module, name))

    def _inst(self, at: int) -> None:
        items = self._to_mark()
        self._escaped(items)
        module, name = self._text(self._line()), self._text(self._line())
        self._stack += [self._global(at, module, name), tuple(items)]
        self._call(at)

    def _obj(self, at: int) -> None:
        items = self._to_mark()
        self._escaped(items[1:])
        self._stack += [items[0], tuple(items[1:])]
        self._call(at)

    def _newobj(self, at: int) -> None:
        args, cls = self._stack.pop(), self._stack.pop()
        self._escaped((cls,))
        made = type(cls) is _Name
        self._stack.append(_Made(cls, args if type(args) is tuple else ()) if made else OPAQUE)

    def _newobj_ex(self, at: int) -> None:
        self._stack.pop()
        self._newobj(at)

    def _append(self, at: int) -> None:
        self._escaped([self._stack.pop()])
        self._stack[-1]  # the list must be there

    def _drop_marked(self, at: int) -> None:
        self._escaped(self._to_mark())
        self._stack[-1]  # APPENDS and ADDITEMS leave what is below the mark

    def _holder(self, at: int) -> None:
        self._escaped(self._to_mark())
        self._stack.append(OPAQUE)

    def _dict(self, at: int) -> None:
        items = self._to_mark()
        self._stack.append({})
        self._set_items(items)

    def _dup(self, at: int) -> None:
        self._stack.append(self._stack[-1])

    def _line_value(self, at: int) -> None:
        line = self._line()
        try:
            value: Any = int(line.rstrip(b"lL\r ")) if len(line) <= 20 else OPAQUE
        except ValueError:
            value = OPAQUE
        self._stack.append(value)

    def _quoted(self, at: int) -> None:
        line = self._line(self._size).strip()
        text = line[1:-1] if len(line) > 1 and line[:1] in (b"'", b'"') else b""
        unescaped = re.sub(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", _unescape, text, flags=re.DOTALL)
        if len(unescaped) >= 8 and NESTED.match(unescaped[:64]):
            self.nested.append(Nested(at, unescaped))
        self._stack.append(self._text(unescaped))

    def _unicode_line(self, at: int) -> None:
        try:
            text = str(self._line(self._size), "raw-unicode-escape")
        except UnicodeDecodeError:
            self._stack.append(OPAQUE)
            return
        if len(text) >= 8:
            self._encoded(at, text)
        self._stack.append(text)

    def _put(self, at: int) -> None:
        self._memo[_number(self._line())] = self._stack[-1]

    def _get(self, at: int) -> None:
        self._stack.append(self._memo[_number(self._line())])

    def _readonly(self, at: int) -> None:
        self._stack[-1] = OPAQUE

    def _binpersid(self, at: int) -> None:
        self._escaped([self._stack.pop()])
        self._stack.append(OPAQUE)

    def _proto(self, at: int) -> None:
        if self._take(1)[0] > 5:
            raise _Stop("its protocol is beyond 5")

    def _persid(self, at: int) -> None:
        self._line()
        self._stack.append(OPAQUE)

    def _long1(self, at: int) -> None:
        self._stack.append(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True))

    def _long4(self, at: int) -> None:
        self._skip(max(_I4(self._take(4))[0], 0))
        self._stack.append(OPAQUE)


def _number(line: bytes) -> int:
    try:
        return int(line) if len(line) < 20 else -1
    except ValueError:
        return -1


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes((int(code[1:], 16),))
    if code[:1].isdigit() and code[:1] < b"8":
        return bytes((int(code, 8) & 255,))
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(code, code)


_DTYPE = re.compile(r"[<>=|]?([biufcmMSaUVO?])(\d*)\Z")
_BY_NAME = {
    "float64": 8, "float32": 4, "float16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8,
    "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16, "object": -1,
}  # fmt: skip


def _item_size(dtype: Any) -> int | None:
    """Bytes of an element by the pickled dtype, -1 of objects, None where it is of no known kind."""
    text = dtype.args[0] if type(dtype) is _Made and dtype.args else None
    if type(text) is not str or not dtype.maker.dotted.endswith("dtype"):
        return None
    if text in _BY_NAME:
        return _BY_NAME[text]
    match = _DTYPE.match(text)
    if match is None:
        return None
    if match[1] == "O":
        return -1
    return int(match[2] or "1") * (4 if match[1] == "U" else 1)


# Opcodes that push a value that means nothing here -> bytes of their argument.
_PUSHED = {0x4E: 0, 0x88: 0, 0x89: 0, 0x5D: 0, 0x8F: 0, 0x97: 0}
# Opcodes without an effect on the stack -> bytes of their argument.
_SKIPPED = {0x95: 8}

_RARE: dict[int, Any] = {
    0x28: Walk._mark,
    0x29: lambda walk, at: walk._push(()),
    0x47: Walk._float,
    0x4A: lambda walk, at: walk._push(_I4(walk._take(4))[0]),
    0x4B: lambda walk, at: walk._push(walk._take(1)[0]),
    0x4D: lambda walk, at: walk._push(_U2(walk._take(2))[0]),
    0x58: lambda walk, at: walk._push_text(at, _U4(walk._take(4))[0]),
    0x68: lambda walk, at: walk._push(walk._memo[walk._take(1)[0]]),
    0x6A: lambda walk, at: walk._push(walk._memo[_U4(walk._take(4))[0]]),
    0x71: lambda walk, at: walk._keep(walk._take(1)[0]),
    0x72: lambda walk, at: walk._keep(_U4(walk._take(4))[0]),
    0x7D: lambda walk, at: walk._push({}),
    0x94: lambda walk, at: walk._keep(len(walk._memo)),
    0x30: Walk._pop,
    0x31: lambda walk, at: walk._to_mark(),
    0x32: Walk._dup,
    0x46: Walk._line_value,
    0x49: Walk._line_value,
    0x4C: Walk._line_value,
    0x50: Walk._persid,
    0x51: Walk._binpersid,
    0x53: Walk._quoted,
    0x54: lambda walk, at: walk._push_bytes(at, _I4(walk._take(4))[0]),
    0x55: lambda walk, at: walk._push_bytes(at, walk._take(1)[0]),
    0x56: Walk._unicode_line,
    0x61: Walk._append,
    0x63: Walk._global_lines,
    0x64: Walk._dict,
    0x65: Walk._drop_marked,
    0x67: Walk._get,
    0x69: Walk._inst,
    0x6C: Walk._holder,
    0x6F: Walk._obj,
    0x70: Walk._put,
    0x80: Walk._proto,
    0x81: Walk._newobj,
    0x82: lambda walk, at: walk._stack.append(walk._extension(at, walk._take(1)[0])),
    0x83: lambda walk, at: walk._stack.append(walk._extension(at, _U2(walk._take(2))[0])),
    0x84: lambda walk, at: walk._stack.append(walk._extension(at, _I4(walk._take(4))[0])),
    0x8A: Walk._long1,
    0x8B: Walk._long4,
    0x42: lambda walk, at: walk._push_bytes(at, _U4(walk._take(4))[0]),
    0x43: lambda walk, at: walk._push_bytes(at, walk._take(1)[0]),
    0x8D: lambda walk, at: walk._push_text(at, _U8(walk._take(8))[0]),
    0x8E: lambda walk, at: walk._push_bytes(at, _U8(walk._take(8))[0]),
    0x90: Walk._drop_marked,
    0x91: Walk._holder,
    0x92: Walk._newobj_ex,
    0x93: Walk._stack_global,
    0x96: lambda walk, at: walk._push_bytes(at, _U8(walk._take(8))[0]),
    0x98: Walk._readonly,
}
