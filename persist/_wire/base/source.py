"""The input of every reader: bytes with a name, limits and neighbouring files.

A `Source` is a local file (mapped), a folder, a checkpoint prefix, ``bytes``,
an open binary file or an fsspec URL (ranged reads). No read goes beyond the
end: a length, count or shape that a file claims is checked against the
remaining bytes before anything is allocated.

Offsets and lengths are in bytes. Views of a mapped file stay valid after
`Source.close`, for as long as they are referenced.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import stat
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from persist.errors import DamagedFileError, LimitError, MissingExtraError, PersistError
from persist.tree import LazyArray
from persist.typing import Array, DType

__all__ = [
    "Cursor",
    "Limits",
    "Source",
    "create",
    "exists",
    "filesystem",
    "is_text_valid",
    "is_url",
    "open_source",
]

MIB = 1 << 20
_FIRST = 512  # bytes at the start that are cached, since every reader examines them
_EMPTY = 1 << 24  # limit of items of zero bytes, whose number the file size does not bound


class Limits(NamedTuple):
    """Limits of the cost of reading one file; each can be raised by ``limits={name: value}``.

    Attributes:
        opcodes: pickle opcodes; 0 means 64 a byte of the file (as it is stored, before
            decompression), at least 1e6 and at most 5e7.
        depth: levels of nesting of hashed values.
        hashed: values visited to hash one key or set item.
        digits: decimal digits of an integer written as text.
        total: bytes that decompression and copies may make; 0 means
            20 times the size of the file and of the neighbours read with it, at least 256 MiB.
        paths: natural paths that are listed.
        nested: files inside files.
    """

    opcodes: int = 0
    depth: int = 10_000
    hashed: int = 100_000
    digits: int = 1_000_000
    total: int = 0
    paths: int = 1_000_000
    nested: int = 16

    @classmethod
    def of(cls, limits: Mapping[str, int] | Limits | None) -> Limits:
        """Return the default limits, updated with the given ones."""
        if isinstance(limits, Limits):
            return limits
        for name in limits or {}:
            if name not in cls._fields:
                raise PersistError(
                    f"there is no limit {name!r}.",
                    remedy=f"The limits are {', '.join(cls._fields)}.",
                )
        return cls(**(limits or {}))

    def total_for(self, size: int) -> int:
        """Return the bytes that may be made while reading a file of ``size`` bytes."""
        return self.total or max(256 * MIB, 20 * size)

    def opcodes_for(self, size: int) -> int:
        """Return the opcodes that a pickle of ``size`` bytes may hold."""
        return self.opcodes or min(50_000_000, max(1_000_000, 64 * size))


# mmap holds a file descriptor, and a process may open about 1,000. Old joblib dumps consist of
# thousands of files, so small neighbours are read, and at most `_MAPS` large ones are mapped.
# Since Python 3.13 a map need not hold a descriptor.
_SMALL = 64 << 10
_MAPS = 128
_UNTRACKED: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class _Budget:
    """The remaining bytes and maps for reading one file, shared by all its parts."""

    __slots__ = ("_known", "copied", "left", "maps", "presented", "size", "whole")

    def __init__(self, whole: int, size: int = 0) -> None:
        self.whole = self.left = whole
        self.size = size
        self.copied = self.presented = 0
        self.maps = _MAPS
        self._known: set[str] = set()

    def admit(self, path: str, size: int, limits: Limits) -> None:
        """Add the size of a neighbour, or of a file in the folder, to the budget, once each.

        The budget is proportional to the size of all files, and a folder itself has no bytes.
        """
        if path not in self._known:
            self._known.add(path)
            self.size += size
            whole = limits.total_for(self.size)
            self.whole, self.left = whole, self.left + whole - self.whole

    def may_map(self) -> bool:
        """Return whether one more neighbour may be mapped, and count it."""
        self.maps -= 1
        return self.maps >= 0

    def spend(self, count: int, source: Source) -> None:
        self.left -= count
        if self.left < 0:
            raise LimitError(
                f"reading it would make more than {self.whole:,} bytes.",
                file=source.name,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )

    def copy(self, count: int, source: Source) -> None:
        self.copied += count
        most = max(64 * MIB, 10 * (self.size + self.whole - self.left), source.limits.total)
        if self.copied > most:
            raise LimitError(
                f"what it holds would be copied again and again, beyond {most:,} bytes.",
                file=source.name,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )

    def present(self, count: int, source: Source) -> None:
        self.presented += count
        made = self.size + self.whole - self.left
        most = source.limits.total or max(256 * MIB, 20 * made)
        if self.presented > most:
            raise LimitError(
                f"to present what it holds would take more than {most:,} bytes.",
                file=source.name,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )


class Source:
    """Bytes with a cursor, limits, a name and neighbours.

    Build one with ``open_source``, or from another with `window`, `nested`,
    `sibling` and `child`.

    Attributes:
        name: the file as the user named it, with ``, member 'x'`` for a part.
        kind: "file", "folder" or "prefix" (no such file, but files that begin so).
        path: the path or URL as text, None for bytes and open files.
        size: bytes; 0 for a folder or a prefix.
        limits: the `Limits` of this reading.
        writable: arrays handed out are private and writable (copy on write).
        memo: what a grammar has parsed of it already, by the grammar's name.
        is_copy: a file that was read as a whole, since it was not to be mapped.
    """

    is_copy = False
    _first: bytes | None = None

    def __init__(
        self,
        name: str,
        *,
        kind: str = "file",
        path: str | None = None,
        buffer: memoryview | None = None,
        ranged: _Ranged | None = None,
        size: int | None = None,
        base: int = 0,
        limits: Limits | None = None,
        budget: _Budget | None = None,
        home: _Home | _RemoteHome | _Given | None = None,
        writable: bool = False,
        owned: Callable[[], None] | None = None,
        level: int = 0,
    ) -> None:
        self.name = name
        self.kind = kind
        self.path = path
        self._buffer = buffer
        self._ranged = ranged
        self._base = base
        if size is None:
            size = 0 if buffer is None else len(buffer) - base
        self.size = size
        self.limits = limits or Limits()
        self._budget = budget or _Budget(self.limits.total_for(size), size)
        self._home = home
        self.writable = writable
        self._owned = owned
        self._level = level
        self.memo: dict[str, Any] = {}

    # What is in it.

    @property
    def is_mapped(self) -> bool:
        """Whether views stay valid after `close` (mapped, or in memory)."""
        return self._buffer is not None

    @property
    def is_in_memory(self) -> bool:
        """Whether all bytes are in memory, and none has to come from a mapped file first."""
        return self._buffer is not None and not isinstance(self._buffer.obj, mmap.mmap)

    def view(self, offset: int, length: int) -> memoryview:
        """Return ``length`` bytes at ``offset``, without a copy where mapped.

        Raises:
            DamagedFileError: they pass the end of the file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            left = max(0, self.size - max(offset, 0))
            raise DamagedFileError(
                f"{length:,} bytes are claimed, but {left:,} are left of {self.size:,}.",
                file=self.name,
                where=f"offset {offset}",
                remedy="The file is truncated, or a length in it is wrong.",
            )
        start = self._base + offset
        if self._buffer is not None:
            return self._buffer[start : start + length]
        assert self._ranged is not None
        return memoryview(self._ranged.read(start, length, self.name))

    def read(self, offset: int, length: int) -> bytes:
        """Return a copy of ``length`` bytes at ``offset``; as `view` otherwise."""
        return bytes(self.view(offset, length))

    def head(self, length: int) -> bytes:
        """Return the first ``length`` bytes, or as many as there are."""
        if length > _FIRST:
            return self.read(0, min(length, self.size))
        if self._first is None:  # thirty readers look at the same few
            self._first = self.read(0, min(_FIRST, self.size))
        return self._first[:length]

    def tail(self, length: int) -> bytes:
        """Return the last ``length`` bytes, or as many as there are."""
        length = min(length, self.size)
        return self.read(self.size - length, length)

    def cursor(self, offset: int = 0) -> Cursor:
        """Return a ``Cursor`` that begins at ``offset``."""
        return Cursor(self, offset)

    def spend(self, count: int) -> None:
        """Count ``count`` bytes that are about to be made against the limit.

        Raises:
            LimitError: the file would make more than ``limits.total``.
        """
        self._budget.spend(count, self)

    def array(
        self,
        offset: int,
        dtype: DType,
        shape: tuple[int, ...],
        order: str = "C",
    ) -> Array | LazyArray:
        """Return the array at ``offset``, without reading it.

        A view of the map (read-only, or private and writable when
        ``writable``), or a `LazyArray` if the storage has only ranged reads.

        Raises:
            DamagedFileError: the array extends beyond the end of the file, or its
                shape or dtype is impossible.
        """
        count = math.prod(shape)
        is_endless = not dtype.itemsize and count > _EMPTY
        if any(extent < 0 for extent in shape) or len(shape) > 64 or dtype.hasobject or is_endless:
            raise DamagedFileError(
                f"an array of dtype {dtype} and shape {shape} cannot be read from raw bytes.",
                file=self.name,
                where=f"offset {offset}",
            )
        length = count * dtype.itemsize
        if self._buffer is not None:
            return _shape(self.view(offset, length), dtype, shape, order, self, offset)
        if offset < 0 or offset + length > self.size:
            self.view(offset, length)  # raises with the place

        def fetch() -> Array:
            return _shape(self.view(offset, length), dtype, shape, order, self, offset)

        rows = None
        if order == "C" and len(shape) > 0 and shape[0]:
            step = length // shape[0]

            def rows(start: int, stop: int) -> Array:
                part = self.view(offset + start * step, (stop - start) * step)
                return _shape(part, dtype, (stop - start, *shape[1:]), "C", self, offset)

        return LazyArray(dtype, shape, fetch, rows)

    @property
    def most_opcodes(self) -> int:
        """How many opcodes a pickle in it may hold, by its bytes or the fewer that are on disk.

        What a compressor inflated costs its writer nothing.
        """
        stored = self._budget.size or self.size
        return self.limits.opcodes_for(min(self.size, stored))

    def spend_copies(self, count: int) -> None:
        """Charge ``count`` bytes for a copy of values that are in memory already.

        A genuine file uses a value once, in its place; a hostile one can request a copy of a long
        list every few bytes. So copies are limited to ten times the size of the file and of the
        data decompressed from it, at least 64 MiB.

        Raises:
            LimitError: the file would make more.
        """
        self._budget.copy(count, self)

    def spend_views(self, count: int) -> None:
        """Charge ``count`` bytes that are made to present a record as plain values.

        A record of a hundred bytes can state a range of any length. What all records of the file
        make together is limited to 20 times the bytes of the file and of what was decompressed
        from it, at least 256 MiB, or to ``limits.total``.

        Raises:
            LimitError: the file would make more.
        """
        self._budget.present(count, self)

    # Parts and neighbours.

    def window(self, offset: int, length: int, name: str | None = None) -> Source:
        """Return a part of the bytes as a separate Source, without a copy."""
        if offset < 0 or length < 0 or offset + length > self.size:
            self.view(offset, length)  # raises with the place
        part = Source.__new__(Source)  # bypasses __init__, as an archive may have 20,000 members
        part.name = self.name if name is None else f"{self.name}, {name}"
        part.kind, part.path, part.size = "file", None, length
        part._buffer, part._ranged, part._base = self._buffer, self._ranged, self._base + offset
        part.limits, part._budget, part._home = self.limits, self._budget, self._home
        part.writable, part._owned, part._level, part.memo = self.writable, None, self._level, {}
        return part

    def nested(
        self, data: bytes | bytearray | memoryview, name: str, *, here: bool = False
    ) -> Source:
        """Return decompressed or nested bytes of this source as a Source.

        Args:
            data: the bytes.
            name: a description of the bytes, appended to the name of this source.
            here: the bytes replace the file itself, and keep its path and neighbours.

        Raises:
            LimitError: the nesting of files exceeds ``limits.nested``.
        """
        self._go_deeper()
        if self.writable and isinstance(data, bytes):
            data = bytearray(data)
        return Source(
            f"{self.name}, {name}" if name else self.name,
            path=self.path if here else None,
            buffer=memoryview(data).cast("B"),
            limits=self.limits,
            budget=self._budget,
            home=self._home if here else None,
            writable=self.writable,
            level=self._level + 1,
        )

    def _go_deeper(self) -> None:
        if self._level >= self.limits.nested:
            raise LimitError(
                f"more than {self.limits.nested} files are nested in each other.",
                file=self.name,
                remedy='If the file is honest, raise limits={"nested": ...}.',
            )

    @property
    def basename(self) -> str:
        """The last component of the path; for bytes and open files, their name if they have one."""
        return self._home.basename if self._home else os.path.basename(self.path or "")

    def children(self) -> list[str]:
        """Return the sorted names in the folder itself, or in the folder that contains the file."""
        return self._home.children(self.kind == "folder") if self._home else []

    def child(self, name: str) -> Source | None:
        """Return the entry ``name`` of this folder, or None. Names with path separators have none."""
        return self._home.open(name, True, self) if self._home and _is_step(name) else None

    def sibling(self, name: str) -> Source | None:
        """Return the neighbour of that name in the same folder, or None.

        Names with path separators have no neighbour, so that a file cannot escape its folder.

        Raises:
            LimitError: the chain of neighbours exceeds ``limits.nested``.
        """
        found = self._home.open(name, False, self) if self._home and _is_step(name) else None
        if found is not None:
            self._go_deeper()
            found._level = self._level + 1
        return found

    def among(self, basename: str, files: Mapping[str, Callable[[], Source]]) -> Source:
        """Set neighbours that are not files of a folder, such as the other members of an archive.

        Args:
            basename: its own name among them.
            files: name -> function that opens it.
        """
        self._home = _Given(basename, files)
        return self

    def close(self) -> None:
        """Release the file; mapped arrays stay valid."""
        if self._ranged is not None:
            self._ranged.closed = True
        if self._owned is not None:
            self._owned()
            self._owned = None

    def __repr__(self) -> str:
        return f"<source {self.name} ({self.kind}, {self.size:,} bytes)>"


