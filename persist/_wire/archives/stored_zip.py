"""A ZIP of stored members whose data begins at multiples of 64, written in one pass.

After PKWARE's ``APPNOTE.TXT`` 6.3.10. The padding is an extra field ``FB`` of ``Z``s, as
``caffe2/serialize/inline_container.cc`` has it; readers pass over it by its length. Sizes and
CRCs stand in the local headers, so that the target need not seek and every reader agrees.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["StoredZip"]

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_UTF8 = 0x800
_DATE = 0x21  # 1 January 1980, the first day that there is
_ALIGN = 64

Chunks = Callable[[], Iterable[Any]]


class StoredZip:
    """Writes members, then the directory.

    Args:
        write: takes bytes.
    """

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self._write = write
        self._at = 0
        self._members: list[tuple[bytes, int, int, int]] = []  # name, crc, size, where

    def add(self, name: str, data: bytes) -> None:
        """Write a member that is at hand."""
        self.add_chunks(name, len(data), lambda: (data,))

    def add_chunks(self, name: str, size: int, chunks: Chunks) -> None:
        """Write a member in parts, which are asked for twice: for the CRC, then to be written."""
        crc = 0
        for chunk in chunks():
            crc = zlib.crc32(chunk, crc)
        raw = name.encode("utf-8")
        wide = size >= _FULL32
        extra = struct.pack("<2H2Q", 1, 16, size, size) if wide else b""
        begin = self._at + _LOCAL.size + len(raw) + len(extra) + 4
        padding = -begin % _ALIGN
        extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        size32 = _FULL32 if wide else size
        head = (b"PK\3\4", 45 if wide else 20, _UTF8, 0, 0, _DATE, crc, size32, size32)
        where = self._at
        self._put(_LOCAL.pack(*head, len(raw), len(extra)) + raw + extra)
        for chunk in chunks():
            self._put(chunk)
        self._members.append((raw, crc, size, where))

    def finish(self) -> None:
        """Write the directory."""
        start = self._at
        for raw, crc, size, where in self._members:
            self._put(_entry(raw, crc, size, where))
        length, count = self._at - start, len(self._members)
        if count >= _FULL16 or start >= _FULL32 or length >= _FULL32:
            where = self._at
            self._put(_END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start))
            self._put(_LOCATOR.pack(b"PK\6\7", 0, where, 1))
        few = min(count, _FULL16)
        size32 = (min(length, _FULL32), min(start, _FULL32))
        self._put(_END.pack(b"PK\5\6", 0, 0, few, few, *size32, 0))

    def _put(self, data: Any) -> None:
        self._write(data)
        self._at += len(data)


def _entry(raw: bytes, crc: int, size: int, where: int) -> bytes:
    wide = [value for value in (size, size, where) if value >= _FULL32]
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size32 = min(size, _FULL32)
    version = 45 if wide else 20
    fields = (version, version, _UTF8, 0, 0, _DATE, crc, size32, size32, len(raw), len(extra))
    return _ENTRY.pack(b"PK\1\2", *fields, 0, 0, 0, 0, min(where, _FULL32)) + raw + extra
