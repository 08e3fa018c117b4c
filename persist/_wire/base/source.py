"""The input of every reader: bytes with a name, limits and neighbouring files.

A `Source` is a local file (mapped), a folder, a checkpoint prefix, ``bytes``,
an open binary file or an fsspec URL (ranged reads). No read goes beyond the
end: a length, count or shape that a file claims is checked against the
remaining bytes before anything is allocated.

Offsets and lengths are in bytes. Views of a mapped file stay valid after
`Source.close`, for as long as they are referenced.

The kinds of sources have modules of their own, which `open_source` imports as needed: `local` (files and
folders of this machine, open files), `remote` (what is behind a URL).
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from persist._wire.base.cursor import Cursor
from persist._wire.base.limits import MIB, Budget, Limits
from persist._wire.base.raw_arrays import is_text_valid, shaped
from persist.errors import DamagedFileError, LimitError
from persist.tree import LazyArray
from persist.typing import Array, DType

if TYPE_CHECKING:
    from persist._wire.base.ranges import Ranges

__all__ = ["MIB", "Cursor", "Limits", "Source", "is_text_valid", "open_source"]

_FIRST = 512  # bytes at the start that are cached, since every reader examines them
_EMPTY = 1 << 24  # limit of items of zero bytes, whose number the file size does not bound


class Home(Protocol):
    """The folder of a source, through which its neighbours are opened."""

    @property
    def basename(self) -> str:
        """The name of the source in it."""

    def children(self, inside: bool) -> list[str]:
        """Return the sorted names in the folder; with ``inside``, the source is the folder itself."""

    def open(self, name: str, inside: bool, near: Source) -> Source | None:
        """Open a file of it with the limits of another; None if there is none of that name."""


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
        ranged: Ranges | None = None,
        size: int | None = None,
        base: int = 0,
        limits: Limits | None = None,
        budget: Budget | None = None,
        home: Home | None = None,
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
        self._budget = budget or Budget(self.limits.total_for(size), size)
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
        data = self._ranged.read(start, length, self.name)
        if self.writable:
            return memoryview(data if isinstance(data, bytearray) else bytearray(data))
        return memoryview(data).toreadonly()

    def fill(self, offset: int, length: int) -> None:
        """Fetch a part at once, of which smaller parts will be read next; nothing to do where mapped."""
        if self._ranged is not None and not self._ranged.closed and offset + length <= self.size:
            self._ranged.fill(self._base + offset, length, self.name)

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
            return shaped(self.view(offset, length), dtype, shape, order, self, offset)
        if offset < 0 or offset + length > self.size:
            self.view(offset, length)  # raises with the place

        def fetch() -> Array:
            return shaped(self.view(offset, length), dtype, shape, order, self, offset)

        rows = None
        if order == "C" and len(shape) > 0 and shape[0]:
            step = length // shape[0]

            def rows(start: int, stop: int) -> Array:
                part = self.view(offset + start * step, (stop - start) * step)
                return shaped(part, dtype, (stop - start, *shape[1:]), "C", self, offset)

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
        MissingExtraError: a URL, and fsspec or the library for this kind is not installed.
        StorageError: the storage behind a URL refused or failed.
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
    from persist._wire.base import local, urls

    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        if not isinstance(source, str):
            urls.refuse_collapsed(source)
        elif urls.is_url(text):
            text = urls.plain_path(text)
            if urls.is_url(text):
                from persist._wire.base.remote import open_remote

                return open_remote(text, storage_options, bounds, writable)
        return local.open_local(Path(text), text, bounds, writable, None, map)
    if hasattr(source, "read"):
        return local.open_stream(source, bounds, writable)
    raise TypeError(
        f"cannot open a {type(source).__name__}: a path, a URL, bytes or an open binary file is wanted"
    )
