"""Ranges of files of arrays: NPY, safetensors, MATLAB 4 and 5, HDF5."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from persist._trees.leaves import printable

__all__ = [
    "hdf5", "is_hdf5", "is_matlab4", "is_matlab5", "is_npy", "is_safetensors", "matlab4", "matlab5", "npy",
    "safetensors",
]  # fmt: skip

Parts = Iterator[tuple[int, int, str]]


def is_npy(data: memoryview) -> bool:
    """Whether it begins as NPY."""
    return bytes(data[:6]) == b"\x93NUMPY" and len(data) >= 10


def npy(data: memoryview) -> Parts:
    """Magic, version, header and data; what follows another array."""
    wide = data[6] > 1
    first = 12 if wide else 10
    size = int.from_bytes(data[8:first], "little")
    yield 0, 6, "magic of NPY"
    yield 6, 8, f"version {data[6]}.{data[7]}"
    yield 8, first, f"length of the header: {size:,}"
    header = bytes(data[first : first + size]).decode("latin-1").strip()
    yield first, first + size, f"header {printable(header)}"
    yield first + size, len(data), "data of the array"


def is_safetensors(data: memoryview) -> bool:
    """Whether there is a JSON header of the length that the first eight bytes give."""
    if len(data) < 10 or bytes(data[8:9]) != b"{":
        return False
    return int.from_bytes(data[:8], "little") <= len(data) - 8


def safetensors(data: memoryview) -> Parts:
    """Length, header, tensors by their names."""
    size = int.from_bytes(data[:8], "little")
    yield 0, 8, f"length of the header: {size:,}"
    yield 8, 8 + size, "header in JSON"
    try:
        header = json.loads(bytes(data[8 : 8 + size]))
    except (ValueError, RecursionError):
        return
    found = []
    for name, facts in header.items() if isinstance(header, dict) else ():
        places = facts.get("data_offsets") if isinstance(facts, dict) else None
        if (
            isinstance(places, list)
            and len(places) == 2
            and all(type(p) is int and p >= 0 for p in places)
        ):
            kind = f"{facts.get('dtype')} {facts.get('shape')}"
            found.append(
                (8 + size + places[0], 8 + size + places[1], printable(f"tensor {name}: {kind}"))
            )
    yield from sorted(found)


_MATLAB_TYPES = {
    1: "int8", 2: "uint8", 3: "int16", 4: "uint16", 5: "int32", 6: "uint32", 7: "single", 9: "double",
    12: "int64", 13: "uint64", 14: "matrix", 15: "compressed", 16: "UTF-8", 17: "UTF-16", 18: "UTF-32",
}  # fmt: skip


def is_matlab5(data: memoryview) -> bool:
    """Whether it has the header of MATLAB 5."""
    return len(data) >= 128 and bytes(data[126:128]) in (b"IM", b"MI") and 1 in data[124:126]


def matlab5(data: memoryview) -> Parts:
    """Header and elements; of a matrix that is not compressed, the elements inside."""
    order = "<" if bytes(data[126:128]) == b"IM" else ">"
    yield 0, 116, "description"
    yield 116, 124, "offset of the subsystem data"
    yield 124, 126, "version"
    yield 126, 128, f"mark of {'little' if order == '<' else 'big'} endian"
    yield from _elements(data, 128, len(data), order, 0)


def _elements(data: memoryview, at: int, stop: int, order: str, depth: int) -> Parts:
    while at + 8 <= stop:
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element: size and type share a word
            kind, size = kind & 0xFFFF, kind >> 16
            if kind not in _MATLAB_TYPES or size > 4:
                return
            yield at, at + 8, f"small element {_MATLAB_TYPES[kind]}, {size} bytes"
            at += 8
            continue
        if kind not in _MATLAB_TYPES or at + 8 + size > stop:
            return
        name = _MATLAB_TYPES[kind]
        yield at, at + 8, f"tag: {name}, {size:,} bytes"
        end = at + 8 + size
        if kind == 14 and depth < 12:
            yield from _elements(data, at + 8, end, order, depth + 1)
        elif size:
            yield at + 8, end, f"{name} data"
        at = end
        if kind != 15 and size % 8:
            padded = min(at + 8 - size % 8, stop)
            yield at, padded, "padding"
            at = padded


def is_matlab4(data: memoryview) -> bool:
    """Whether the first header of MATLAB 4 fits into the file."""
    return next(_matrices(data), None) is not None


def _matrices(data: memoryview) -> Iterator[tuple[int, int, int, str]]:
    at = 0
    while at + 20 <= len(data):
        kind, rows, columns, is_complex, named = struct.unpack_from("<5i", data, at)
        order = "<"
        if not 0 <= kind < 100:
            kind, rows, columns, is_complex, named = struct.unpack_from(">5i", data, at)
            order = ">"
            if not 1000 <= kind < 1100:
                return
            kind -= 1000
        width = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}.get(kind // 10)
        if (
            width is None
            or kind % 10 > 2
            or is_complex not in (0, 1)
            or not 1 < named < 256
            or min(rows, columns) < 0
        ):
            return
        name = bytes(data[at + 20 : at + 20 + named])
        stop = at + 20 + named + rows * columns * width * (1 + is_complex)
        if not name.endswith(b"\0") or stop > len(data):
            return
        endian = "big" if order == ">" else "little"
        yield (
            at,
            at + 20 + named,
            stop,
            f"{name[:-1].decode('latin-1')}: {rows} x {columns}, {endian} endian",
        )
        at = stop


def matlab4(data: memoryview) -> Parts:
    """Headers, names and data of matrices."""
    for at, content, stop, what in _matrices(data):
        yield at, at + 20, "header of a matrix"
        yield at + 20, content, f"name of {printable(what)}"
        yield content, stop, "data of the matrix"


def is_hdf5(data: memoryview) -> bool:
    """Whether a superblock is at one of the places where it may be."""
    return _superblock(data) is not None


def _superblock(data: memoryview) -> int | None:
    at = 0
    while at + 8 < len(data):
        if bytes(data[at : at + 8]) == b"\x89HDF\r\n\x1a\n":
            return at
        at = at * 2 or 512
    return None


_MARKS = {
    b"TREE": "B-tree, version 1", b"SNOD": "symbol table node", b"HEAP": "local heap", b"GCOL": "global heap collection",
    b"OHDR": "object header, version 2", b"OCHK": "continuation of an object header", b"FRHP": "fractal heap",
    b"FHDB": "direct block of a fractal heap", b"FHIB": "indirect block of a fractal heap", b"BTHD": "B-tree, version 2",
    b"BTIN": "internal node of a B-tree", b"BTLF": "leaf of a B-tree", b"FSHD": "free space manager",
    b"FSSE": "sections of free space", b"FAHD": "fixed array index", b"FADB": "block of a fixed array",
    b"EAHD": "extensible array index", b"EAIB": "index block of an extensible array",
    b"EADB": "data block of an extensible array", b"EASB": "super block of an extensible array",
    b"SMTB": "table of shared messages", b"SMLI": "list of shared messages",
}  # fmt: skip


def hdf5(data: memoryview) -> Parts:
    """The structures that reading the file visits, and the bytes of each dataset by its path."""
    base = _superblock(data) or 0
    if base:
        yield 0, base, "user block"
    for start, stop, what in sorted(_Visits(bytes(data[base:])).found()):
        yield base + start, base + stop, what


_STRUCTURE = "part of the structure"


class _Visits:
    """What the reader looks at, from the superblock to the values of every dataset."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._seen: dict[int, tuple[int, str]] = {}
        self._where = ""

    def found(self) -> list[tuple[int, int, str]]:
        """Read the file, and return (start, stop, what) of all that was looked at."""
        from persist._wire.base.source import open_source
        from persist._wire.hdf5.file import Hdf5
        from persist.errors import PersistError

        source = open_source(self._data)
        view = source.view

        def watched(offset: int, length: int) -> memoryview:
            self._note(offset, length)
            return view(offset, length)

        source.view = watched  # type: ignore[method-assign]
        try:
            for path, dataset in Hdf5(source).walk().datasets.items():
                self._where = printable(path)
                self._values(dataset)
        except PersistError:
            pass  # what lies behind the damage is unknown
        return [(start, stop, what) for start, (stop, what) in self._seen.items()]

    def _values(self, dataset: Any) -> None:
        import numpy as np

        from persist.errors import PersistError

        try:
            layout = dataset.layout
            if layout.kind == "contiguous" and layout.address is not None:
                self._note(layout.address, dataset.nbytes)  # it is mapped, and not looked at
            np.asarray(dataset.array())
        except PersistError:
            pass  # damaged values, or a filter that is not installed

    def _note(self, offset: int, length: int) -> None:
        what = _MARKS.get(self._data[offset : offset + 4])
        if self._data[offset : offset + 8] == b"\x89HDF\r\n\x1a\n":
            version = self._data[offset + 8] if offset + 8 < len(self._data) else 0
            what, length = f"superblock, version {version}", 96 if version < 2 else 48
        if what is None:
            what = f"data of {self._where}" if self._where else _STRUCTURE
        stop, known = self._seen.get(offset, (0, _STRUCTURE))
        self._seen[offset] = (max(stop, offset + length), what if known == _STRUCTURE else known)
