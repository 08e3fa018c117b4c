"""Write a container: arrays, graph, index, digests, manifest, directory, in this order.

Specified in ``docs/container.md``. Everything that is written is known at that time, so the target
may be a pipe; if it can seek, the CRC of a large array is filled in after its data, which saves a pass
over the data.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

import attrs
import numpy as np

from persist._container.checksums import CHUNK, Digest, crc32, default_digest, digest_named
from persist._container.layout import (
    DIGESTS,
    GRAPH,
    INDEX,
    INDIRECT,
    LOCAL,
    MANIFEST,
    METHODS,
    PATHS,
    central_entries,
    central_entry,
    end_of_directory,
    local_header,
    local_members,
    manifest_tail,
)
from persist._container.names import member_name
from persist._container.writing.atomic import replacing
from persist._container.writing.blocks import Stack
from persist._container.writing.graph import Graph, encode
from persist._container.writing.packing import Packing, deflate, packing
from persist._container.writing.reflink import sharing
from persist._runtime.gc_pause import collector_paused
from persist._runtime.progress import current
from persist._version import __version__
from persist._wire.npy.npy import header_bytes
from persist.errors import FormatError
from persist.tree import LazyArray
from persist.typing import Array, DType

__all__ = ["History", "Old", "Schemas", "Writer", "manifest_of", "with_older", "write"]

_SMALL = 1 << 16  # bytes of an array up to which it is written together with others
_TWICE = 4 << 20  # bytes of an array up to which a second pass finds it in the cache
_TOGETHER = 1 << 21  # bytes of them that are
Schemas = Iterable[Any] | Callable[[Iterable[str]], Iterable[Any]]
History = Callable[[list[Any], dict[str, Any]], list[Any]]  # older entries, manifest -> entries
Entry = tuple[bytes, int, int, int, int, int]  # name, method, crc, packed, size, offset


def write(
    tree: Any,
    target: Any,
    *,
    metadata: object = None,
    compress: Any = None,
    digest: str | bool | None = None,
    schemas: Schemas = (),
    durable: bool = True,
    writer: Mapping[str, str] | None = None,
    columns: bool = True,
    pack: bool = True,
    like: str | os.PathLike[str] | None = None,
    older_schemas: Any = (),
    history: History | None = None,
    capsule: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Write a tree as a container.

    Args:
        tree: see `persist.tree`.
        target: a path, replaced at once when all is written; or an open binary
            file, which need not be able to seek.
        metadata: JSON-able, kept in the manifest.
        compress: None, "deflate" (NumPy reads it) or "zstd" (it does not); with a level in a
            tuple; or a mapping from patterns of natural paths to these.
        digest: "xxh3-128", "sha256", "blake3"; None is "xxh3-128" where the
            extra ``fast`` is installed; False is none.
        schemas: dicts for the manifest; or a function from the names in the file to them.
        durable: a path only: wait until it is on the disk.
        writer: releases to name in the manifest; those of persist, Python and NumPy are added.
        columns: store many records of one schema and version as columns.
        pack: store many small arrays of one kind as blocks.
        like: an older file: what is the same in both is shared with it, where the file
            system can. The bytes of the new file do not depend on it.
        older_schemas: the schemas of the manifest of an older file that the tree is from.
        history: makes the entries of the file's history of its manifest; None for no history.
        capsule: makes of its manifest what the file says of its classes' history; None for nothing.

    Raises:
        FormatError: the tree holds what a container cannot, with its path.
    """
    name = str(target) if isinstance(target, str | os.PathLike) else ""
    algorithm = _algorithm(digest)
    packer = packing(compress)
    with collector_paused():
        graph = encode(tree, name, columns=columns, pack=pack)
        manifest = manifest_of(graph, metadata, schemas, writer, name)
        manifest["schemas"] = with_older(manifest, older_schemas)
        if history is not None:
            manifest["history"] = history([], manifest)
        if capsule is not None:
            manifest["capsule"] = capsule(manifest)
        with replacing(target, durable) as file, sharing(file, like) as shared:
            meter = current()
            if meter is None:
                Writer(shared, algorithm, packer).write(graph, manifest)
                return
            count = meter.count("write", "bytes", manifest["bytes"] + len(graph.text), name or None)
            Writer(count.file(shared), algorithm, packer).write(graph, manifest)
            count.end()


def _algorithm(digest: str | bool | None) -> Digest | None:
    if digest is None:
        return default_digest()
    return digest_named(digest) if isinstance(digest, str) else None


