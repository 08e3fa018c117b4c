"""Torch7's ``.t7``: Lua's tables, strings and tensors, binary or as text.

Written by  Lua Torch 5 to 7 (2011 to 2017), ``torch.save(name, object, "binary")``
            or ``"ascii"``; by ``torch.saveobj``, fb.resnet.torch, OpenFace.
Evidence    ``File.lua`` (``writeObject``, ``readObject``), ``generic/Tensor.c`` and
            ``generic/Storage.c`` (``read``) and ``lib/TH/THDiskFile.c`` of torch7;
            ``hash.lua`` and ``vec.lua`` of tds.
Traps       There is no magic number. A tensor counts its offset from 1, and shares
            its storage with others. ``long`` takes 8 bytes, on machines of 32 bits 4.
            Objects of before 2013 have no version. A table may hold itself.
Gives       Tables as dicts (numbers that are whole as int keys, from 1 as Lua counts),
            tensors as arrays that are views of the file, objects of Lua classes as
            records, functions as records of their dumped code, which is never loaded.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from persist._runtime.lazy_regex import regex
from persist._wire.base.dtype_text import from_text
from persist._wire.base.source import Cursor, Source
from persist.errors import DamagedFileError, FormatError, LimitError
from persist.readers.base import Content, Options, Reader
from persist.tree import ABSENT, LazyArray, Record
from persist.typing import Array, DType

__all__ = ["BinaryTokens", "TextTokens", "Torch7Reader", "held_by", "is_text"]

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN, FUNCTION, LEGACY, RECURSIVE = range(9)

_ELEMENTS = {
    "Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8", "Float": "<f4",
    "Double": "<f8", "Half": "<f2",
}  # fmt: skip
_DEEPEST = 1 << 20  # objects that are open at a time

_TEXT_OBJECT = regex(rb"4\s+\d+\s+\d+\s+V \d+\s+\d+\s+[\w.]+")
_TEXT_TABLE = regex(rb"3\n\d+\n\d+\n[1-5]\n")


class Torch7Reader(Reader):
    """Files of Lua Torch."""

    name = "torch7"
    suffixes = (".t7", ".th")
    refines = ("pickle",)  # a number's type may by chance be a pickle opcode

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or source.size < 8:
            return None
        head = source.head(512)
        if _TEXT_OBJECT.match(head):
            return "Torch7's text of an object"
        if _TEXT_TABLE.match(head) and source.size <= 1 << 20 and _reads_as_text(source):
            return "Torch7's text of a table"
        what = _binary_claim(source, head)
        return None if what is None else f"Torch7's {what}"

    def read(self, source: Source, options: Options) -> Content:
        if is_text(source):
            reading = _Reading(TextTokens(source))
            tree = reading.read()
            return _content(reading, tree, "ascii")
        reading = _Reading(BinaryTokens(source, 8))
        try:
            tree = reading.read()
        except FormatError as error:
            reading = _Reading(BinaryTokens(source, 4))  # written by a machine of 32 bits
            try:
                tree = reading.read()
            except FormatError:
                raise error from None
            if reading.tokens.left:
                raise
        return _content(reading, tree, "binary")


def _content(reading: _Reading, tree: object, form: str) -> Content:
    damage = []
    if reading.tokens.left:
        damage.append(f"{reading.tokens.left:,} bytes follow the object and were not read")
    structure = {"encoding": form, "classes": sorted(reading.classes)}
    return Content(tree, structure=structure, damage=damage)


def _binary_claim(source: Source, head: bytes) -> str | None:
    """What a binary file begins with, if its first numbers fit each other."""
    kind, index, count = struct.unpack("<3i", head[:12].ljust(12, b"\xff"))
    if kind == NUMBER and source.size == 12:
        return "number"
    if kind == BOOLEAN and source.size == 8 and index in (0, 1):
        return "boolean"
    if kind == STRING and index == source.size - 8:
        return "string"
    if kind in (LEGACY, RECURSIVE) and 0 < index < 1 << 24 and 0 < count <= source.size:
        return "function" if head[12:15] in (b"\x1bLJ", b"\x1bLu") else None
    if kind == OBJECT and 0 < index < 1 << 24 and 0 < count <= 256:
        name = head[12 : 12 + count]
        is_new = re.fullmatch(rb"V \d{1,3}", name) is not None
        is_old = re.fullmatch(rb"[A-Za-z_][\w.]*\.[\w.]+", name) is not None
        return f"object {name.decode('ascii')!r}" if is_new or is_old else None
    if kind == TABLE and 0 < index < 1 << 24 and 0 <= count <= source.size // 4:
        return _table_claim(source, head, count)
    return None


def _table_claim(source: Source, head: bytes, count: int) -> str | None:
    if not count:
        return "empty table" if source.size == 12 else None
    kind, length = struct.unpack("<2i", head[12:20].ljust(8, b"\xff"))
    if kind == NUMBER and len(head) >= 28:
        value = struct.unpack("<d", head[16:24])[0]
        beyond = int.from_bytes(head[24:28], "little")
        fits = math.isfinite(value) and value == int(value) and abs(value) < 1 << 53
        return "table" if fits and beyond <= RECURSIVE else None
    if kind == STRING and 0 <= length <= source.size - 20:
        text = head[20 : 20 + min(length, 400)]
        tail = head[20 + length : 24 + length]
        fits = len(tail) < 4 or int.from_bytes(tail, "little") <= RECURSIVE
        return "table" if fits and (text.isascii() and b"\0" not in text) else None
    if kind in (OBJECT, TABLE) and length == int.from_bytes(head[4:8], "little"):
        return "table" if int.from_bytes(head[20:24], "little") <= RECURSIVE else None
    if kind in (OBJECT, TABLE, BOOLEAN) and 0 <= length < 1 << 24:
        inner = _binary_claim(source, head[12:]) if kind != BOOLEAN else "boolean"
        return "table" if inner and "empty" not in inner else None
    return None


def _reads_as_text(source: Source) -> bool:
    """Whether a text of numbers, which anything may be, is a whole table."""
    try:
        reading = _Reading(TextTokens(source))
        reading.read()
    except FormatError:
        return False
    return not reading.tokens.left


def is_text(source: Source) -> bool:
    """Whether a file of Torch7 is one of text: its first number is written out."""
    return source.head(2)[1:] in (b"\n", b" ", b"\r")


def held_by(title: str) -> tuple[DType, str] | None:
    """The elements of a class of tensors or storages, and "Tensor" or "Storage"; None for any other class."""
    home, _, last = title.rpartition(".")
    if home not in ("torch", "cutorch", "cltorch"):
        return None
    last = re.sub(r"^(Cuda|Cl)(Tensor|Storage)$", r"\1Float\2", last)
    found = re.fullmatch(r"(?:Cuda|Cl)?([A-Z][a-z]+)(Tensor|Storage)", last)
    if found is None or found[1] not in _ELEMENTS:
        return None
    return np.dtype(_ELEMENTS[found[1]]), found[2]


# Tokens.


class BinaryTokens:
    """Numbers and strings of a binary file."""

    def __init__(self, source: Source, long: int) -> None:
        self.source = source
        self.cursor = Cursor(source)
        self.wide = long

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return self.cursor.left

    @property
    def offset(self) -> int:
        """Where the next token begins, in bytes."""
        return self.cursor.offset

    def where(self) -> str:
        """Return the place of the next token, for errors."""
        return f"offset {self.offset}"

    def whole(self) -> int:
        """Read an ``int``, of 4 bytes."""
        return int.from_bytes(self.cursor.view(4), "little", signed=True)

    def long(self) -> int:
        """Read a ``long``, of 8 bytes, or 4 of a machine of 32 bits."""
        return int.from_bytes(self.cursor.view(self.wide), "little", signed=True)

    def longs(self, count: int) -> list[int]:
        """Read that many ``long``."""
        data = self.cursor.view(count * self.wide)
        return [int(value) for value in np.frombuffer(bytes(data), f"<i{self.wide}")]

    def double(self) -> float:
        """Read a number."""
        value: float = struct.unpack("<d", self.cursor.view(8))[0]
        return value

    def chars(self, count: int) -> bytes:
        """Read that many bytes."""
        return self.cursor.read(count)

    def elements(self, dtype: DType, count: int) -> Array | LazyArray:
        """Read the elements of a storage: an array of shape ``(count,)``."""
        if dtype.kind == "i" and dtype.itemsize == 8:
            dtype = from_text(f"<i{self.wide}")
        offset = self.cursor.offset
        array = self.source.array(offset, dtype, (count,))
        self.cursor.offset += count * dtype.itemsize
        return array


class TextTokens:
    """The same of a file of text: numbers behind each other, strings as they are."""

    _GAP = re.compile(rb"\s*")
    _WORD = re.compile(rb"\s*(\S+)")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = bytes(source.view(0, source.size))
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self.data[self.at :].strip())

    @property
    def offset(self) -> int:
        """Where the next token begins, in bytes."""
        return self.at

    def where(self) -> str:
        """Return the place of the next token, for errors."""
        return f"offset {self.offset}"

    def _word(self) -> bytes:
        found = self._WORD.match(self.data, self.at)
        if found is None:
            raise DamagedFileError(
                "it ends where a number was expected.", file=self.source.name, where=self.where()
            )
        self.at = found.end()
        if self.data[self.at : self.at + 1] == b"\n":  # what THDiskFile eats behind a number
            self.at += 1
        return found[1][:64]

    def whole(self) -> int:
        """Read a whole number."""
        word = self._word()
        try:
            return int(word)
        except ValueError as error:
            raise DamagedFileError(
                f"{word!r} is no whole number.", file=self.source.name, where=self.where()
            ) from error

    long = whole

    def longs(self, count: int) -> list[int]:
        """Read that many ``long``."""
        self._room(count, 1)
        return [self.whole() for _ in range(count)]

    def double(self) -> float:
        """Read a number."""
        word = self._word()
        try:
            return float(word)
        except ValueError as error:
            raise DamagedFileError(
                f"{word!r} is no number.", file=self.source.name, where=self.where()
            ) from error

    def chars(self, count: int) -> bytes:
        """Read that many bytes."""
        self._room(count, 1)
        found = self.data[self.at : self.at + count]
        self.at += count
        if self.data[self.at : self.at + 1] == b"\n":
            self.at += 1
        return found

    def _room(self, count: int, width: int) -> None:
        if count < 0 or self.at + count * width > len(self.data):
            raise DamagedFileError(
                f"{count:,} items are claimed, {len(self.data) - self.at:,} bytes are left.",
                file=self.source.name,
                where=self.where(),
            )

    def elements(self, dtype: DType, count: int) -> Array | LazyArray:
        """Read the elements of a storage: an array of shape ``(count,)``."""
        self._room(count, 1)
        if dtype.itemsize == 1:
            return np.frombuffer(bytearray(self.chars(count)), dtype)
        self.source.spend(count * dtype.itemsize)
        read = self.double if dtype.kind == "f" else self.whole
        try:
            return np.array([read() for _ in range(count)], dtype)
        except OverflowError as error:
            raise DamagedFileError(
                f"a number does not fit {dtype}.", file=self.source.name, where=self.where()
            ) from error


# Objects.


class _Frame:
    """An object that waits for others: how many, and what becomes of them."""

    __slots__ = ("finish", "take", "wanted")

    def __init__(self, wanted: int, take: Callable[[Any], None], finish: Callable[[], Any]) -> None:
        self.wanted = wanted
        self.take = take
        self.finish = finish


class _Storage:
    """A storage, as a type distinct from tensors."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array


