"""Ranges of files of frameworks: lists of arrays of MXNet, tables of TensorFlow's checkpoints, MessagePack."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from persist._trees.leaves import printable
from persist.errors import PersistError

__all__ = ["is_msgpack", "is_mxnet", "is_table", "msgpack", "mxnet", "table"]

Parts = Iterator[tuple[int, int, str]]


def is_mxnet(data: memoryview) -> bool:
    """Whether it begins as a list of arrays of MXNet."""
    return bytes(data[:16]) == struct.pack("<QQ", 0x112, 0) and len(data) >= 24


def mxnet(data: memoryview) -> Parts:
    """Magic, arrays one by one, names; up to where it is damaged (grammar: `persist._wire.mxnet`)."""
    from persist._wire.base.source import open_source
    from persist._wire.mxnet.ndarray_list import read_array

    cursor = open_source(data).cursor(16)
    yield 0, 8, "magic of a list of arrays"
    yield 8, 16, "reserved"
    count = cursor.u64()
    yield 16, 24, f"number of arrays: {count:,}"
    try:
        for number in range(count):
            start = cursor.offset
            array = read_array(cursor, f"array {number}")
            shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
            kind = "empty" if array is None else f"{dtype} {shape}" if dtype else "sparse"
            stored = array.nbytes if hasattr(array, "nbytes") and dtype else 0
            stored = min(stored, cursor.offset - start)
            if stored:
                yield start, cursor.offset - stored, f"array {number}: header, {kind}"
            yield (
                cursor.offset - stored if stored else start,
                cursor.offset,
                f"array {number}: {kind}",
            )
        start, named = cursor.offset, cursor.u64()
        yield start, cursor.offset, f"number of names: {named:,}"
        for number in range(named):
            start = cursor.offset
            name = cursor.read(cursor.count(cursor.u64(), 1, "bytes of a name"))
            yield (
                start,
                cursor.offset,
                printable(f"name {number}: {name.decode('utf-8', 'replace')}"),
            )
    except PersistError:  # what follows is not understood
        return


_FOOTER = 48
_TABLE_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def is_table(data: memoryview) -> bool:
    """Whether it ends as a table of LevelDB, as the index of a TensorFlow checkpoint does."""
    return len(data) >= _FOOTER and bytes(data[-8:]) == _TABLE_MAGIC


def table(data: memoryview) -> Parts:
    """Blocks of entries, their trailers, the index of the blocks, the footer.

    Source: ``table_format.md`` of LevelDB. A block has a trailer of five bytes: compression and CRC-32C.
    """
    foot = len(data) - _FOOTER
    at, numbers = foot, []
    for _ in range(4):
        value, at = _varint(data, at)
        numbers.append(value)
    meta, meta_size, index, index_size = numbers
    found = [(meta, meta_size, "index of meta blocks"), (index, index_size, "index of blocks")]
    for start, size, what in sorted(found):
        if what == "index of meta blocks" and start:
            yield 0, start, "blocks of entries, each with its trailer"
        yield start, start + size, what
        yield start + size, start + size + 5, "trailer: compression and CRC-32C"
    yield foot, len(data) - 8, "footer: places of the indexes"
    yield len(data) - 8, len(data), "magic of a table"


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at


# First byte -> (what it begins, bytes of the number that follows, whether these count content).
_SIZED = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xD9: ("text", 1), 0xDA: ("text", 2),
    0xDB: ("text", 4), 0xC7: ("extension", 1), 0xC8: ("extension", 2), 0xC9: ("extension", 4),
}  # fmt: skip
_FIXED = {
    0xC0: ("nil", 0), 0xC2: ("false", 0), 0xC3: ("true", 0), 0xCA: ("float32", 4), 0xCB: ("float64", 8),
    0xCC: ("uint8", 1), 0xCD: ("uint16", 2), 0xCE: ("uint32", 4), 0xCF: ("uint64", 8), 0xD0: ("int8", 1),
    0xD1: ("int16", 2), 0xD2: ("int32", 4), 0xD3: ("int64", 8), 0xD4: ("extension", 2), 0xD5: ("extension", 3),
    0xD6: ("extension", 5), 0xD7: ("extension", 9), 0xD8: ("extension", 17),
}  # fmt: skip
_HOLDERS = {0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4)}
_MOST = 1_000_000


def is_msgpack(data: memoryview) -> bool:
    """Whether it is a map of MessagePack whose first key is text and whose values end with the file."""
    if len(data) < 3 or not (0x81 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF)):
        return False
    parts = list(msgpack(data))
    return (
        bool(parts)
        and len(parts) > 1
        and parts[1][2].startswith("text")
        and parts[-1][1] == len(data)
    )


def msgpack(data: memoryview) -> Parts:
    """Headers of maps and arrays, and the values (specification of MessagePack, ``spec.md``)."""
    at, left = 0, 1
    while left and at < len(data) and left < _MOST:
        first, start = data[at], at
        left -= 1
        if first in _HOLDERS or 0x80 <= first <= 0x9F:
            name, wide = _HOLDERS.get(first, ("map" if first < 0x90 else "array", 0))
            count = int.from_bytes(data[at + 1 : at + 1 + wide], "big") if wide else first & 0x0F
            at += 1 + wide
            left += 2 * count if name == "map" else count
            what = f"{name} of {count:,}"
        elif first in _SIZED or 0xA0 <= first <= 0xBF:
            name, wide = _SIZED.get(first, ("text", 0))
            size = int.from_bytes(data[at + 1 : at + 1 + wide], "big") if wide else first & 0x1F
            at += 1 + wide + size + (name == "extension")
            held = bytes(data[at - size : at])[:60] if name == "text" else b""
            text = held.decode("utf-8", "replace")
            what = printable(f"text {text}") if name == "text" else f"{name} of {size:,} bytes"
        elif first in _FIXED:
            what, wide = _FIXED[first]
            at += 1 + wide
        elif first <= 0x7F or first >= 0xE0:
            at += 1
            what = f"integer {first if first <= 0x7F else first - 256}"
        else:  # 0xC1 is never used
            return
        if at > len(data):
            return
        yield start, at, what