def _shape(
    data: memoryview,
    dtype: DType,
    shape: tuple[int, ...],
    order: Any,
    source: Source,
    offset: int,
) -> Array:
    try:
        if dtype.itemsize == 0:  # arrays of any shape take no memory
            return np.ndarray(shape, dtype, b"")
        if not len(data):
            return np.empty(shape, dtype, order=order)
        array = np.ndarray(shape, dtype, data, order=order)
    except (ValueError, TypeError) as error:
        raise DamagedFileError(
            f"an array of dtype {dtype} and shape {shape} cannot be: {error}.",
            file=source.name,
            where=f"offset {offset}",
        ) from error
    if not is_text_valid(array):
        raise DamagedFileError(
            f"an array of dtype {dtype} and shape {shape} holds code points beyond Unicode.",
            file=source.name,
            where=f"offset {offset}",
            remedy="The file is damaged, or its byte order or dtype is not what it says.",
        )
    return array


def is_text_valid(array: Array) -> bool:
    """Return whether all text in an array has valid code points; true for other dtypes.

    NumPy takes any four bytes for a character and makes broken strings of them, over which
    CPython stumbles later (``SystemError: invalid maximum character``).
    """
    todo = [array]
    while todo:
        part = todo.pop()
        if part.dtype.names is not None:
            todo += [part[name] for name in part.dtype.names]
        elif part.dtype.kind == "U" and part.size and part.dtype.itemsize:
            flat = np.ascontiguousarray(part.ravel(order="K"))
            codes = flat.view(np.dtype("u4").newbyteorder(part.dtype.byteorder))
            if codes.max() > sys.maxunicode:
                return False
    return True


