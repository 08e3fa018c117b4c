"""Torch7's ``.t7``: Lua values as ``torch.save`` wrote them, binary or ASCII.

Written by  Lua Torch7 (2011 to 2017), also by its nn, nngraph, cutorch, tds.
Evidence    ``torch7/File.lua`` (``writeObject`` and ``readObject``, the numbers of the types),
            ``torch7/Tensor.lua``, ``generic/Tensor.c`` (``torch_Tensor_(read)``),
            ``generic/Storage.c``, ``tds/vec.lua`` and ``hash.lua``; files of 64-bit Linux.
Traps       No magic: a file begins with the number of a type. Numbers are doubles, integral
            keys of a table too. A class is preceded by a version ("V 1") except in files before
            it was introduced. Functions are Lua bytecode, and stay bytes. Sizes are C ``long``,
            8 bytes in all files that are met. Offsets count from 1.
Gives       Tables as dicts (integral keys as ints), tensors and storages as arrays that share
            memory where they did, any other class as a record with its table as state.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np

from persist._wire.source import Cursor, Source
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader
from persist.tree import ABSENT, Record

__all__ = ["Torch7Reader"]

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN, FUNCTION, OLD_RECURSIVE, RECURSIVE = range(9)

_DTYPES = {
    "Byte": "u1", "Char": "i1", "Short": "i2", "Int": "i4", "Long": "i8",
    "Half": "f2", "Float": "f4", "Double": "f8",
    "Cuda": "f4", "CudaByte": "u1", "CudaChar": "i1", "CudaShort": "i2", "CudaInt": "i4",
    "CudaLong": "i8", "CudaHalf": "f2", "CudaDouble": "f8", "Cl": "f4",
}  # fmt: skip
_LUA = (b"\x1bLua", b"\x1bLJ")
_DEEPEST = 64  # axes of a tensor

Step = Generator[None, Any, Any]


class Torch7Reader(Reader):
    """Lua Torch7's serialized objects."""

    name = "torch7"
    suffixes = (".t7",)

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or source.size < 12:
            return None
        head = source.head(64)
        if head[:1].isdigit():
            return _claims_text(head)
        kind, index = (int.from_bytes(head[at : at + 4], "little") for at in (0, 4))
        if index != 1 or kind not in (TABLE, TORCH, OLD_RECURSIVE, RECURSIVE):
            return None
        count = int.from_bytes(head[8:12], "little")
        if kind == TABLE:
            first = int.from_bytes(head[12:16], "little")
            fits = count <= source.size // 8 and (first in (NUMBER, STRING, TABLE, TORCH, BOOLEAN))
            return (
                "begins as a table of Torch7" if fits or (not count and source.size == 12) else None
            )
        if kind == TORCH:
            name = head[12 : 12 + count]
            is_name = 0 < count < 256 and (name.startswith(b"V ") or b"." in name)
            return "begins as an object of Torch7" if is_name and name.isascii() else None
        return "begins as a Lua function" if head[12:].startswith(_LUA) else None

    def read(self, source: Source, options: Options) -> Content:
        cursor = source.cursor()
        tokens: _Tokens = _Text(cursor) if source.head(1).isdigit() else _Binary(cursor)
        reading = _Reading(tokens, source)
        try:
            tree = reading.run()
        except (ValueError, OverflowError, TypeError, KeyError) as error:
            raise DamagedFileError(
                f"an object cannot be understood ({error}).",
                file=source.name,
                where=f"offset {cursor.offset}",
                remedy="The file is damaged, or of another kind.",
            ) from error
        damage = []
        if cursor.left and tokens.rest().strip():
            damage.append(f"{cursor.left:,} bytes follow the object, and nothing begins there")
        return Content(
            tree,
            structure={"classes": sorted(reading.classes), "encoding": tokens.encoding},
            damage=damage,
        )


