"""Ranges of archives and compressed streams: ZIP, gzip, zlib, tar, SQLite."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from persist._trees.leaves import printable

__all__ = [
    "compressed", "gzip", "is_compressed", "is_gzip", "is_sqlite", "is_tar", "is_zip", "is_zlib", "sqlite", "tar",
    "zip_parts", "zlib",
]  # fmt: skip

Parts = Iterator[tuple[int, int, str]]

_METHODS = {0: "stored", 8: "deflated", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstandard"}


def is_zip(data: memoryview) -> bool:
    """Whether an end record of a central directory is where one can be."""
    return bytes(data[:2]) == b"PK" and _end_of_zip(data) >= 0


def _end_of_zip(data: memoryview) -> int:
    tail = bytes(data[max(0, len(data) - 65_557) :])
    at = tail.rfind(b"PK\x05\x06")
    return -1 if at < 0 or at + 22 > len(tail) else len(data) - len(tail) + at


def zip_parts(data: memoryview) -> Iterator[tuple[int, int, str, str | None]]:
    """Yield (start, stop, what, member) in the order of the file; member is the name, of stored content."""
    end = _end_of_zip(data)
    count, size, directory = struct.unpack_from("<HII", data, end + 10)
    tail = []
    if bytes(data[end - 20 : end - 16]) == b"PK\x06\x07":
        (at,) = struct.unpack_from("<Q", data, end - 12)
        if at + 56 <= end and bytes(data[at : at + 4]) == b"PK\x06\x06":
            count, size, directory = struct.unpack_from("<QQQ", data, at + 32)
            tail.append((at, end - 20, "ZIP64 end of central directory"))
        tail.append((end - 20, end, "ZIP64 locator of the end record"))
    comment = int.from_bytes(data[end + 20 : end + 22], "little")
    tail.append((end, end + 22, f"end of central directory: {count:,} members"))
    tail.append((end + 22, end + 22 + comment, "comment of the archive"))
    entries = list(_directory(data, directory, min(directory + size, end)))
    for _, _, name, offset, packed, method in sorted(entries, key=lambda one: one[3]):
        yield from _member(data, name, offset, packed, method)
    for start, stop, name, *_ in entries:
        yield start, stop, f"central directory: {printable(name)}", None
    yield from ((a, b, what, None) for a, b, what in tail)


def _directory(
    data: memoryview, at: int, stop: int
) -> Iterator[tuple[int, int, str, int, int, int]]:
    while at + 46 <= stop and bytes(data[at : at + 4]) == b"PK\x01\x02":
        (method,) = struct.unpack_from("<H", data, at + 10)
        packed, unpacked, named, extra, comment = struct.unpack_from("<IIHHH", data, at + 20)
        (offset,) = struct.unpack_from("<I", data, at + 42)
        name = bytes(data[at + 46 : at + 46 + named]).decode("utf-8", "backslashreplace")
        packed, offset = _wide(bytes(data[at + 46 + named :][:extra]), unpacked, packed, offset)
        last = at + 46 + named + extra + comment
        yield at, last, name, offset, packed, method
        at = last


def _wide(extra: bytes, unpacked: int, packed: int, offset: int) -> tuple[int, int]:
    """The packed size and the offset, from the ZIP64 field where the entry has no room for them."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            numbers = [
                int.from_bytes(extra[i : i + 8], "little") for i in range(at + 4, at + 4 + size, 8)
            ]
            for value in (unpacked, packed, offset):
                if value == 0xFFFFFFFF and numbers:
                    wide = numbers.pop(0)
                    packed = wide if value is packed else packed
                    offset = wide if value is offset else offset
        at += 4 + size
    return packed, offset


def _member(
    data: memoryview, name: str, at: int, packed: int, method: int
) -> Iterator[tuple[int, int, str, str | None]]:
    if at + 30 > len(data) or bytes(data[at : at + 4]) != b"PK\x03\x04":
        return
    flags, _ = struct.unpack_from("<HH", data, at + 6)
    named, extra = struct.unpack_from("<HH", data, at + 26)
    start = at + 30 + named + extra
    shown = printable(name)
    yield at, at + 30 + named, f"local header: {shown}", None
    yield at + 30 + named, start, f"extra fields of {shown}, padding for alignment among them", None
    how = _METHODS.get(method, f"method {method}")
    if method == 0 and not flags & 1:
        yield start, start + packed, f"content of {shown}, stored", shown
    else:
        more = ", encrypted" if flags & 1 else ""
        yield start, start + packed, f"content of {shown}, {how}{more}", None
    if flags & 8:
        has_mark = bytes(data[start + packed : start + packed + 4]) == b"PK\x07\x08"
        yield (
            start + packed,
            start + packed + (16 if has_mark else 12),
            f"data descriptor of {shown}",
            None,
        )


# First bytes -> what it is called, where its compressed data begin, and bytes that end it.
# Sources: the manual of bzip2; the XZ file format, 2.1; LZ4's frame format; RFC 8878 for Zstandard;
# ``numpy_pickle_compat.py`` of joblib, whose ``ZF`` is followed by a length in 19 hexadecimal characters.
_COMPRESSED = (
    (b"BZh", "bzip2", 4, 0),
    (b"\xfd7zXZ\0", "xz", 12, 12),
    (b"\x04\x22\x4d\x18", "lz4", 7, 0),
    (b"\x28\xb5\x2f\xfd", "zstandard", 4, 0),
    (b"ZF0x", "joblib's zlib", 21, 0),
)