class Cursor:
    """A read position in a `Source`; numbers are little-endian unless stated otherwise.

    Attributes:
        source: what it reads.
        offset: where the next read begins.
    """

    __slots__ = ("offset", "source")

    def __init__(self, source: Source, offset: int = 0) -> None:
        self.source = source
        self.offset = offset

    @property
    def left(self) -> int:
        """The number of bytes up to the end."""
        return self.source.size - self.offset

    def view(self, length: int) -> memoryview:
        """Return the next ``length`` bytes, without a copy where mapped."""
        view = self.source.view(self.offset, length)
        self.offset += length
        return view

    def read(self, length: int) -> bytes:
        """Return a copy of the next ``length`` bytes."""
        return bytes(self.view(length))

    def line(self, most: int = 65_536) -> bytes:
        """Return the bytes up to the next newline, and skip the newline.

        Raises:
            DamagedFileError: there is none within ``most`` bytes.
        """
        window = self.source.read(self.offset, min(most, max(0, self.left)))
        end = window.find(b"\n")
        if end < 0:
            raise self.damaged("a line has no end.", "The file is truncated or of another kind.")
        self.offset += end + 1
        return window[:end]

    def unpack(self, form: str) -> tuple[Any, ...]:
        """Return what ``struct.unpack`` makes of the next bytes."""
        return struct.unpack(form, self.view(struct.calcsize(form)))

    def number(self, form: str) -> Any:
        """Return the next number, of ``struct`` format ``form``."""
        return struct.unpack(form, self.view(struct.calcsize(form)))[0]

    def u8(self) -> int:
        """Return the next unsigned byte."""
        return int(self.view(1)[0])

    def u16(self) -> int:
        """Return the next little-endian unsigned 16-bit number."""
        return int(self.number("<H"))

    def u32(self) -> int:
        """Return the next little-endian unsigned 32-bit number."""
        return int(self.number("<I"))

    def i32(self) -> int:
        """Return the next little-endian signed 32-bit number."""
        return int(self.number("<i"))

    def u64(self) -> int:
        """Return the next little-endian unsigned 64-bit number."""
        return int(self.number("<Q"))

    def i64(self) -> int:
        """Return the next little-endian signed 64-bit number."""
        return int(self.number("<q"))

    def array(self, dtype: DType, shape: tuple[int, ...], order: str = "C") -> Array | LazyArray:
        """Return the next array, as `Source.array` does, and advance."""
        array = self.source.array(self.offset, dtype, shape, order)
        self.offset += math.prod(shape) * dtype.itemsize
        return array

    def count(self, number: int, least: int, what: str) -> int:
        """Return ``number`` if that many items of at least ``least`` bytes fit into the rest.

        Raises:
            DamagedFileError: they cannot.
        """
        if number < 0 or number * least > self.left:
            raise self.damaged(
                f"{number:,} {what} are claimed, but {self.left:,} bytes are left.",
                "The file is truncated, or a count in it is wrong.",
            )
        return number

    def damaged(self, what: str, remedy: str = "") -> DamagedFileError:
        """Return an error with the file and the current offset."""
        return DamagedFileError(
            what, file=self.source.name, where=f"offset {self.offset}", remedy=remedy
        )