def _claims_text(head: bytes) -> str | None:
    words = head.split()
    if len(words) < 3 or words[0] not in (b"3", b"4") or words[1] != b"1":
        return None
    if words[0] == b"4":
        is_object = words[2].isdigit() and (b"V" in words[3:4] or b"." in b"".join(words[3:4]))
        return "begins as an object of Torch7, in ASCII" if is_object else None
    return "begins as a table of Torch7, in ASCII" if words[2].isdigit() else None


class _Tokens:
    """The scalars of one of the two encodings."""

    encoding = ""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor

    def integer(self) -> int:
        raise NotImplementedError

    def long(self) -> int:
        raise NotImplementedError

    def double(self) -> float:
        raise NotImplementedError

    def data(self, count: int) -> bytes:
        raise NotImplementedError

    def array(self, dtype: np.dtype[Any], count: int) -> Any:
        raise NotImplementedError

    def rest(self) -> bytes:
        """What follows, as far as it is looked at."""
        return self.cursor.source.read(self.cursor.offset, min(self.cursor.left, 64))


class _Binary(_Tokens):
    encoding = "binary"

    def integer(self) -> int:
        return self.cursor.i32()

    def long(self) -> int:
        return self.cursor.i64()

    def double(self) -> float:
        return float(self.cursor.number("<d"))

    def data(self, count: int) -> bytes:
        return self.cursor.read(count)

    def array(self, dtype: np.dtype[Any], count: int) -> Any:
        return np.asarray(self.cursor.array(dtype, (count,)))


class _Text(_Tokens):
    """Words between blanks; a string is its length, a line end, and its bytes."""

    encoding = "ascii"

    def _word(self) -> bytes:
        source, cursor = self.cursor.source, self.cursor
        word = b""
        while cursor.left:
            part = source.read(cursor.offset, min(cursor.left, 64))
            if not word:
                blank = len(part) - len(part.lstrip())
                cursor.offset += blank
                part = part[blank:]
                if not part:
                    continue
            end = next((at for at, code in enumerate(part) if code in b" \t\r\n"), len(part))
            word += part[:end]
            cursor.offset += end
            if end < len(part) or len(word) > 64:
                break
        if not word or len(word) > 64:
            raise self.cursor.damaged(f"a number is expected, found {word[:20]!r}.")
        return word

    def integer(self) -> int:
        return int(self._word())

    def long(self) -> int:
        return int(self._word())

    def double(self) -> float:
        return float(self._word())

    def data(self, count: int) -> bytes:
        self.cursor.read(1)  # the line end behind the length
        return self.cursor.read(count)

    def array(self, dtype: np.dtype[Any], count: int) -> Any:
        self.cursor.count(count, 2, "numbers")
        self.cursor.source.spend(count * dtype.itemsize)
        words = (self._word() for _ in range(count))
        return np.array([float(word) if dtype.kind == "f" else int(word) for word in words], dtype)


