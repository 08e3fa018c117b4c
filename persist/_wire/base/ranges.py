"""Ranged reads: what a reader asks for is fetched in blocks, a few of which are kept.

Readers take a header here and a name there, mostly in the order of the file. Each fetch may be a
request that takes 50 ms, so a fetch is at least a block long, and twice as long as the one before
while the reading goes on where that one ended. Large parts are fetched exactly, and not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import IO, TypeAlias

from persist._runtime.progress import current
from persist.errors import DamagedFileError

__all__ = ["Fetch", "Ranges", "fetching"]

Fetch: TypeAlias = Callable[[int, int], bytes | bytearray]
"""Offset and length, in bytes, to what is there; less than requested only at the end of the file."""


class Ranges:
    """The bytes of a file that is read by ranges.

    Args:
        fetch: reads a part of the file.
        size: bytes of the file.
    """

    BLOCK = 64 << 10  # least bytes of a fetch
    AHEAD = 4 << 20  # most bytes of a fetch of which less was asked for
    LARGE = 1 << 20  # what is longer is fetched exactly
    KEPT = 16 << 20  # bytes of blocks that are kept
    END = (
        128 << 10
    )  # bytes at the end that are fetched at once, since indexes are read from the end

    def __init__(self, fetch: Fetch, size: int) -> None:
        self.closed = False
        self._fetch = fetch
        self._size = size
        self._blocks: list[tuple[int, bytes | bytearray]] = []  # the most recent one first
        self._next = -2 * self.BLOCK  # where the last fetch ended
        self._ahead = self.BLOCK
        self._has_end = False
        self._fetched_bytes = 0  # for those who watch
        self._lock = threading.Lock()

    def keep(self, start: int, block: bytes | bytearray) -> None:
        """Keep a part that is known already, or was just fetched."""
        self._blocks.insert(0, (start, block))
        while len(self._blocks) > 1 and sum(len(b) for _, b in self._blocks) > self.KEPT:
            self._blocks.pop()

    def read(self, start: int, length: int, name: str) -> bytes | bytearray:
        """Return ``length`` bytes at ``start``.

        Args:
            start: offset in bytes.
            length: number of bytes.
            name: the file, for errors.

        Raises:
            DamagedFileError: it was closed, or has fewer bytes.
        """
        if self.closed:
            raise DamagedFileError(
                "it was closed before this part of it was read.",
                file=name,
                remedy="Read lazy arrays before close(), or open local files, which are mapped.",
            )
        with self._lock:
            return self._read(start, length, name)

    def _read(self, start: int, length: int, name: str) -> bytes | bytearray:
        for place, (begin, known) in enumerate(self._blocks):
            inside = start - begin
            if inside >= 0 and inside + length <= len(known):
                if place:
                    self._blocks.insert(0, self._blocks.pop(place))
                return known[inside : inside + length]
        if length >= self.LARGE:
            block = self._fetched(start, length, length, name)
        else:
            is_next = 0 <= start - self._next <= self.BLOCK
            self._ahead = min(2 * self._ahead, self.AHEAD) if is_next else self.BLOCK
            begin, wanted = start, max(length, self._ahead)
            end = self._size - self.END
            if start >= end > 0 and not self._has_end:
                self._has_end = True
                begin, wanted = end, self.END
            block = self._fetched(begin, wanted, start - begin + length, name)
            self.keep(begin, block)
            self._next = begin + len(block)
            return block[start - begin : start - begin + length]
        self._next = start + len(block)
        return block

    def fill(self, start: int, length: int, name: str) -> None:
        """Fetch a part at once of which smaller parts will be read next.

        Args:
            start: offset in bytes.
            length: number of bytes.
            name: the file, for errors.
        """
        with self._lock:
            is_known = any(
                begin <= start and start + length <= begin + len(known)
                for begin, known in self._blocks
            )
            if not is_known:
                self.keep(start, self._fetched(start, length, length, name))
                self._next = start + length

    def _fetched(self, start: int, wanted: int, length: int, name: str) -> bytes | bytearray:
        """Fetch ``wanted`` bytes or what is left of the file, at least ``length``."""
        block = self._fetch(start, min(wanted, max(self._size - start, length)))
        meter = current()
        if meter is not None:
            self._fetched_bytes = min(self._size, self._fetched_bytes + len(block))
            meter.at("read", self._fetched_bytes, self._size, "bytes", name)
        if len(block) < length:
            raise DamagedFileError(
                f"{length:,} bytes are claimed, but {len(block):,} could be read.",
                file=name,
                where=f"offset {start}",
            )
        return block


def fetching(file: IO[bytes]) -> Fetch:
    """Return the ranged reads of a seekable binary file, which `Ranges` asks one at a time."""

    readv = getattr(file, "readv", None)  # SFTP files, which else wait for an answer each 32 KiB

    def fetch(start: int, length: int) -> bytes:
        if readv is not None:
            return b"".join(readv([(start, length)]))
        file.seek(start)
        block = file.read(length)
        if len(block) == length:
            return block
        parts = [block]
        left = length - len(block)
        while block and left:  # raw files may return less than requested
            block = file.read(left)
            parts.append(block)
            left -= len(block)
        return b"".join(parts)

    return fetch
