"""Data elements of MAT-files of level 5: tags, small elements and compressed ones.

Evidence: "MAT-File Format" (The MathWorks), chapter "Level 5 MAT-File Format".

- An element is a tag and its data. A tag is a type (uint32) and a number of bytes (uint32).
- An element of up to 4 bytes can be *small*: the number of bytes is in the upper 16 bits of the first
  number, the data in place of the second.
- Data is padded to a multiple of 8 bytes, except that of compressed elements.
- A compressed element is a zlib stream of one element with its tag; only variables are compressed.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.source import Source
from persist._wire.compression.streams import Unpacking, deflate
from persist.errors import DamagedFileError
from persist.typing import Array, DType

__all__ = ["COMPRESSED", "MATRIX", "TEXTS", "Element", "broken", "element", "inflated", "numbers"]

MATRIX = 14
COMPRESSED = 15
TEXTS = {16: "utf8", 17: "utf16", 18: "utf32"}
_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_BEST = 1040  # zlib makes at most 1,032 bytes of one


class Element(NamedTuple):
    """One element.

    Attributes:
        kind: number of its type.
        start: offset of its data.
        length: bytes of its data, without padding.
        end: offset behind the padding.
    """

    kind: int
    start: int
    length: int
    end: int

    def dtype(self, order: str) -> DType | None:
        """Return the dtype of its numbers, or None if it holds none."""
        code = _NUMBERS.get(self.kind)
        return None if code is None else from_text(code if code[1] == "1" else f"{order}{code}")


def element(source: Source, order: str, offset: int) -> Element:
    """Return the element at an offset, whose data lies within the source.

    Args:
        source: holds it.
        order: byte order, "<" or ">".
        offset: of its tag.

    Raises:
        DamagedFileError: the data extends beyond the end of the source.
    """
    first, length = struct.unpack(f"{order}II", source.view(offset, 8))
    if first >> 16:
        kind, length = first & 0xFFFF, first >> 16
        if length > 4:
            raise broken(source, offset, f"a small element claims {length:,} bytes, more than 4.")
        return Element(kind, offset + 4, length, offset + 8)
    start = offset + 8
    if length > source.size - start:
        source.view(start, length)  # raises with the place
    padding = 0 if first == COMPRESSED else -length % 8
    return Element(first, start, length, start + length + padding)


def numbers(source: Source, order: str, found: Element, codes: str, what: str) -> Array:
    """Return the numbers of a short element as a view.

    Args:
        source: holds it.
        order: byte order.
        found: the element.
        codes: the dtypes that are permitted, without byte order, separated by blanks.
        what: names the element in errors.
    """
    dtype = found.dtype(order)
    if dtype is None or dtype.str[1:] not in codes.split() or found.length % dtype.itemsize:
        raise broken(
            source,
            found.start,
            f"{what} are {found.length:,} bytes of type {found.kind}, not {codes}.",
        )
    return np.frombuffer(source.view(found.start, found.length), dtype)


def inflated(
    source: Source, order: str, found: Element, name: str, most: int = 0
) -> tuple[Source, int]:
    """Return the content of a compressed element, and how many bytes it has as a whole.

    The tag inside states that number. It is counted against the limits before the bytes are made;
    one that exceeds what zlib can make of the compressed bytes is refused.

    Args:
        source: holds the element.
        order: byte order.
        found: the element.
        name: names the content in errors.
        most: bytes of the beginning that are wanted; 0 is all, whose checksum is then verified.

    Raises:
        DamagedFileError: the stream is damaged, or has another length than its tag states.
    """
    end, where = found.start + found.length, f"offset {found.start}"
    stream = Unpacking(source, found.start, end, deflate(15), where)
    tag = b"".join(stream.pieces(8, 1024))
    if len(tag) < 8:
        raise broken(source, found.start, "a compressed variable breaks off.")
    kind, length = struct.unpack(f"{order}II", tag)
    whole = 8 if kind >> 16 else 8 + length
    if whole > _BEST * found.length:
        raise broken(
            source,
            found.start,
            f"a variable of {whole:,} bytes is claimed to be compressed in {found.length:,}.",
        )
    wanted = min(most, whole) if most else whole
    source.spend(wanted)
    data = tag + b"".join(stream.pieces(wanted))
    if len(data) == whole and not most:
        rest = sum(map(len, stream.pieces(whole + 8, 8)))  # reads the checksum
        if rest > 7 or not stream.stream.eof:
            raise broken(source, found.start, "a compressed variable has no end.")
    if len(data) < wanted:
        raise broken(
            source,
            found.start,
            f"a compressed variable breaks off after {len(data):,} of {whole:,} bytes.",
        )
    return source.nested(data, name), whole


def broken(source: Source, offset: int, what: str) -> DamagedFileError:
    """Return the error that says what is wrong at an offset."""
    return DamagedFileError(
        what,
        file=source.name,
        where=f"offset {offset}",
        remedy="The file is damaged; salvage=True reads the variables that are whole.",
    )