def _is_step(name: str) -> bool:
    return (
        bool(name)
        and name not in (".", "..")
        and "/" not in name
        and "\\" not in name
        and "\0" not in name
        and not (len(name) > 1 and name[1] == ":" and os.name == "nt")
    )


class _Given:
    """Neighbours from an explicit mapping of names."""

    def __init__(self, basename: str, files: Mapping[str, Callable[[], Source]]) -> None:
        self.basename = basename
        self.files = files

    def children(self, inside: bool) -> list[str]:
        return [] if inside else sorted(self.files)

    def open(self, name: str, inside: bool, near: Source) -> Source | None:
        return self.files[name]() if not inside and name in self.files else None


class _Home:
    """The folder of a local source, through which its neighbours are opened."""

    def __init__(self, path: Path, shown: str) -> None:
        self.path = path
        self.shown = shown

    @property
    def basename(self) -> str:
        return self.path.name

    def _folder(self, inside: bool) -> Path:
        return self.path if inside else self.path.parent

    def children(self, inside: bool) -> list[str]:
        try:
            return sorted(os.listdir(self._folder(inside)))
        except OSError:
            return []

    def open(self, name: str, inside: bool, near: Source) -> Source | None:
        path = self._folder(inside) / name
        if not path.is_file() and not path.is_dir():  # pipes and devices have no end
            return None
        shown = os.path.join(self.shown if inside else os.path.dirname(self.shown), name)
        return _local(path, shown, near.limits, near.writable, near._budget, True, near._level)