class _Reading:
    """One pass over a file; what is nested waits on a stack of its own."""

    def __init__(self, tokens: BinaryTokens | TextTokens) -> None:
        self.tokens = tokens
        self.known: dict[int, Any] = {}
        self.frames: list[_Frame] = []
        self.classes: set[str] = set()
        self._last: Any = None

    def read(self) -> Any:
        while True:
            value = self._one()
            if value is _OPENED:
                value = self._closed()
            elif self.frames:
                self.frames[-1].take(value)
                self.frames[-1].wanted -= 1
                value = self._closed()
            if value is not _OPENED:
                return _plain(value)

    def _closed(self) -> object:
        """Finish what waits for nothing more; the value of the outermost when that is done."""
        while self.frames and not self.frames[-1].wanted:
            value = self.frames.pop().finish()
            if not self.frames:
                return value
            self.frames[-1].take(value)
            self.frames[-1].wanted -= 1
        return _OPENED

    def _damaged(self, what: str) -> DamagedFileError:
        return DamagedFileError(
            f"{what}.",
            file=self.tokens.source.name,
            where=self.tokens.where(),
            remedy="The file is damaged, or no file of Torch7.",
        )

    def _one(self) -> object:
        kind = self.tokens.whole()
        if kind == NIL:
            return None
        if kind == NUMBER:
            return self.tokens.double()
        if kind == BOOLEAN:
            value = self.tokens.whole()
            if value not in (0, 1):
                raise self._damaged(f"a boolean is {value}")
            return bool(value)
        if kind == STRING:
            return _text(self._chars())
        if kind == FUNCTION:
            return self._function(None)
        if kind not in (TABLE, OBJECT, LEGACY, RECURSIVE):
            raise self._damaged(f"there is no type {kind}")
        index = self.tokens.whole()
        if index in self.known:
            known = self.known[index]
            if known is ABSENT:
                raise self._damaged(f"object {index} holds itself")
            return known
        if kind == TABLE:
            return self._table(index)
        return self._object(index) if kind == OBJECT else self._function(index)

    def _chars(self) -> bytes:
        count = self.tokens.whole()
        if count < 0:
            raise self._damaged(f"a string of {count} bytes cannot be")
        return self.tokens.chars(count)

    def _open(self, wanted: int, take: Callable[[Any], None], finish: Callable[[], Any]) -> object:
        if len(self.frames) >= _DEEPEST:
            raise LimitError("it is nested too deeply.", file=self.tokens.source.name)
        self.frames.append(_Frame(wanted, take, finish))
        return _OPENED

    def _table(self, index: int) -> object:
        count = self.tokens.whole()
        if not 0 <= count <= self.tokens.left:
            raise self._damaged(f"a table of {count:,} items is claimed")
        table: dict[Any, Any] = {}
        self.known[index] = table
        return self._pairs(table, count)

    def _pairs(self, table: dict[Any, object], count: int) -> object:
        keys: list[Any] = []

        def take(value: Any) -> None:
            if keys:
                key = keys.pop()
                table[_key(key, table)] = _plain(value)
            else:
                keys.append(value)

        return self._open(2 * count, take, lambda: table)

    def _function(self, index: int | None) -> object:
        record = Record("lua.function", {"bytecode": self._chars()})
        if index is not None:
            self.known[index] = record

        def take(value: Any) -> None:
            record["upvalues"] = _plain(value)

        return self._open(1, take, lambda: record)

    def _object(self, index: int) -> object:
        name = self._chars()
        version = None
        if name.startswith(b"V ") and name[2:].isdigit() and len(name) < 8:
            version, name = int(name[2:]), self._chars()
        title = name.decode("utf-8", "replace")
        if not title.isprintable() or not 0 < len(title) < 200:
            raise self._damaged(f"a class is named {title[:60]!r}")
        self.classes.add(title)
        held = held_by(title)
        if held is not None:
            dtype, what = held
            return (self._storage if what == "Storage" else self._tensor)(index, dtype)
        if title == "tds.Vec" or title == "tds.Hash":
            return self._container(index, title == "tds.Hash")
        record = Record(title, version=None if version in (None, 0) else version)
        self.known[index] = record

        def take(value: Any) -> None:
            object.__setattr__(record, "state", _plain(value))

        return self._open(1, take, lambda: record)

    def _container(self, index: int, is_hash: bool) -> object:
        count = self.tokens.long()
        if not 0 <= count <= self.tokens.left:
            raise self._damaged(f"{count:,} items are claimed")
        if is_hash:
            table: dict[Any, Any] = {}
            self.known[index] = table
            return self._pairs(table, count)
        items: list[Any] = []
        self.known[index] = items
        return self._open(count, lambda value: items.append(_plain(value)), lambda: items)

    def _storage(self, index: int, dtype: DType) -> object:
        count = self.tokens.long()
        if count < 0:
            raise self._damaged(f"a storage of {count:,} elements cannot be")
        storage = self.known[index] = _Storage(self.tokens.elements(dtype, count))
        return storage

    def _tensor(self, index: int, dtype: DType) -> object:
        rank = self.tokens.whole()
        if not 0 <= rank <= 64:
            raise self._damaged(f"a tensor of {rank} axes cannot be")
        shape, steps = self.tokens.longs(rank), self.tokens.longs(rank)
        offset = self.tokens.long() - 1
        self.known[index] = ABSENT
        found: list[Any] = []

        def finish() -> object:
            array = self._strided(found[0], dtype, shape, steps, offset)
            self.known[index] = array
            return array

        return self._open(1, found.append, finish)

    def _strided(
        self, storage: Any, dtype: DType, shape: list[int], steps: list[int], offset: int
    ) -> object:
        if storage is None or not shape:
            return np.empty((0,), dtype)
        if not isinstance(storage, _Storage):
            raise self._damaged(f"a tensor's storage is a {type(storage).__name__}")
        flat = storage.array
        if any(extent < 0 for extent in shape) or len(shape) > 32:
            raise self._damaged(f"a tensor of shape {tuple(shape)} cannot be")
        if 0 in shape:
            return np.empty(shape, flat.dtype)
        reach = [(extent - 1) * step for extent, step in zip(shape, steps, strict=True)]
        low = offset + sum(min(0, far) for far in reach)
        high = offset + sum(max(0, far) for far in reach)
        if low < 0 or high >= flat.size:
            raise self._damaged(
                f"a tensor of shape {tuple(shape)}, strides {tuple(steps)} and offset {offset} "
                f"passes its storage of {flat.size:,} elements"
            )
        size = flat.dtype.itemsize
        source = self.tokens.source
        if math.prod(shape) * size > source.limits.total_for(source.size):
            raise LimitError(
                f"a tensor of shape {tuple(shape)} repeats its elements too often.",
                file=source.name,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )

        def view(whole: Array) -> Array:
            return np.lib.stride_tricks.as_strided(
                whole[offset:],
                shape,
                [size * step for step in steps],
                writeable=whole.flags.writeable,
            )

        if isinstance(flat, LazyArray):
            return LazyArray(flat.dtype, tuple(shape), lambda: view(flat.read()))
        return view(flat)


_OPENED: object = object()


def _plain(value: Any) -> Any:
    return value.array if isinstance(value, _Storage) else value


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _key(key: Any, table: dict[object, Any]) -> Any:
    """A table's key as a dict's: whole numbers as int; what cannot be hashed in a record."""
    key = _plain(key)
    if isinstance(key, float) and key.is_integer() and abs(key) < 1 << 53:
        key = int(key)
    if isinstance(key, dict | list | np.ndarray | LazyArray):
        return Record("lua.key", key)
    if key in table:  # 1 and true are one key in Python and two in Lua
        return Record("lua.key", key)
    return key
