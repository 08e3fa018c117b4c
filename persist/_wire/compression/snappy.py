"""Snappy's raw block format, decoded.

After ``format_description.txt`` of google/snappy: a varint with the length of
the whole, then literals and copies of what was already decoded. A copy may
overlap what it writes, which repeats it.
"""

from __future__ import annotations

from persist._wire.base.source import Source
from persist.errors import DamagedFileError

__all__ = ["decompress"]

_MOST = 64  # bytes that one element of at least 2 bytes can give, besides literals


def decompress(data: memoryview, source: Source, where: str) -> bytes:
    """Return what a block holds.

    Args:
        data: the compressed block.
        source: counts the bytes that are made, and names the file in errors.
        where: the place of the block, for errors.

    Raises:
        DamagedFileError: the block is broken or lies about its length.
        LimitError: it would make more than the source's limits allow.
    """
    size, position = _length(data, source, where)
    if size > _MOST * len(data):
        raise _damaged(
            f"{len(data):,} bytes cannot hold the {size:,} that they claim.", source, where
        )
    source.spend(size)
    result = bytearray()
    while position < len(data):
        position = _element(data, position, result, size)
        if position < 0:
            break
    if position < 0 or len(result) != size:
        raise _damaged(
            f"its elements break off after {len(result):,} bytes of {size:,}.", source, where
        )
    return bytes(result)


def _length(data: memoryview, source: Source, where: str) -> tuple[int, int]:
    size = 0
    for position, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return size, position + 1
    raise _damaged("it does not begin with a length.", source, where)


def _element(data: memoryview, position: int, result: bytearray, size: int) -> int:
    """Decode one element; return where the next begins, -1 if it cannot be."""
    tag = data[position]
    kind, rest = tag & 3, tag >> 2
    position += 1
    if kind == 0:
        if rest >= 60:
            width = rest - 59
            if position + width > len(data):
                return -1
            rest = int.from_bytes(data[position : position + width], "little")
            position += width
        end = position + rest + 1
        if end > len(data) or len(result) + rest + 1 > size:
            return -1
        result += data[position:end]
        return end
    width = (1, 2, 4)[kind - 1]
    if position + width > len(data):
        return -1
    offset = int.from_bytes(data[position : position + width], "little")
    length = rest + 1
    if kind == 1:
        offset |= (rest >> 3) << 8
        length = (rest & 7) + 4
    start = len(result) - offset
    if offset == 0 or start < 0 or len(result) + length > size:
        return -1
    if offset >= length:
        result += result[start : start + length]
    else:
        piece = bytes(result[start:])
        result += (piece * (length // offset + 1))[:length]
    return position + width


def _damaged(what: str, source: Source, where: str) -> DamagedFileError:
    return DamagedFileError(
        f"a snappy block is broken: {what}",
        file=source.name,
        where=where,
        remedy="The file is damaged.",
    )