class _RemoteHome:
    """The same for an fsspec file system."""

    def __init__(self, files: Any, path: str, shown: str) -> None:
        self.files = files
        self.path = path.rstrip("/")
        self.shown = shown.rstrip("/")

    @property
    def basename(self) -> str:
        return self.path.rpartition("/")[2]

    def _folder(self, inside: bool) -> str:
        return self.path if inside else self.path.rpartition("/")[0]

    def children(self, inside: bool) -> list[str]:
        try:
            found = self.files.ls(self._folder(inside), detail=False)
        except OSError:
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def open(self, name: str, inside: bool, near: Source) -> Source | None:
        path = f"{self._folder(inside)}/{name}"
        if not self.files.exists(path):
            return None
        shown = f"{self.shown if inside else self.shown.rpartition('/')[0]}/{name}"
        return _remote(
            self.files, path, shown, near.limits, near.writable, near._budget, near._level
        )


class _Ranged:
    """Ranged reads of a seekable binary file, with a cache of the last few blocks.

    Every reader looks at the beginning and some at the end, so one block would be read anew
    each time.
    """

    BLOCK = 64 << 10
    KEPT = 16

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.closed = False
        self._blocks: list[tuple[int, bytes]] = []

    def read(self, start: int, length: int, name: str) -> bytes:
        if self.closed:
            raise DamagedFileError(
                "it was closed before this part of it was read.",
                file=name,
                remedy="Read lazy arrays before close(), or open local files, which are mapped.",
            )
        for begin, known in self._blocks:
            inside = start - begin
            if inside >= 0 and inside + length <= len(known):
                return known[inside : inside + length]
        wanted = max(length, self.BLOCK)
        self.file.seek(start)
        block = self.file.read(wanted)
        while len(block) < length:  # raw files may return less than requested
            more = self.file.read(length - len(block))
            if not more:
                raise DamagedFileError(
                    f"{length:,} bytes are claimed, but {len(block):,} could be read.",
                    file=name,
                    where=f"offset {start}",
                )
            block += more
        if wanted == self.BLOCK:
            self._blocks = [(start, block), *self._blocks[: self.KEPT - 1]]
        return block[:length]