class _Reading:
    """Reads one object; each value is a generator that asks for the objects in it."""

    def __init__(self, tokens: _Tokens, source: Source) -> None:
        self.tokens = tokens
        self.source = source
        self.classes: set[str] = set()
        self._known: dict[int, Any] = {}

    def run(self) -> Any:
        stack: list[Step] = [self._object()]
        value: Any = None
        while stack:
            try:
                stack[-1].send(value)
            except StopIteration as stop:
                stack.pop()
                value = stop.value
                continue
            stack.append(self._object())
            value = None
        return value

    def _object(self) -> Step:
        tokens = self.tokens
        kind = tokens.integer()
        if kind == NIL:
            return None
        if kind == NUMBER:
            return _number(tokens.double())
        if kind == STRING:
            return _text(self._string())
        if kind == BOOLEAN:
            return tokens.integer() == 1
        if kind == FUNCTION:
            return (yield from self._function())
        if kind not in (TABLE, TORCH, OLD_RECURSIVE, RECURSIVE):
            raise tokens.cursor.damaged(f"{kind} is no type of Torch7.")
        index = tokens.integer()
        if index in self._known:
            return self._known[index]
        if kind == TABLE:
            return (yield from self._table(index))
        if kind == TORCH:
            return (yield from self._torch(index))
        return (yield from self._function(index))

    def _string(self) -> bytes:
        return self.tokens.data(self.tokens.integer())

    def _table(self, index: int) -> Step:
        table: dict[Any, Any] = {}
        self._known[index] = table
        count = self.tokens.cursor.count(self.tokens.integer(), 4, "pairs of a table")
        for _ in range(count):
            key = yield
            value = yield
            table[key if _is_key(key) else f"<{type(key).__name__} {len(table)}>"] = value
        return table

    def _function(self, index: int | None = None) -> Step:
        """Lua bytecode and what it closes over: bytes, never run."""
        record = Record("lua.function", {"bytecode": self._string()})
        if index is not None:
            self._known[index] = record
        record["upvalues"] = yield
        return record

    def _torch(self, index: int) -> Step:
        name = self._string()
        if name.startswith(b"V "):
            name = self._string()
        qualname = name.decode("utf-8", "replace")
        self.classes.add(qualname)
        module, _, last = qualname.rpartition(".")
        kind = last.removesuffix("Tensor").removesuffix("Storage")
        if module == "torch" and kind in _DTYPES and last != kind:
            dtype = np.dtype(_DTYPES[kind]).newbyteorder("<")
            if last.endswith("Storage"):
                count = self.tokens.long()
                self.tokens.cursor.count(count, 0, "elements")
                self._known[index] = self.tokens.array(dtype, count)
                return self._known[index]
            return (yield from self._tensor(index, dtype))
        if module == "tds" and last in ("Vec", "Hash"):
            return (yield from self._tds(index, last))
        record = Record(qualname)
        self._known[index] = record
        state = yield
        record.state = ABSENT if state is None else state
        return record

    def _tensor(self, index: int, dtype: np.dtype[Any]) -> Step:
        tokens = self.tokens
        ndim = tokens.integer()
        if not 0 <= ndim <= _DEEPEST:
            raise tokens.cursor.damaged(f"a tensor has {ndim} axes.")
        shape = tuple(tokens.long() for _ in range(ndim))
        strides = tuple(tokens.long() for _ in range(ndim))
        offset = tokens.long() - 1
        storage = yield
        tensor = _view(storage, dtype, shape, strides, offset)
        if tensor is None:
            raise tokens.cursor.damaged(
                f"a tensor of shape {shape}, strides {strides} and offset {offset} passes its storage."
            )
        self._known[index] = tensor
        return tensor

    def _tds(self, index: int, kind: str) -> Step:
        """A vector or hash of the library tds: a count, then its items."""
        count = self.tokens.cursor.count(self.tokens.integer(), 4, "items")
        made: Any = [] if kind == "Vec" else {}
        self._known[index] = made
        if kind == "Vec":
            yield  # its writer begins with the item at 0, which is nil
        for _ in range(count):
            if kind == "Vec":
                made.append((yield))
            else:
                key = yield
                made[key if _is_key(key) else f"<{type(key).__name__} {len(made)}>"] = yield
        return made


def _number(value: float) -> Any:
    return (
        int(value) if math.isfinite(value) and value.is_integer() and abs(value) < 2**53 else value
    )


def _text(data: bytes) -> Any:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _is_key(value: Any) -> bool:
    return isinstance(value, int | float | str | bytes | bool)


def _view(
    storage: Any,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
) -> Any:
    """The elements of a storage that a tensor names, or None where they pass its end."""
    if not shape or 0 in shape or storage is None:
        return np.empty(shape if 0 in shape else (0,), dtype)
    if not isinstance(storage, np.ndarray) or storage.dtype != dtype:
        return None
    if min(shape) < 0 or min(strides) < 0 or offset < 0:
        return None
    last = offset + sum(
        (extent - 1) * stride for extent, stride in zip(shape, strides, strict=True)
    )
    if last >= storage.size:
        return None
    steps = tuple(stride * dtype.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(
        storage[offset:], shape, steps, writeable=storage.flags.writeable
    )
