"""Lay out tables and messages by hand, for tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from persist._wire.compression.crc32c import crc32c, mask
from persist._wire.databases.sstable import MAGIC


def varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | bytes | float) -> bytes:
    """One field: an int as a varint, bytes as they are, a float as 32 bits."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<I", value)


def sealed(block: bytes, kind: int = 0) -> bytes:
    """A block with its trailer."""
    data = block + bytes((kind,))
    return data + struct.pack("<I", mask(crc32c(data)))


def block(entries: Iterable[tuple[bytes, bytes]], restart: int = 4) -> bytes:
    out, restarts, before = bytearray(), [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    restarts = restarts or [0]
    return (
        bytes(out) + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))
    )


def table(entries: dict[bytes, bytes], size: int = 3, squeeze: object = None) -> bytes:
    """A table of blocks of ``size`` entries; ``squeeze`` compresses a block."""
    out, handles = bytearray(), []
    keys = sorted(entries)
    for start in range(0, len(keys), size):
        part = keys[start : start + size]
        plain = block((key, entries[key]) for key in part)
        kind = 0
        if callable(squeeze):
            plain, kind = squeeze(plain), 1
        handles.append((part[-1], varint(len(out)) + varint(len(plain))))
        out += sealed(plain, kind)
    meta = varint(len(out)) + varint(8)
    out += sealed(block([]))
    index = block(handles, restart=1)
    footer = meta + varint(len(out)) + varint(len(index))
    out += sealed(index)
    return bytes(out) + footer.ljust(40, b"\0") + MAGIC
