"""A compressed file of its own kind: "ZF", the length in hexadecimal, spaces, a zlib stream.

Source: joblib's ``numpy_pickle_compat.py`` (``read_zfile``, ``write_zfile``), of 0.6 to 0.9.
"""

from __future__ import annotations

import zlib

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source
from persist._wire.compression import streams
from persist._wire.compression.streams import Unpacking
from persist.errors import DamagedFileError

__all__ = ["is_packed", "unpacked"]

_MAGIC = b"ZF"
_LENGTH = regex(rb"ZF0[xX]([0-9a-fA-F]{1,16})L? {0,19}")
_BITE = 4096  # bytes at a time of a stream that may be broken
_HEADS = (21, 22)  # bytes of the header: Python 2 needs one more for the L of a long


def is_packed(source: Source) -> bool:
    """Whether a file begins with that header, a zlib stream behind it."""
    return source.kind == "file" and _packed_at(source) is not None


def _packed_at(source: Source) -> tuple[int, int] | None:
    """(where the zlib stream begins, the length that the header states), or None."""
    head = source.head(max(_HEADS) + 2)
    if head[:2] != _MAGIC:
        return None
    match = _LENGTH.match(head)
    if match is None or match.end() not in _HEADS:
        return None
    start = match.end()
    is_zlib = len(head) < start + 2 or (
        head[start] & 15 == 8 and int.from_bytes(head[start : start + 2], "big") % 31 == 0
    )
    return (start, int(match[1], 16)) if is_zlib else None


def unpacked(source: Source, broken: list[str] | None = None) -> Source:
    """Return what is inside, whose neighbours are those of the file.

    Args:
        source: the file.
        broken: list that receives a report of a truncated stream, whose complete part is returned; None
            makes it an error.

    Raises:
        DamagedFileError: it is not of this form, breaks off, or is of another length than stated.
    """
    found = _packed_at(source)
    if found is None:
        raise DamagedFileError(
            f"it begins with {source.head(8)!r}, not with ZF, a length and a zlib stream.",
            file=source.name,
        )
    start, length = found
    unpacking = Unpacking(source, start, source.size, streams.deflate(zlib.MAX_WBITS), "its data")
    parts: list[bytes] = []
    try:
        _unpack(unpacking, parts, length, streams.CHUNK if broken is None else _BITE)
    except DamagedFileError as error:
        if broken is None or not parts:
            raise
        broken.append(str(error))
    return source.nested(b"".join(parts), "", here=True)


def _unpack(unpacking: Unpacking, parts: list[bytes], length: int, chunk: int) -> None:
    source = unpacking.source
    for part in unpacking.pieces(length + 1, chunk):
        source.spend(len(part))
        parts.append(part)
    if unpacking.made != length:
        some = "more" if unpacking.made > length else f"{unpacking.made:,}"
        raise DamagedFileError(
            f"its header states {length:,} bytes, and {some} are inside.",
            file=source.name,
            where="its data",
            remedy="The file is damaged: copy it again from where it came from, or open it with "
            "salvage=True for what is whole.",
            truncated=unpacking.made < length,
        )
