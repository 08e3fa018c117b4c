"""What reading one file may cost: the limits a user sets, and what is left of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from persist.errors import LimitError, PersistError

if TYPE_CHECKING:
    from persist._wire.base.source import Source

__all__ = ["MIB", "Budget", "Limits"]

MIB = 1 << 20
MAPS = 128  # neighbours that are mapped at most, see `persist._wire.base.local`


class Limits(NamedTuple):
    """Limits of the cost of reading one file; each can be raised by ``limits={name: value}``.

    Attributes:
        opcodes: pickle opcodes; 0 means 64 a byte of the file (as it is stored, before
            decompression), at least 1e6 and at most 5e7.
        depth: levels of nesting of hashed values.
        hashed: values visited to hash one key or set item.
        digits: decimal digits of an integer written as text.
        total: bytes that decompression and copies may make; 0 means
            20 times the size of the file and of the neighbours read with it, at least 256 MiB.
        paths: natural paths that are listed.
        nested: files inside files.
    """

    opcodes: int = 0
    depth: int = 10_000
    hashed: int = 100_000
    digits: int = 1_000_000
    total: int = 0
    paths: int = 1_000_000
    nested: int = 16

    @classmethod
    def of(cls, limits: Mapping[str, int] | Limits | None) -> Limits:
        """Return the default limits, updated with the given ones."""
        if isinstance(limits, Limits):
            return limits
        for name in limits or {}:
            if name not in cls._fields:
                raise PersistError(
                    f"there is no limit {name!r}.",
                    remedy=f"The limits are {', '.join(cls._fields)}.",
                )
        return cls(**(limits or {}))

    def total_for(self, size: int) -> int:
        """Return the bytes that may be made while reading a file of ``size`` bytes."""
        return self.total or max(256 * MIB, 20 * size)

    def opcodes_for(self, size: int) -> int:
        """Return the opcodes that a pickle of ``size`` bytes may hold."""
        return self.opcodes or min(50_000_000, max(1_000_000, 64 * size))


class Budget:
    """The remaining bytes and maps for reading one file, shared by all its parts."""

    __slots__ = ("_known", "copied", "left", "maps", "presented", "size", "whole")

    def __init__(self, whole: int, size: int = 0) -> None:
        self.whole = self.left = whole
        self.size = size
        self.copied = self.presented = 0
        self.maps = MAPS
        self._known: set[str] = set()

    def admit(self, path: str, size: int, limits: Limits) -> None:
        """Add the size of a neighbour, or of a file in the folder, to the budget, once each.

        The budget is proportional to the size of all files, and a folder itself has no bytes.
        """
        if path not in self._known:
            self._known.add(path)
            self.size += size
            whole = limits.total_for(self.size)
            self.whole, self.left = whole, self.left + whole - self.whole

    def may_map(self) -> bool:
        """Return whether one more neighbour may be mapped, and count it."""
        self.maps -= 1
        return self.maps >= 0

    def spend(self, count: int, source: Source) -> None:
        self.left -= count
        if self.left < 0:
            raise LimitError(
                f"reading it would make more than {self.whole:,} bytes.",
                file=source.name,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )

    def copy(self, count: int, source: Source) -> None:
        self.copied += count
        most = max(64 * MIB, 10 * (self.size + self.whole - self.left), source.limits.total)
        if self.copied > most:
            raise LimitError(
                f"what it holds would be copied again and again, beyond {most:,} bytes.",
                file=source.name,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )

    def present(self, count: int, source: Source) -> None:
        self.presented += count
        made = self.size + self.whole - self.left
        most = source.limits.total or max(256 * MIB, 20 * made)
        if self.presented > most:
            raise LimitError(
                f"to present what it holds would take more than {most:,} bytes.",
                file=source.name,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )
