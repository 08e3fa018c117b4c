"""How databases of keys and values begin: all that one has to know to claim one.

After "Database File Format" of SQLite's documentation, ``gdbmdefs.h`` and ``gdbmconst.h`` of GNU dbm,
``dbinc/db_page.h`` of Berkeley DB, ``hash.h`` of DB 1.85.
"""

from __future__ import annotations

import struct

from persist._wire.base.source import Source

__all__ = ["BERKELEY", "BTREE", "GDBM", "HASH", "is_sqlite", "keyed_kind"]

_SQLITE = b"SQLite format 3\0"
_LEAST = 512  # bytes of a file of any kind

GDBM = {  # magic number -> bytes of an offset, None where the release did not state; its header's
    0x13579ACE: None,
    0x13579ACD: 4,
    0x13579ACF: 8,
    0x13579AD0: 4,
    0x13579AD1: 8,
}
HASH, BTREE = 0x061561, 0x053162
BERKELEY = {
    HASH: ("hash", 8),
    BTREE: ("B-tree", 9),
    0x042253: ("queue", 10),
    0x074582: ("heap", 14),
}  # magic number -> name, type of its first page


def is_sqlite(source: Source) -> bool:
    """Whether a file begins as a database of SQLite with a page size that can be."""
    if source.kind != "file" or source.size < _LEAST or source.head(16) != _SQLITE:
        return False
    size = int.from_bytes(source.read(16, 2), "big")
    return size == 1 or (size >= 512 and not size & (size - 1))


def keyed_kind(source: Source) -> tuple[str, str] | None:
    """Return what a file of keys and values is by its first bytes, or None.

    Returns:
        In words, and by the name in `persist._wire.databases.dbm.GRAMMARS`.
    """
    if source.kind != "file" or source.size < _LEAST:
        return None
    head = source.head(28)
    for order in ("<", ">"):
        if struct.unpack_from(f"{order}I", head, 0)[0] in GDBM:
            return "GNU dbm's magic number", "gdbm"
    for order in ("<", ">"):
        magic, version = struct.unpack_from(f"{order}2I", head, 12)
        if magic in BERKELEY and 0 < version < 64 and head[25] == BERKELEY[magic][1]:
            return f"the magic number of Berkeley DB's {BERKELEY[magic][0]}", "berkeley"
    if struct.unpack_from(">2I", head, 0) in ((HASH, 2), (HASH, 3)):
        return "the magic number of Berkeley DB 1.85's hash", "berkeley-185"
    return None
