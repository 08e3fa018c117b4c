"""FlatBuffers: tables whose fields are found by a little table of offsets each.

A buffer begins with the offset of its root table, then may bear four letters. A table
begins with the distance back to its *vtable*: how many bytes that takes, how many the
table takes, and for each field of the schema, in the order of its declaration, where in
the table it is; 0 where it is left at its default. Texts, vectors and other tables stand
behind an offset that counts from where it is written, and is never negative, so that no
way leads back. A union is two fields: which member, then its offset.

Source: ``docs/source/Internals.md`` of google/flatbuffers.

What the schema calls a field is a number here, counted from 0.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.source import Source
from persist.errors import DamagedFileError

__all__ = ["Table", "identifier", "root"]

_HEAD = 8
_U16, _U32, _I32 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i")


def identifier(source: Source) -> bytes:
    """Return the four letters that say which schema a buffer follows, or what is there."""
    return source.head(_HEAD)[4:]


def root(source: Source) -> Table:
    """Return the outermost table of a buffer.

    Raises:
        DamagedFileError: it is not in the file.
    """
    (at,) = _U32.unpack(source.view(0, 4))
    return Table(source, at)


class Table:
    """One table: its fields by their number.

    Attributes:
        source: the buffer.
        at: where the table begins.
    """

    __slots__ = ("_fields", "at", "source")

    def __init__(self, source: Source, at: int) -> None:
        self.source = source
        self.at = at
        (back,) = _I32.unpack(source.view(at, 4))
        start = at - back
        (size,) = _U16.unpack(source.view(start, 2))
        if size < 4 or size % 2:
            raise self.damaged(f"its list of fields takes {size} bytes.")
        source.spend(size)  # many tables may share one list
        self._fields = struct.unpack(f"<{size // 2 - 2}H", source.view(start + 4, size - 4))

    def has(self, field: int) -> bool:
        """Whether a field is there, and not left at its default."""
        return field < len(self._fields) and self._fields[field] != 0

    def number(self, field: int, form: str, default: object = 0) -> Any:
        """Return a number, ``form`` as `struct` spells it without byte order."""
        if not self.has(field):
            return default
        return self.structure(self.at + self._fields[field], form)[0]

    def structure(self, at: int, form: str) -> tuple[Any, ...]:
        """Return the members of a struct, which is in place."""
        return struct.unpack(f"<{form}", self.source.view(at, struct.calcsize(f"<{form}")))

    def target(self, field: int) -> int | None:
        """Return where a text, vector, table or union of this field is, or None."""
        if not self.has(field):
            return None
        at = int(self.at + self._fields[field])
        return at + int(_U32.unpack(self.source.view(at, 4))[0])

    def table(self, field: int) -> Table | None:
        """Return a table that is a field of this one, or None."""
        at = self.target(field)
        return None if at is None else Table(self.source, at)

    def span(self, field: int, size: int = 1) -> tuple[int, int]:
        """Return where the items of a vector begin and how many there are, all of them in the file.

        Args:
            field: its number.
            size: bytes of an item.
        """
        at = self.target(field)
        return (0, 0) if at is None else self._span(at, size)

    def _span(self, at: int, size: int) -> tuple[int, int]:
        (count,) = _U32.unpack(self.source.view(at, 4))
        if count * size > self.source.size - at - 4:
            raise self.damaged(
                f"a list of {count:,} items of {size} bytes is claimed at {at:,}, "
                f"but the file ends at {self.source.size:,}."
            )
        return at + 4, count

    def numbers(self, field: int, dtype: str) -> list[Any]:
        """Return a vector of numbers, their NumPy ``dtype`` little-endian; empty where there is none."""
        kind = from_text(dtype)
        at, count = self.span(field, kind.itemsize)
        self.source.spend(8 * count)
        found: list[Any] = np.frombuffer(self.source.view(at, count * kind.itemsize), kind).tolist()
        return found

    def text(self, field: int) -> str:
        """Return a text; "" where there is none."""
        at = self.target(field)
        return "" if at is None else self._text(at)

    def _text(self, at: int) -> str:
        start, count = self._span(at, 1)
        self.source.spend(count)
        return self.source.read(start, count).decode("utf-8", "surrogateescape")

    def targets(self, field: int) -> list[int]:
        """Return where each item of a vector of texts or tables is."""
        at, count = self.span(field, 4)
        offsets = self.numbers(field, "<u4")
        return [at + 4 * index + offsets[index] for index in range(count)]

    def texts(self, field: int) -> list[str]:
        """Return a vector of texts."""
        return [self._text(at) for at in self.targets(field)]

    def tables(self, field: int) -> list[Table]:
        """Return a vector of tables."""
        return [Table(self.source, at) for at in self.targets(field)]

    def damaged(self, what: str) -> DamagedFileError:
        """Return the error that says what is wrong with it."""
        return DamagedFileError(
            what,
            file=self.source.name,
            where=f"table at {self.at}",
            remedy="The file is damaged: copy it again from where it came from.",
        )
