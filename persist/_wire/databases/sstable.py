"""Sorted tables of keys and values: LevelDB's table format.

After LevelDB's ``doc/table_format.md`` and ``table/format.cc``,
``table/block.cc``, as TensorFlow copied them to ``core/lib/io``:

- the last 48 bytes: two handles (varint offset, varint size) of the index of
  meta blocks and of the index of blocks, padding, a magic number;
- a block: entries (varint bytes shared with the key before, varint bytes of its
  own, varint bytes of the value, key, value), offsets of the restarts (u32
  each), their count (u32); behind it one byte for the compression (0 none, 1
  snappy) and the masked CRC-32C of the block and that byte;
- the index: for each block a key that is not before its last one, and its handle.

Values of uncompressed blocks are views into the file.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator

from persist._wire.base.source import Source
from persist._wire.compression.crc32c import crc32c, mask
from persist._wire.compression.snappy import decompress
from persist.errors import DamagedFileError, PersistError

__all__ = ["MAGIC", "Table", "key_text", "varint"]

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER = 48
_TRAILER = 5
_LONGEST = 1 << 16  # bytes of a key

Entry = tuple[bytes, memoryview]


def varint(data: memoryview | bytes, position: int, end: int) -> tuple[int, int]:
    """Return the number that begins at ``position``, and where the next thing does.

    Raises:
        ValueError: it passes ``end``, or has more than 64 bits.
    """
    value = shift = 0
    while True:
        if position >= end or shift > 63:
            raise ValueError("a varint has no end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7


def key_text(key: bytes) -> str:
    """Return a name of the table as text."""
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        return key.decode("latin-1")


class Table:
    """A table, of which only footer and index are read at first.

    Args:
        source: the file.
        verify: whether the checksum of each block is checked when it is read.
    """

    def __init__(self, source: Source, verify: bool = True) -> None:
        self.source = source
        self.verify = verify
        footer = source.tail(FOOTER)
        if len(footer) < FOOTER or footer[-8:] != MAGIC:
            raise self._damaged(
                f"the table has no end: it closes with {footer[-8:].hex(' ') or 'nothing'}, "
                f"not with {MAGIC.hex(' ')}.",
                max(0, source.size - 8),
                "The file is truncated, or was not written to the end.",
            )
        try:
            _, position = varint(footer, 0, FOOTER)
            _, position = varint(footer, position, FOOTER)
            offset, position = varint(footer, position, FOOTER)
            size, _ = varint(footer, position, FOOTER)
        except ValueError as error:
            raise self._damaged(f"its footer is broken: {error}.", source.size - FOOTER) from error
        self._keys: list[bytes] = []
        self._handles: list[tuple[int, int]] = []
        self._last: tuple[int, memoryview] | None = None
        behind = 0
        for key, value in self._entries(offset, size):
            try:
                start, at = varint(value, 0, len(value))
                length, _ = varint(value, at, len(value))
            except ValueError as error:
                raise self._damaged(f"a handle in its index is broken: {error}.", offset) from error
            if start < behind:
                raise self._damaged(
                    f"two of its blocks overlap at offset {start:,}.",
                    offset,
                    "The file is damaged.",
                )
            behind = start + length + _TRAILER
            self._keys.append(key)
            self._handles.append((start, length))

    @property
    def blocks(self) -> int:
        """How many blocks hold entries."""
        return len(self._handles)

    def items(self) -> Iterator[Entry]:
        """Yield every key and value, in order."""
        before: bytes | None = None
        for offset, size in self._handles:
            for key, value in self._entries(offset, size):
                if before is not None and key <= before:
                    raise self._damaged(
                        f"key {key[:80]!r} does not come after {before[:80]!r}.",
                        offset,
                        "The file is damaged.",
                    )
                before = key
                yield key, value

    def first(self) -> Entry | None:
        """Return the first key and its value, or None of an empty table."""
        return next(self.items(), None)

    def get(self, key: bytes) -> memoryview | None:
        """Return the value of a key, or None; reads the one block where it can be."""
        place = bisect.bisect_left(self._keys, key)
        if place == len(self._handles):
            return None
        for found, value in self._entries(*self._handles[place]):
            if found == key:
                return value
        return None

    def block(self, offset: int, size: int) -> memoryview:
        """Return what a block holds, its checksum checked and decompressed."""
        if self._last is None or self._last[0] != offset:
            self._last = (offset, self._block(offset, size))
        return self._last[1]

    def _block(self, offset: int, size: int) -> memoryview:
        raw = self.source.view(offset, size + _TRAILER)
        kind = raw[size]
        if self.verify:
            stored = int.from_bytes(raw[size + 1 :], "little")
            found = mask(crc32c(raw[: size + 1]))
            if stored != found:
                raise self._damaged(
                    f"the checksum of a block of {size:,} bytes is {found:08x}, stored is {stored:08x}.",
                    offset,
                    'The file is damaged; verify="never" reads it unchecked.',
                    checksum=True,
                )
        if kind == 0:
            return raw[:size]
        if kind == 1:
            return memoryview(decompress(raw[:size], self.source, f"block at offset {offset}"))
        raise self._damaged(
            f"a block is compressed by method {kind}; known are 0 (not) and 1 (snappy).",
            offset + size,
            "The file is damaged.",
        )

    def _entries(self, offset: int, size: int) -> Iterator[Entry]:
        data = self.block(offset, size)
        end = self._end(data, offset)
        position, key, made = 0, b"", 0
        try:
            while position < end:
                shared, position = varint(data, position, end)
                own, position = varint(data, position, end)
                length, position = varint(data, position, end)
                if shared > len(key) or own + length > end - position:
                    raise ValueError(
                        f"an entry claims {shared:,} + {own:,} bytes of key and {length:,} of value"
                    )
                if shared + own > _LONGEST:
                    raise ValueError(f"a key claims {shared + own:,} bytes")
                key = key[:shared] + bytes(data[position : position + own])
                made += len(key)
                if made > 1 << 16:
                    self.source.spend(made)
                    made = 0
                position += own
                yield key, data[position : position + length]
                position += length
        except PersistError:  # a limit; some are ValueErrors, too
            raise
        except ValueError as error:
            raise self._damaged(
                f"a block is broken {position:,} bytes in: {error}.", offset, "The file is damaged."
            ) from error

    def _end(self, data: memoryview, offset: int) -> int:
        """Where the entries of a block end and its restarts begin."""
        count = int.from_bytes(data[-4:], "little")
        end = len(data) - 4 - 4 * count
        if len(data) < 4 or end < 0:
            raise self._damaged(
                f"a block of {len(data):,} bytes claims {count:,} restarts.",
                offset,
                "The file is damaged.",
            )
        return end

    def _damaged(
        self, what: str, offset: int, remedy: str = "", **facts: object
    ) -> DamagedFileError:
        return DamagedFileError(
            what, file=self.source.name, where=f"offset {offset}", remedy=remedy, **facts
        )