def manifest_of(
    graph: Graph,
    metadata: object,
    schemas: Schemas,
    writer: Mapping[str, str] | None,
    name: str,
) -> dict[str, Any]:
    """Return the manifest of a graph, without digests.

    Raises:
        FormatError: the metadata is nothing that JSON can say.
    """
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            f"the metadata cannot be written as JSON ({error}).",
            file=name or None,
            remedy="Give text, numbers, lists and dicts; everything else belongs into the object.",
        ) from error
    manifest: dict[str, object] = {
        "format": "persist",
        "version": graph.version,
        "writer": {
            **(writer or {}),
            "persist": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "metadata": metadata,
        "schemas": list(schemas(sorted(graph.globals)) if callable(schemas) else schemas),
        "arrays": len(graph.members),
        "bytes": sum([array.nbytes for array in graph.members.arrays if array is not None]),
        "paths": graph.members.paths,
        "globals": sorted(graph.globals),
        "digest": None,
    }
    if graph.blocks:
        manifest["blocks"] = graph.blocks
    if graph.has_long_double:
        double = np.finfo(np.longdouble)
        size = np.dtype(np.longdouble).itemsize
        manifest["platform"] = {"longdouble": [size, int(double.nmant)], "byteorder": sys.byteorder}
    return manifest


def with_older(manifest: dict[str, Any], older: object) -> list[object]:
    """Return the schemas of a manifest, plus those of an older one for classes in the file that are not declared here.

    What the older program said of such a class is all that is known of its layout.
    """
    listed = list(manifest["schemas"])
    known = {entry.get("name") for entry in listed}
    known |= {entry.get("class") for entry in listed}
    for entry in older if isinstance(older, list) else ():
        names = {entry.get("name"), entry.get("class")} if isinstance(entry, dict) else set()
        if names & {*manifest["globals"]} and not names & known:
            listed.append(entry)
    return listed


@attrs.frozen
class Old:
    """The existing content of a file before the place where a writer continues.

    Attributes:
        directory: the entries of its arrays.
        ends: where each begins there, and where the last one ends.
        digests: of the arrays.
        generations: the members of older generations, which are written anew.
    """

    directory: bytes
    ends: list[int]
    digests: list[bytes]
    generations: dict[str, bytes]


class Writer:
    """Writes to one file, and collects the entries of its directory.

    Args:
        file: the file, positioned at ``offset``.
        digest: of each member.
        pack: how members are compressed.
        offset: bytes of the container that are there already.
    """

    def __init__(
        self,
        file: IO[bytes],
        digest: Digest | None,
        pack: Packing | None,
        offset: int = 0,
    ) -> None:
        self.file = file
        self.digest = digest
        self.pack = pack
        self.offset = offset
        at = _start(file)
        self.start = None if at is None else at - offset
        self.parts: list[Any] = []
        self.waiting = 0
        self.entries: list[Any] = []  # an Entry, or columns of many: [names, columns]
        self.digests: list[bytes] = []
        self.headers: dict[Any, bytes] = {}
        self.kept: list[Any] = []

    def write(self, graph: Graph, manifest: dict[str, Any], old: Old | None = None) -> None:
        members = graph.members
        names = [name.encode() for name in members.names]
        start = 0 if old is None else len(old.ends) - 1
        self.members(names[start:], members.arrays[start:], members.dtypes[start:])
        directory, ends = self.directory()
        digests: dict[str, str] = {}
        if old is not None:
            directory.insert(0, old.directory)
            ends = [*old.ends[:-1], *(old.ends[-1] + end for end in ends)]
            self.digests[:0] = old.digests
            for name, data in old.generations.items():
                self.control(name, data, digests)
        older = len(self.entries)
        self.control(GRAPH, graph.text, digests)
        self.control(INDEX, _index(names, ends, members.indirect), digests)
        if graph.paths:
            self.control(PATHS, _paths(graph.paths), digests)
        if self.digest is not None:
            width = self.digest.width
            table = np.frombuffer(b"".join(self.digests), np.uint8).reshape(-1, width)
            self.control(DIGESTS, header_bytes(table.dtype, table.shape) + table.tobytes(), digests)
            manifest["digest"] = {"algorithm": self.digest.name, "members": digests}
        text = json.dumps(manifest, ensure_ascii=True, indent=1).encode()
        self.control(MANIFEST, text, {})
        self.end(b"".join(directory), len(names), older, graph.version)

    def end(self, directory: bytes, count: int, older: int, version: int) -> None:
        """Write the directory and the end records.

        Args:
            directory: the entries of the arrays.
            count: of them.
            older: how many of the other members are of older generations; the graph's is the next.
            version: of the container.
        """
        *middle, (name, method, crc, packed, size, offset) = self.entries
        entries = [central_entry(*entry) for entry in middle]
        first = len(directory) + sum(map(len, entries[:older]))
        tail = manifest_tail(first, version)
        last = central_entry(name, method, crc, packed, size, offset, tail)
        whole = b"".join([directory, *entries, last])
        at = self.offset
        self.put(whole)
        self.put(end_of_directory(count + len(self.entries), len(whole), at))
        self.flush()

    def members(self, names: list[bytes], arrays: list[Any], dtypes: list[Any]) -> None:
        """Write the arrays; runs of small ones are written at once."""
        small: list[tuple[bytes, object]] = []
        waiting = 0
        if self.pack is not None:
            sizes = [_SMALL + 1] * len(names)
        else:
            sizes = [array.nbytes for array in arrays]
        rows = zip(names, arrays, dtypes, sizes, strict=True)
        for name, array, dtype, size in rows:
            if size <= _SMALL and dtype is None and type(array) is np.ndarray:
                small.append((name, array))
                waiting += size
                if waiting >= _TOGETHER:
                    self.many(small)
                    waiting = 0
            else:
                self.many(small)
                waiting = 0
                self.array(name, array, dtype)
        self.many(small)

    def directory(self) -> tuple[list[bytes], list[int]]:
        """Return the directory entries of the arrays, and where each ends; the collected data are released."""
        entries, ends, at = [], [0], 0
        for entry in self.entries:
            if type(entry) is not list:
                entries.append(central_entry(*entry))
                at += len(entries[-1])
                ends.append(at)
                continue
            names, columns = entry
            made, lengths = central_entries(names, *columns)
            entries.append(made)
            ends += (at + np.cumsum(lengths)).tolist()
            at += len(made)
        self.entries = []
        return entries, ends

    # Members.

    def control(self, name: str, data: bytes, digests: dict[str, str]) -> None:
        if self.digest is not None:
            digests[name] = self.digest.once(data).hex()
        method, packed = METHODS["stored"], [data]
        if self.pack is not None and name == GRAPH and len(data) > 4096:
            method, packed = METHODS["deflate"], deflate([data])
        self.member(name.encode(), method, crc32(data), packed, len(data))

    def many(self, small: list[tuple[bytes, Any]]) -> None:
        """Write small arrays at once; their headers are made as columns."""
        if not small:
            return
        header, once = self.header, None if self.digest is None else self.digest.once
        names = [name for name, _ in small]
        known, data = self.headers, []
        for _, array in small:
            if array.ndim > 1 and array.flags.fnc:
                data.append(header(array) + array.tobytes("F"))
                continue
            start = known.get((id(array.dtype), array.shape, False))
            data.append((start or header(array)) + array.tobytes())
        small.clear()
        if once is not None:
            self.digests += map(once, data)
        crcs = list(map(crc32, data))
        made, columns, self.offset = local_members(names, crcs, data, self.offset)
        self.entries.append([names, columns])
        self.flush()
        _write_all(self.file, made)

    def array(self, name: bytes, array: Any, dtype: DType | None) -> None:
        if type(array) is Stack:
            header = header_bytes(array.dtype, array.shape)
            (self.large if self.pack is None else self.packed)(name, header, array)
            return
        if type(array) is LazyArray:
            array = array._fetch() if array._whole is None else array._whole
        if dtype is not None:
            array = _as_void(array, dtype)
        header = self.header(array)
        if array.nbytes <= _SMALL and self.pack is None:
            data = b"".join((header, _bytes_of(array)))
            if self.digest is not None:
                self.digests.append(self.digest.once(data))
            self.member(name, 0, crc32(data), [data], len(data))
        elif self.pack is not None:
            self.packed(name, header, array)
        else:
            self.large(name, header, array)

    def header(self, array: Array) -> bytes:
        is_fortran = array.ndim > 1 and array.flags.fnc
        key = (id(array.dtype), array.shape, is_fortran)
        known = self.headers.get(key)
        if known is None:
            self.kept.append(array.dtype)  # its id is the key
            known = self.headers[key] = header_bytes(array.dtype, array.shape, is_fortran)
        return known

    def member(self, name: bytes, method: int, crc: int, packed: list[Any], size: int) -> None:
        length = sum(map(len, packed))
        entry = (name, method, crc, length, size, self.offset)
        self.entries.append(entry)
        self.put(local_header(*entry))
        for part in packed:
            self.put(part)

    def packed(self, name: bytes, header: bytes, array: Any) -> None:
        assert self.pack is not None
        summed = _Sum(self.digest)
        method, pack = self.pack.of(name)
        packed = pack(summed.over(header, array))
        size = len(header) + array.nbytes
        if sum(map(len, packed)) >= size:  # it does not shrink
            method, packed = 0, [header, *_chunks(array)]
        self.digests += summed.digests()
        self.member(name, method, summed.crc, packed, size)

    def large(self, name: bytes, header: bytes, array: Any) -> None:
        """Write an array chunk by chunk; its CRC is written to the header before or afterwards."""
        size = len(header) + array.nbytes
        begin = self.offset
        summed = _Sum(self.digest)
        if self.start is None or size <= _TWICE:
            for _ in summed.over(header, array):
                pass
            self.digests += summed.digests()
            self.put(local_header(name, 0, summed.crc, size, size, begin))
            for chunk in (header, *_chunks(array)):
                self.put(chunk)
        else:
            self.put(local_header(name, 0, 0, size, size, begin))
            for chunk in summed.over(header, array):
                self.put(chunk)
            self.digests += summed.digests()
            self.patch(local_header(name, 0, summed.crc, size, size, begin)[: LOCAL.size], begin)
        self.entries.append((name, 0, summed.crc, size, size, begin))

    # Bytes.

    def put(self, data: Any) -> None:
        size = len(data)
        self.offset += size
        if size >= CHUNK // 4:
            self.flush()
            _write_all(self.file, data)
            return
        self.parts.append(data)
        self.waiting += size
        if self.waiting >= CHUNK:
            self.flush()

    def flush(self) -> None:
        if self.parts:
            data = b"".join(self.parts)
            self.parts.clear()
            self.waiting = 0
            _write_all(self.file, data)

    def patch(self, data: bytes, offset: int) -> None:
        assert self.start is not None
        self.flush()
        self.file.seek(self.start + offset)
        _write_all(self.file, data)
        self.file.seek(self.start + self.offset)


def _start(file: Any) -> int | None:
    """The position of a file that can seek; None if it cannot, or is open for appending."""
    try:
        if not file.seekable() or "a" in str(getattr(file, "mode", "")):
            return None
        start: int = file.tell()
        file.seek(start)
    except (AttributeError, OSError, ValueError):
        return None
    return start


def _write_all(file: Any, data: Any) -> None:
    """Write all bytes; a raw file may accept fewer at once."""
    written = file.write(data)
    if written is None or written == len(data):
        return
    view = memoryview(data)
    while written < len(view):
        written += file.write(view[written : written + (1 << 30)])


class _Sum:
    """The CRC and the digest of a sequence of chunks."""

    def __init__(self, digest: Digest | None) -> None:
        self.crc = 0
        self._state = None if digest is None else digest.start()

    def over(self, header: bytes, array: object) -> Iterator[object]:
        yield self.add(header)
        for chunk in _chunks(array):
            yield self.add(chunk)

    def add(self, chunk: object) -> Any:
        self.crc = crc32(chunk, self.crc)
        if self._state is not None:
            self._state.update(chunk)
        return chunk

    def digests(self) -> list[bytes]:
        return [] if self._state is None else [self._state.digest()]


def _as_void(array: Array, dtype: DType) -> Array:
    """Return the same items as void, without a copy if they are contiguous."""
    if not array.nbytes:
        return np.empty(array.shape, dtype)
    if array.flags.c_contiguous:
        return array.reshape(-1).view(np.uint8).view(dtype).reshape(array.shape)
    if array.flags.f_contiguous:
        return array.T.reshape(-1).view(np.uint8).view(dtype).reshape(array.shape[::-1]).T
    return _as_void(np.ascontiguousarray(array), dtype)


def _flat(array: Array) -> Array | None:
    """Return the bytes of a contiguous array, without a copy."""
    if array.flags.c_contiguous:
        return array.reshape(-1).view(np.uint8)
    if array.flags.f_contiguous:
        return array.T.reshape(-1).view(np.uint8)
    return None


def _bytes_of(array: Array) -> bytes:
    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return array.tobytes("F" if is_fortran else "C")


def _chunks(array: Any) -> Iterator[Any]:
    if type(array) is Stack:
        yield from array.chunks()
        return
    if not array.nbytes:
        return
    flat = _flat(array)
    if flat is not None:
        view = flat.data
        for at in range(0, len(view), CHUNK):
            yield view[at : at + CHUNK]
        return
    size = max(CHUNK // array.itemsize, 1)
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    parts: Any = np.nditer(array, flags=flags, buffersize=size, order="C")
    for part in parts:
        yield part.tobytes()


def _index(names: list[bytes], ends: list[int], indirect: list[int]) -> bytes:
    """Return ``.persist/index.npy``: the offset of each entry, and the sorted CRCs of the names."""
    table = np.zeros((2, len(names)), "<u8")
    if names:
        table[0] = ends[:-1]
        table[0, indirect] |= np.uint64(INDIRECT)
        table[1] = np.fromiter(map(crc32, names), np.uint64, len(names)) << np.uint64(32)
        table[1] += np.arange(len(names), dtype=np.uint64)
        table[1].sort()
    return header_bytes(table.dtype, table.shape) + table.tobytes()


def _paths(paths: list[str]) -> bytes:
    """Return ``.persist/paths.npy``: the paths of the arrays in blocks, in the form of member names."""
    names = [member_name(path).removesuffix(".npy").encode() for path in paths]
    table = np.frombuffer(b"\0" + b"\0".join(names) + b"\0", np.uint8)
    return header_bytes(table.dtype, table.shape) + table.tobytes()
