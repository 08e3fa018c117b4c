"""The bytes of a container around its members: constants, and ZIP headers written and read.

Specified in ``docs/container.md``; after PKWARE's APPNOTE 6.3.10, sections 4.3
and 4.5. Headers are functions of name, method, sizes, CRC and offset alone, so
that the reader checks one by making it again.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, OrderedDict, deque

import numpy as np

from persist.typing import Array

__all__ = [
    "ALIGNMENT",
    "DIGESTS",
    "FACTORIES",
    "GENERATION",
    "GRAPH",
    "INDEX",
    "INDIRECT",
    "MANIFEST",
    "METHODS",
    "PATHS",
    "READABLE",
    "VERSION",
    "central_entries",
    "central_entry",
    "constant_columns",
    "end_of_directory",
    "local_header",
    "local_members",
    "manifest_tail",
]

# Before you raise it: the recipe is in docs/container.md, section 10.
VERSION = 2  # the newest; a file is of the oldest that can say what is in it
READABLE = frozenset({1, 2})

MANIFEST = "manifest.json"
GRAPH = "graph.json"
INDEX = ".persist/index.npy"
DIGESTS = ".persist/digests.npy"
PATHS = ".persist/paths.npy"
GENERATION = re.compile(
    r"\.generations/([1-9][0-9]{0,8})/(manifest\.json|graph\.json|(?:index|paths|digests)\.npy)"
)

# Types that a defaultdict may make what it lacks of; their names are part of the format.
# fmt: off
FACTORIES: dict[type, str] = {
    kind: kind.__name__
    for kind in (
        list, dict, int, float, set, str, tuple, bool, bytes, frozenset, complex,
        Counter, OrderedDict, deque,
    )
}
# fmt: on

ALIGNMENT = 64  # NumPy aligns the data of an NPY so; a cache line
MARK = 0x5350  # "PS": our extra field
METHODS = {"stored": 0, "deflate": 8, "zstd": 93}

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")

LOCAL_MAGIC = b"PK\x03\x04"
CENTRAL_MAGIC = b"PK\x01\x02"
END_MAGIC = b"PK\x05\x06"
END64_MAGIC = b"PK\x06\x06"
LOCATOR_MAGIC = b"PK\x06\x07"

UTF8 = 0x0800
DATE = 0x0021  # 1 January 1980
MADE_BY = 3 << 8 | 45
ATTRIBUTES = 0o100644 << 16
FULL = 0xFFFFFFFF
INDIRECT = 1 << 63  # flag in the index: the member is not itself the array at its path
TAIL = struct.Struct("<2H7sBQ")


def _needed(method: int, large: bool) -> int:
    if method == METHODS["zstd"]:
        return 63
    return 45 if large else 20


def local_header(name: bytes, method: int, crc: int, packed: int, size: int, offset: int) -> bytes:
    """Return a member's local header, long enough that the data begins aligned.

    Args:
        name: UTF-8.
        method: of compression.
        crc: of the data before compression.
        packed: bytes in the file.
        size: bytes before compression.
        offset: where the header begins.
    """
    large = packed >= FULL or size >= FULL
    extra = struct.pack("<2H2Q", 1, 16, size, packed) if large else b""
    least = offset + LOCAL.size + len(name) + len(extra) + 4
    pad = -least % ALIGNMENT
    return b"".join(
        (
            LOCAL.pack(
                LOCAL_MAGIC,
                _needed(method, large),
                UTF8,
                method,
                0,
                DATE,
                crc,
                FULL if large else packed,
                FULL if large else size,
                len(name),
                len(extra) + 4 + pad,
            ),
            name,
            extra,
            struct.pack("<2H", MARK, pad),
            bytes(pad),
        )
    )


def central_entry(
    name: bytes, method: int, crc: int, packed: int, size: int, offset: int, tail: bytes = b""
) -> bytes:
    """Return a member's entry in the directory; ``tail`` is an extra field behind ZIP64's."""
    values = [value for value in (size, packed, offset) if value >= FULL]
    extra = struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""
    extra += tail
    large = packed >= FULL or size >= FULL
    return (
        CENTRAL.pack(
            CENTRAL_MAGIC,
            MADE_BY,
            _needed(method, large or bool(values)),
            UTF8,
            method,
            0,
            DATE,
            crc,
            min(packed, FULL),
            min(size, FULL),
            len(name),
            len(extra),
            0,
            0,
            0,
            ATTRIBUTES,
            min(offset, FULL),
        )
        + name
        + extra
    )


# LOCAL and CENTRAL in columns.
LOCALS = np.dtype("<u4,<u2,<u2,<u2,<u2,<u2,<u4,<u4,<u4,<u2,<u2")
CENTRALS = np.dtype("<u4,<u2,<u2,<u2,<u2,<u2,<u2,<u4,<u4,<u4,<u2,<u2,<u2,<u2,<u2,<u4,<u4")
_LOCAL_CONSTANTS = {
    "f0": int.from_bytes(LOCAL_MAGIC, "little"), "f1": 20, "f2": UTF8, "f3": 0, "f4": 0, "f5": DATE,
}  # fmt: skip
_CENTRAL_CONSTANTS = {
    "f0": int.from_bytes(CENTRAL_MAGIC, "little"), "f1": MADE_BY, "f2": 20, "f3": UTF8, "f4": 0,
    "f5": 0, "f6": DATE, "f11": 0, "f12": 0, "f13": 0, "f14": 0, "f15": ATTRIBUTES,
}  # fmt: skip
_PADS = [struct.pack("<2H", MARK, pad) + bytes(pad) for pad in range(ALIGNMENT)]

Columns = tuple[list[int], "Array", "Array"]


def local_members(
    names: list[bytes], crcs: list[int], data: list[bytes], offset: int
) -> tuple[bytes, Columns, int]:
    """Return many stored members as they follow each other in the file.

    The same bytes as `local_header` and the data of each, made in columns.

    Args:
        names: UTF-8.
        crcs: of the data.
        data: of each, less than 4 GiB.
        offset: where the first one begins.

    Returns:
        The bytes; CRCs, sizes and offsets of the headers; where the next one begins.
    """
    count = len(names)
    lengths = np.fromiter(map(len, names), np.int64, count)
    sizes = np.fromiter(map(len, data), np.int64, count)
    heads = lengths + (LOCAL.size + 4)  # a header without padding
    # Data begin at multiples of ALIGNMENT; so does what a header and the data before it take.
    spans = np.empty(count, np.int64)
    spans[0] = offset + heads[0]
    spans[1:] = heads[1:] + sizes[:-1]
    starts = np.cumsum(-(-spans // ALIGNMENT) * ALIGNMENT)
    ends = starts + sizes
    offsets = np.empty(count, np.int64)
    offsets[0] = offset
    offsets[1:] = ends[:-1]
    pads = starts - offsets - heads
    table = np.zeros(count, LOCALS)
    for field, value in _LOCAL_CONSTANTS.items():
        table[field] = value
    table["f6"] = crcs
    table["f7"] = table["f8"] = sizes
    table["f9"] = lengths
    table["f10"] = pads + 4
    fixed, width = table.tobytes(), LOCAL.size
    parts: list[bytes] = [b""] * (4 * count)
    parts[0::4] = [fixed[at : at + width] for at in range(0, width * count, width)]
    parts[1::4] = names
    parts[2::4] = [_PADS[pad] for pad in pads.tolist()]
    parts[3::4] = data
    return b"".join(parts), (crcs, sizes, offsets), int(ends[-1])


def constant_columns(table: Array) -> bool:
    """Whether headers in columns have in all rows what is the same for all small stored members."""
    constants = _LOCAL_CONSTANTS if table.dtype == LOCALS else _CENTRAL_CONSTANTS
    return all(bool((table[field] == value).all()) for field, value in constants.items())


def central_entries(
    names: list[bytes], crcs: list[int], sizes: Array, offsets: Array
) -> tuple[bytes, Array]:
    """Return the entries of many stored members, and the bytes of each.

    The same bytes as `central_entry` of each, made in columns.
    """
    if int(offsets[-1]) >= FULL:
        rows = zip(names, crcs, sizes.tolist(), offsets.tolist(), strict=True)
        entries = [central_entry(name, 0, crc, size, size, at) for name, crc, size, at in rows]
        return b"".join(entries), np.fromiter(map(len, entries), np.int64, len(entries))
    count = len(names)
    lengths = np.fromiter(map(len, names), np.int64, count)
    table = np.zeros(count, CENTRALS)
    for field, value in _CENTRAL_CONSTANTS.items():
        table[field] = value
    table["f7"] = crcs
    table["f8"] = table["f9"] = sizes
    table["f10"] = lengths
    table["f16"] = offsets
    fixed, width = table.tobytes(), CENTRAL.size
    parts: list[bytes] = [b""] * (2 * count)
    parts[0::2] = [fixed[at : at + width] for at in range(0, width * count, width)]
    parts[1::2] = names
    return b"".join(parts), lengths + width


def manifest_tail(first: int, version: int) -> bytes:
    """Return the extra field by which the manifest's entry says what file this is.

    Args:
        first: offset in the directory of the entry of the graph.
        version: of the container.
    """
    return TAIL.pack(MARK, 16, b"persist", version, first)


def end_of_directory(count: int, size: int, offset: int) -> bytes:
    """Return what ends the file: where the directory is, and how long.

    Args:
        count: of entries.
        size: of the directory.
        offset: of the directory.
    """
    result = b""
    if count >= 0xFFFF or size >= FULL or offset >= FULL:
        result = END64.pack(
            END64_MAGIC, END64.size - 12, MADE_BY, 45, 0, 0, count, count, size, offset
        ) + LOCATOR.pack(LOCATOR_MAGIC, 0, offset + size, 1)
    few = min(count, 0xFFFF)
    return result + END.pack(END_MAGIC, 0, 0, few, few, min(size, FULL), min(offset, FULL), 0)
