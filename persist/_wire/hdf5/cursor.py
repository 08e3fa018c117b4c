"""HDF5's bytes: addresses, lengths, checksums, and the bounds of what one file may cost.

A `Frame` is one file: where it begins in a source, how wide its addresses and
lengths are, what has been parsed of it. `Fields` walks over one block of it.

After the "HDF5 File Format Specification Version 3.0" (The HDF Group), sections
II.A and III; the checksum is Bob Jenkins' ``lookup3.c`` (``hashlittle`` with a
start value of 0), as ``H5checksum.c`` has it.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn

from persist._wire.base.source import Source
from persist.errors import DamagedFileError, FormatError, LimitError

__all__ = ["Fields", "Frame", "log2", "lookup3", "width_of"]

_MASK = 0xFFFFFFFF
_WORK = 1_000_000  # entries that any file may hold; more than one a byte none has


class Frame:
    """One HDF5 file in a source.

    Attributes:
        source: its bytes; address 0 is the superblock.
        wide: bytes of an address.
        long: bytes of a length.
        verify: whether checksums of metadata are compared.
        known: what has been parsed, by kind and address.
        allowance: bytes that the rows now being read may still make; None otherwise.
    """

    def __init__(self, source: Source, wide: int, long: int, verify: bool = True) -> None:
        self.source = source
        self.wide = wide
        self.long = long
        self.verify = verify
        self.nowhere = (1 << 8 * wide) - 1
        self.known: dict[Any, Any] = {}
        self.allowance: int | None = None
        self._left = _WORK + source.size

    def work(self, count: int = 1) -> None:
        """Count entries that are walked over, so that no file keeps a reader busy for ever.

        Raises:
            LimitError: more than its bytes could hold.
        """
        self._left -= count
        if self._left < 0:
            raise LimitError(
                "its tables lead through more entries than its bytes can hold.",
                file=self.source.name,
                remedy="The file is damaged or made to keep a reader busy.",
            )

    def spend(self, count: int) -> None:
        """Count bytes that are about to be made: for this read alone, where rows are read.

        Raises:
            LimitError: more than one file may make.
        """
        if self.allowance is None:
            self.source.spend(count)
            return
        self.allowance -= count
        if self.allowance < 0:
            raise LimitError(
                "these rows would make more bytes than one file may.",
                file=self.source.name,
                remedy='Read fewer, or raise limits={"total": ...}.',
            )

    def fields(self, address: int, length: int, what: str) -> Fields:
        """Return the block of ``length`` bytes at ``address``."""
        try:
            return Fields(self, self.source.view(address, length), address, what)
        except DamagedFileError as error:
            error.where = f"{what} at offset {address}"
            raise

    def block(self, address: int, length: int, magic: bytes, what: str) -> Fields:
        """Return a block behind its signature."""
        fields = self.fields(address, length, what)
        found = fields.take(4)
        if found != magic:
            fields.damaged(f"it begins with {found!r}, not {magic!r}")
        return fields

    def checked(self, address: int, length: int, magic: bytes, what: str) -> Fields:
        """Return a block whose last four bytes are its checksum, which is compared."""
        fields = self.block(address, length, magic, what)
        if length < 8:
            fields.damaged("it is too short for a checksum")
        self.check(fields.data, fields)
        fields.end = length - 4
        return fields

    def check(self, data: memoryview, fields: Fields) -> None:
        """Compare the checksum in the last four bytes of ``data``.

        Raises:
            DamagedFileError: it is another.
        """
        if self.verify:
            stored = int.from_bytes(data[-4:], "little")
            made = lookup3(data[:-4])
            if made != stored:
                fields.damaged(f"its checksum is {made:08x}, the file states {stored:08x}")

    def refuse(self, what: str, where: str, remedy: str = "") -> NoReturn:
        """Raise for something that is sound but not to be read here."""
        raise FormatError(what, file=self.source.name, where=where, remedy=remedy)

    def damaged(self, what: str, where: str, remedy: str = "") -> NoReturn:
        """Raise for something that cannot be."""
        raise DamagedFileError(
            f"{what}.",
            file=self.source.name,
            where=where,
            remedy=remedy or "The file is damaged; copy it again from where it came from.",
        )


class Fields:
    """A place in one block that moves as it is read; numbers are little-endian.

    Attributes:
        frame: the file.
        data: the block.
        start: its address.
        what: what it is, for errors.
        at: the next byte to be read.
        end: where it ends.
    """

    __slots__ = ("at", "data", "end", "frame", "start", "what")

    def __init__(self, frame: Frame, data: memoryview | bytes, start: int, what: str) -> None:
        self.frame = frame
        self.data = memoryview(data)
        self.start = start
        self.what = what
        self.at = 0
        self.end = len(data)

    @property
    def left(self) -> int:
        """Bytes that are left of the block."""
        return self.end - self.at

    def damaged(self, what: str) -> NoReturn:
        """Raise with the place."""
        self.frame.damaged(what, f"{self.what} at offset {self.start}, byte {self.at}")

    def view(self, length: int) -> memoryview:
        """Return the next bytes without a copy."""
        at = self.at
        if length < 0 or at + length > self.end:
            self.damaged(f"{length:,} bytes are claimed, but {self.left:,} are left of it")
        self.at = at + length
        return self.data[at : at + length]

    def take(self, length: int) -> bytes:
        """Return a copy of the next bytes."""
        return bytes(self.view(length))

    def skip(self, length: int) -> None:
        """Pass over bytes."""
        if length < 0 or self.at + length > self.end:
            self.view(length)
        self.at += length

    def number(self, width: int) -> int:
        """Return an unsigned number of ``width`` bytes."""
        at = self.at
        if at + width > self.end:
            self.view(width)
        self.at = at + width
        return int.from_bytes(self.data[at : at + width], "little")

    def byte(self) -> int:
        """Return the next byte."""
        at = self.at
        if at >= self.end:
            self.view(1)
        self.at = at + 1
        return self.data[at]

    def length(self) -> int:
        """Return a length, as wide as the file has them."""
        return self.number(self.frame.long)

    def address(self) -> int | None:
        """Return an address, or None where it is the undefined one."""
        value = self.number(self.frame.wide)
        return None if value == self.frame.nowhere else value

    def there(self) -> int:
        """Return an address that must be defined."""
        value = self.address()
        if value is None:
            self.damaged("an address in it is undefined")
        return value

    def text(self, length: int) -> str:
        """Return text of a known length."""
        return self.take(length).decode("utf-8", "surrogateescape")

    def name(self, multiple: int = 1) -> str:
        """Return text up to its NUL, which is passed over with the padding behind it."""
        rest = bytes(self.data[self.at : min(self.end, self.at + 65_536)])
        stop = rest.find(b"\0")
        if stop < 0:
            self.damaged("a name in it has no end")
        self.frame.work(stop)
        self.skip((stop + multiple) // multiple * multiple if multiple > 1 else stop + 1)
        return rest[:stop].decode("utf-8", "surrogateescape")

    def version(self, *known: int) -> int:
        """Return a version number, which must be one of the known ones."""
        value = self.byte()
        if value not in known:
            supported = ", ".join(map(str, known))
            self.damaged(f"version {value} is not supported, only {supported}")
        return value


def log2(value: int) -> int:
    """Return the whole part of the logarithm to base 2 (``H5VM_log2_gen``); 0 of 0."""
    return max(0, value.bit_length() - 1)


def width_of(limit: int) -> int:
    """Return the bytes that numbers up to ``limit`` take (``H5VM_limit_enc_size``)."""
    return log2(limit) // 8 + 1


def lookup3(data: memoryview | bytes) -> int:
    """Return Jenkins' checksum of the data."""
    size = len(data)
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + size) & _MASK
    if not size:
        return c
    padded = bytes(data) + bytes(-size % 12)
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    last = len(words) - 3
    for at in range(0, last, 3):
        a += words[at]
        b += words[at + 1]
        c += words[at + 2]
        a = ((a - c) ^ ((c << 4) | ((c & _MASK) >> 28))) & _MASK
        c = (c + b) & _MASK
        b = ((b - a) ^ ((a << 6) | (a >> 26))) & _MASK
        a = (a + c) & _MASK
        c = ((c - b) ^ ((b << 8) | (b >> 24))) & _MASK
        b = (b + a) & _MASK
        a = ((a - c) ^ ((c << 16) | (c >> 16))) & _MASK
        c = (c + b) & _MASK
        b = ((b - a) ^ ((a << 19) | (a >> 13))) & _MASK
        a = (a + c) & _MASK
        c = ((c - b) ^ ((b << 4) | (b >> 28))) & _MASK
        b = (b + a) & _MASK
    a += words[last]
    b = (b + words[last + 1]) & _MASK
    c = (c + words[last + 2]) & _MASK
    a &= _MASK
    for x, y, turn in (("c", "b", 14), ("a", "c", 11), ("b", "a", 25), ("c", "b", 16),
                       ("a", "c", 4), ("b", "a", 14), ("c", "b", 24)):  # fmt: skip
        values: dict[str, int] = {"a": a, "b": b, "c": c}
        other = values[y]
        turned = ((other << turn) | (other >> (32 - turn))) & _MASK
        values[x] = ((values[x] ^ other) - turned) & _MASK
        a, b, c = values["a"], values["b"], values["c"]
    return c