def open_source(
    source: object,
    *,
    map: bool = True,
    limits: Mapping[str, int] | Limits | None = None,
    writable: bool = False,
    storage_options: Mapping[str, object] | None = None,
) -> Source:
    """Return the `Source` of a path, URL, buffer or file that a user gave.

    Args:
        source: a path, an fsspec URL (``s3://...``), bytes, or an open binary
            file (read from its current position).
        map: map local files; without it they are read into memory.
        limits: see `Limits`.
        writable: arrays handed out may be written to, privately.
        storage_options: for fsspec.

    Raises:
        FileNotFoundError: no file, folder or checkpoint prefix of that name.
        MissingExtraError: a URL, and fsspec is not installed.
    """
    bounds = Limits.of(limits)
    if isinstance(source, Source):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytearray(source) if writable else source
        return Source(
            f"<{len(source)} bytes>",
            buffer=memoryview(data).cast("B"),
            limits=bounds,
            writable=writable,
        )
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        if is_url(text):
            files, path = _url(text, storage_options)
            return _remote(files, path, text, bounds, writable)
        return _local(Path(text), text, bounds, writable, None, map)
    if hasattr(source, "read"):
        return _opened(source, bounds, writable)
    raise TypeError(
        f"cannot open a {type(source).__name__}: a path, a URL, bytes or an open binary file is wanted"
    )