def _compression(data: memoryview) -> tuple[bytes, str, int, int] | None:
    head = bytes(data[:6])
    found = (one for one in _COMPRESSED if head.startswith(one[0]))
    return next((one for one in found if len(data) > one[2] + one[3]), None)


def is_compressed(data: memoryview) -> bool:
    """Whether it begins as bzip2, xz, LZ4, Zstandard or joblib's first compression."""
    return _compression(data) is not None


def compressed(data: memoryview) -> Parts:
    """Header, compressed data and footer; nothing is decompressed."""
    found = _compression(data)
    if found is None:
        return
    magic, name, start, tail = found
    if name == "lz4":
        start += 8 if data[4] & 0x08 else 0  # the content's size
        start += 4 if data[4] & 0x01 else 0  # the dictionary's number
    yield 0, len(magic), f"magic of {name}"
    if start > len(magic):
        yield len(magic), start, "header"
    yield start, len(data) - tail, f"data compressed by {name}"
    if tail:
        yield len(data) - tail, len(data), "footer"


def is_gzip(data: memoryview) -> bool:
    """Whether it begins as gzip."""
    return len(data) > 18 and bytes(data[:3]) == b"\x1f\x8b\x08"


def gzip(data: memoryview) -> Parts:
    """The members of a gzip file; their sizes need inflating, of which nothing is kept."""
    import zlib as stdlib

    at = 0
    while at + 18 <= len(data) and bytes(data[at : at + 3]) == b"\x1f\x8b\x08":
        flags, start = data[at + 3], at + 10
        yield at, start, "gzip header"
        if flags & 4:
            stop = start + 2 + int.from_bytes(data[start : start + 2], "little")
            yield start, stop, "extra field"
            start = stop
        for bit, what in ((8, "name of the file"), (16, "comment")):
            if flags & bit:
                stop = bytes(data[start : start + 65_536]).find(b"\0") + start + 1
                yield start, stop, what
                start = stop
        if flags & 2:
            yield start, start + 2, "checksum of the header"
            start += 2
        decoder = stdlib.decompressobj(-15)
        stop = _inflated(decoder, data, start)
        yield start, stop, "deflated data"
        if not decoder.eof:
            return
        yield stop, stop + 4, "CRC-32"
        yield stop + 4, stop + 8, "length, modulo 2**32"
        at = stop + 8


def _inflated(decoder: object, data: memoryview, at: int) -> int:
    """Where a deflated stream ends; where it breaks off, if it is damaged."""
    import zlib as stdlib

    decompress = decoder.decompress  # type: ignore[attr-defined]
    while at < len(data) and not decoder.eof:  # type: ignore[attr-defined]
        piece = data[at : at + 65_536]
        at += len(piece)
        try:
            decompress(piece, 1 << 20)
            while decoder.unconsumed_tail and not decoder.eof:  # type: ignore[attr-defined]
                decompress(decoder.unconsumed_tail, 1 << 20)  # type: ignore[attr-defined]
        except stdlib.error:
            return at
    return at - len(decoder.unused_data)  # type: ignore[attr-defined]


def is_zlib(data: memoryview) -> bool:
    """Whether it begins as a zlib stream of the usual window."""
    return len(data) > 6 and data[0] == 0x78 and (data[0] * 256 + data[1]) % 31 == 0


def zlib(data: memoryview) -> Parts:
    """A zlib stream and what follows."""
    import zlib as stdlib

    decoder = stdlib.decompressobj()
    stop = _inflated(decoder, data, 0)
    yield 0, 2, "zlib header"
    if decoder.eof:
        yield 2, stop - 4, "deflated data"
        yield stop - 4, stop, "Adler-32"
    else:
        yield 2, stop, "deflated data, cut or damaged"


def is_tar(data: memoryview) -> bool:
    """Whether the first header of a tar archive is there."""
    return len(data) >= 512 and bytes(data[257:262]) == b"ustar"


def tar(data: memoryview) -> Parts:
    """Headers, contents and padding of a tar archive."""
    at = 0
    while at + 512 <= len(data):
        header = bytes(data[at : at + 512])
        if not header.strip(b"\0"):
            yield at, len(data), "end of the archive: empty blocks"
            return
        name = printable(header[:100].partition(b"\0")[0].decode("utf-8", "backslashreplace"))
        digits = header[124:136].strip(b" \0")
        try:
            size = int(digits or b"0", 8)
        except ValueError:
            return
        yield at, at + 512, f"header: {name}"
        yield at + 512, at + 512 + size, f"content of {name}"
        padded = at + 512 + -(-size // 512) * 512
        yield at + 512 + size, padded, "padding"
        at = padded


def is_sqlite(data: memoryview) -> bool:
    """Whether it is a database of SQLite 3."""
    return bytes(data[:16]) == b"SQLite format 3\0" and len(data) >= 100


_PAGES = {
    2: "interior page of an index",
    5: "interior page of a table",
    10: "leaf page of an index",
    13: "leaf page of a table",
}


def sqlite(data: memoryview) -> Parts:
    """Header and pages."""
    size = int.from_bytes(data[16:18], "big")
    size = 65_536 if size == 1 else size
    yield 0, 100, f"header of the database: pages of {size:,} bytes"
    if size < 512:
        return
    for at in range(0, len(data), size):
        first = 100 if at == 0 else at
        if first < len(data):
            kind = _PAGES.get(data[first], "overflow, free or pointer-map page")
            yield first, at + size, f"page {at // size + 1:,}: {kind}"
