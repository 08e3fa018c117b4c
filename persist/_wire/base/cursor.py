"""A read position in a `Source`, from which numbers, lines and arrays are read."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from persist.errors import DamagedFileError
from persist.tree import LazyArray
from persist.typing import Array, DType

if TYPE_CHECKING:
    from persist._wire.base.source import Source

__all__ = ["Cursor"]


class Cursor:
    """A read position in a `Source`; numbers are little-endian unless stated otherwise.

    Attributes:
        source: what it reads.
        offset: where the next read begins.
    """

    __slots__ = ("offset", "source")

    def __init__(self, source: Source, offset: int = 0) -> None:
        self.source = source
        self.offset = offset

    @property
    def left(self) -> int:
        """The number of bytes up to the end."""
        return self.source.size - self.offset

    def view(self, length: int) -> memoryview:
        """Return the next ``length`` bytes, without a copy where mapped."""
        view = self.source.view(self.offset, length)
        self.offset += length
        return view

    def read(self, length: int) -> bytes:
        """Return a copy of the next ``length`` bytes."""
        return bytes(self.view(length))

    def line(self, most: int = 65_536) -> bytes:
        """Return the bytes up to the next newline, and skip the newline.

        Raises:
            DamagedFileError: there is none within ``most`` bytes.
        """
        window = self.source.read(self.offset, min(most, max(0, self.left)))
        end = window.find(b"\n")
        if end < 0:
            raise self.damaged("a line has no end.", "The file is truncated or of another kind.")
        self.offset += end + 1
        return window[:end]

    def unpack(self, form: str) -> tuple[Any, ...]:
        """Return what ``struct.unpack`` makes of the next bytes."""
        return struct.unpack(form, self.view(struct.calcsize(form)))

    def number(self, form: str) -> Any:
        """Return the next number, of ``struct`` format ``form``."""
        return struct.unpack(form, self.view(struct.calcsize(form)))[0]

    def u8(self) -> int:
        """Return the next unsigned byte."""
        return int(self.view(1)[0])

    def u16(self) -> int:
        """Return the next little-endian unsigned 16-bit number."""
        return int(self.number("<H"))

    def u32(self) -> int:
        """Return the next little-endian unsigned 32-bit number."""
        return int(self.number("<I"))

    def i32(self) -> int:
        """Return the next little-endian signed 32-bit number."""
        return int(self.number("<i"))

    def u64(self) -> int:
        """Return the next little-endian unsigned 64-bit number."""
        return int(self.number("<Q"))

    def i64(self) -> int:
        """Return the next little-endian signed 64-bit number."""
        return int(self.number("<q"))

    def array(self, dtype: DType, shape: tuple[int, ...], order: str = "C") -> Array | LazyArray:
        """Return the next array, as `Source.array` does, and advance."""
        array = self.source.array(self.offset, dtype, shape, order)
        self.offset += math.prod(shape) * dtype.itemsize
        return array

    def count(self, number: int, least: int, what: str) -> int:
        """Return ``number`` if that many items of at least ``least`` bytes fit into the rest.

        Raises:
            DamagedFileError: they cannot.
        """
        if number < 0 or number * least > self.left:
            raise self.damaged(
                f"{number:,} {what} are claimed, but {self.left:,} bytes are left.",
                "The file is truncated, or a count in it is wrong.",
            )
        return number

    def damaged(self, what: str, remedy: str = "") -> DamagedFileError:
        """Return an error with the file and the current offset."""
        return DamagedFileError(
            what, file=self.source.name, where=f"offset {self.offset}", remedy=remedy
        )