def create(url: str, storage_options: Mapping[str, object] | None = None) -> Any:
    """Open an fsspec URL for writing.

    Raises:
        MissingExtraError: fsspec is not installed.
    """
    files, path = _url(url, storage_options)
    return files.open(path, "wb")


def is_url(text: str) -> bool:
    """Return whether a text is a URL for fsspec, and not a path."""
    return "://" in text or text.startswith("memory:")


def exists(url: str, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Return whether an fsspec URL exists."""
    files, path = _url(url, storage_options)
    return bool(files.exists(path))


def filesystem(url: str, storage_options: Mapping[str, object] | None = None) -> tuple[Any, str]:
    """Return the file system of an fsspec URL, and the path in it.

    Raises:
        MissingExtraError: fsspec is not installed.
    """
    return _url(url, storage_options)


def _url(text: str, options: Mapping[str, object] | None) -> tuple[Any, str]:
    try:
        import fsspec  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "an fsspec URL needs the library fsspec.",
            file=text,
            remedy="Install it with: pip install 'persist-state[fsspec]'",
        ) from error
    files, path = fsspec.core.url_to_fs(text, **(options or {}))
    return files, str(path)


def _local(
    path: Path,
    shown: str,
    limits: Limits,
    writable: bool,
    budget: _Budget | None,
    map: bool,
    level: int = 0,
) -> Source:
    home = _Home(path, shown)
    common: dict[str, Any] = {
        "limits": limits,
        "home": home,
        "path": shown,
        "writable": writable,
        "level": level,
    }
    mode = _mode_of(path)
    if mode is not None and stat.S_ISDIR(mode):
        return Source(shown, kind="folder", budget=budget, **common)
    if mode is None and _is_prefix(path):
        return Source(shown, kind="prefix", budget=budget, **common)
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            raise DamagedFileError(
                "it is a device, of which no end is known.",
                file=shown,
                remedy="Name a file, or open the device yourself and give what you read of it.",
            )
        size = found.st_size
        if budget is not None:
            budget.admit(str(path), size, limits)
        is_small = not map or not size or (budget is not None and size <= _SMALL)
        if not is_small and budget is not None and not _UNTRACKED and not budget.may_map():
            ranged = _Ranged(_Reopened(path))  # type: ignore[arg-type]
            return Source(shown, ranged=ranged, size=size, budget=budget, **common)
        data: Any
        if is_small:
            data = _whole(file, size, writable)
        else:
            access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
            try:
                data = mmap.mmap(file.fileno(), size, access=access, **_UNTRACKED)
            except (OSError, ValueError):  # a pipe, or a file system that cannot map
                data = _whole(file, size, writable)
    source = Source(shown, buffer=memoryview(data), budget=budget, **common)
    source.is_copy = not map
    return source


def _mode_of(path: Path) -> int | None:
    """Return the mode bits of a path as from `stat`; None if it does not exist."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return None


def _whole(file: IO[bytes], size: int, writable: bool) -> object:
    """Read all bytes of a file directly into their final buffer."""
    if not size:  # such as a pipe, whose size is unknown
        data: Any = file.read()
        return bytearray(data) if writable else data
    memory = np.empty(size, np.uint8)
    view, at = memory.data, 0
    while at < size and (count := file.readinto(view[at:])):  # type: ignore[attr-defined]
        at += count
    return view[:at] if writable else view[:at].toreadonly()


class _Reopened:
    """A file that is opened for each read, so that it holds no descriptor in between."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, length: int) -> bytes:
        with open(self._path, "rb") as file:
            file.seek(self._at)
            return file.read(length)


def _is_prefix(path: Path) -> bool:
    try:
        with os.scandir(path.parent) as entries:
            return any(entry.name.startswith(path.name) for entry in entries)
    except OSError:
        return False


def _remote(
    files: Any,
    path: str,
    shown: str,
    limits: Limits,
    writable: bool,
    budget: _Budget | None = None,
    level: int = 0,
) -> Source:
    home: Any = _RemoteHome(files, path, shown)
    common: dict[str, Any] = {
        "limits": limits,
        "home": home,
        "path": shown,
        "budget": budget,
        "writable": writable,
        "level": level,
    }
    if files.isdir(path):
        return Source(shown, kind="folder", **common)
    if not files.exists(path):
        if any(name.startswith(home.basename) for name in home.children(False)):
            return Source(shown, kind="prefix", **common)
        raise FileNotFoundError(shown)
    file = files.open(path, "rb")
    size = int(files.size(path))
    if budget is not None:
        budget.admit(path, size, limits)
    return Source(shown, ranged=_Ranged(file), size=size, owned=file.close, **common)


def _opened(file: Any, limits: Limits, writable: bool) -> Source:
    """Return the source of an open binary file from its position; ranged reads if it can seek."""
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file is open in text mode; open it with 'rb'")
    name = getattr(file, "name", None)
    shown = name if isinstance(name, str) else f"<open {type(file).__name__}>"
    try:
        start = file.tell()
        end = file.seek(0, io.SEEK_END)
        file.seek(start)
    except (OSError, AttributeError):
        return _bytes_of(file, shown, limits, writable)
    if not isinstance(end, int):
        end = file.tell()
    home = _Home(Path(name), name) if isinstance(name, str) and os.path.exists(name) else None
    if isinstance(file, io.BytesIO):
        file.seek(start)
        return _bytes_of(file, shown, limits, writable)
    mapped = _map_of(file, start, end, writable)
    if mapped is not None:
        return Source(shown, buffer=mapped, base=start, limits=limits, home=home, writable=writable)
    return Source(
        shown,
        ranged=_Ranged(file),
        base=start,
        size=max(0, end - start),
        limits=limits,
        home=home,
        writable=writable,
    )


def _map_of(file: Any, start: int, end: int, writable: bool) -> memoryview | None:
    """A map of an open file that is one on disk (its bytes are the file's own), else None.

    A decompressing wrapper (`gzip.GzipFile`) has a file number too, of other bytes: only the
    types of `io` are taken at their word.
    """
    if not isinstance(file, io.FileIO | io.BufferedReader | io.BufferedRandom) or end <= start:
        return None
    if isinstance(file, io.BufferedReader | io.BufferedRandom) and not isinstance(
        file.raw, io.FileIO
    ):
        return None
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
        return memoryview(mmap.mmap(file.fileno(), end, access=access))
    except (OSError, ValueError):
        return None


def _bytes_of(file: Any, shown: str, limits: Limits, writable: bool) -> Source:
    data = file.read()
    if writable:
        data = bytearray(data)
    return Source(shown, buffer=memoryview(data), limits=limits, writable=writable)
