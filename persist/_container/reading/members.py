"""The members of a container that hold arrays: where their bytes lie, and that they are what was written."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from persist._container.checksums import crc32
from persist._container.reading import long_double
from persist._container.reading.directory import Directory, Entry, Place
from persist._container.reading.unpack import unpacked_begin
from persist._wire.npy.npy import Header, read_header
from persist.errors import (
    FormatError,
)
from persist.typing import Array, DType

__all__ = ["Members"]

_HEADERS = 128  # bytes of an NPY header by which like ones are known


class Members(Directory):
    """Headers and bytes of the members that hold arrays."""

    def path(self, number: int) -> str:
        """Return the natural path of an array member."""
        return self._lookup.path(self.entry(number).text)

    def place(self, number: int) -> Place:
        """Return where an array's data are, from its headers."""
        known = self._places.get(number)
        if known is None:
            entry = self.entry(number)
            offset = self._body(entry)
            known = self._places[number] = Place(entry, offset, self._header(number, entry, offset))
        return known

    def _header(self, number: int, entry: Entry, offset: int) -> Header:
        if entry.method:
            begun = self._begin_of(number, entry, offset)
            source, at = self.source.nested(begun, f"member {entry.text!r}"), 0
        else:
            source, at = self.source, offset
        head = source.read(at, min(_HEADERS, entry.size, source.size - at))
        header = self._headers.get(head)
        if header is None:
            size = min(entry.size, source.size - at) if entry.method else entry.size
            window = source.window(at, size, f"member {entry.text!r}" if not entry.method else None)
            try:
                header = read_header(window.cursor())
            except FormatError as error:
                if entry.method and number not in self._blocks:
                    self._unpack(number, entry, offset)  # its checksum states whether it is damaged
                    return self._header(number, entry, offset)
                if self.foreign is None:
                    raise
                # 12 bytes of 32-bit x86, say: a dtype that NumPy has only there.
                where = f"member {entry.text!r}"
                raise self._not_here(where, error.what) from error
            if header.length == len(head):
                self._headers[head] = header
        if header.dtype.hasobject or header.length + header.nbytes != entry.size:
            raise self.damaged(
                f"{entry.size - header.length:,} bytes are stored for an array of "
                f"{header.dtype} {header.shape}.",
                f"member {entry.text!r}",
            )
        return header

    def _begin_of(self, number: int, entry: Entry, offset: int) -> Any:
        """The first bytes of a compressed member, with its NPY header; all where they are known."""
        known = self._blocks.get(number)
        if known is not None:
            return known
        begun = unpacked_begin(self.source, offset, entry.method, entry.packed, _HEADERS)
        return self._unpack(number, entry, offset) if begun is None else begun

    def _unpack(self, number: int, entry: Entry, offset: int) -> object:
        """The bytes of a compressed member; verified, since they are copied."""
        known = self._blocks.get(number)
        if known is None:
            data = bytearray()
            crc = 0
            for piece in self._data(entry, offset):
                crc = crc32(piece, crc)
                data += piece
            self._compare(entry, crc)
            known = data if self.source.writable else bytes(data)
            self._blocks[number] = known
        return known

    def _is_checked(self, entry: Entry) -> bool:
        """Whether a member's bytes are compared with its CRC or digest before they are used."""
        if self.verify is None:
            return entry.size <= self._checked_at_once
        return self.verify != "never"

    @functools.cached_property
    def foreign(self) -> tuple[Any, Any] | None:
        """Bytes and bits of the mantissa of ``long double`` in the file; None if as here, or not stated."""
        said = self.manifest.get("platform")
        if not isinstance(said, dict) or "longdouble" not in said:
            return None if self.manifest else (None, None)
        stated = said["longdouble"]
        size, mantissa, _ = long_double.of_this_machine()
        if stated == [size, mantissa]:
            return None
        return tuple(stated) if type(stated) is list and len(stated) == 2 else (None, None)

    def _doubled(self, dtype: DType, where: str) -> DType:
        """The dtype that ``long double`` of another machine becomes.

        Raises:
            FormatError: it cannot be converted.
        """
        size, mantissa = self.foreign or (None, None)
        form = long_double.FORMATS.get(mantissa) if type(mantissa) is int else None
        is_odd = form == "x87" and dtype.str[0] == ">"
        if dtype.kind not in "fc" or size != 16 or form is None or is_odd:
            raise self._not_here(where, f"{dtype} of that format is not read here")
        if not self.notes:
            self.notes.append(
                f"long double of another machine ({form}) is given as float64, each number rounded "
                "to the nearest"
            )
        return np.dtype(np.complex128) if dtype.kind == "c" else np.dtype(np.float64)

    def _not_here(self, where: str, why: str) -> FormatError:
        size, mantissa = self.foreign or (None, None)
        return FormatError(
            f"it is long double of another machine ({size} bytes, {mantissa} bits of mantissa): "
            f"{why.rstrip('.')}.",
            file=self.source.name,
            where=where,
            remedy="Load it on such a machine, convert the array to float64 there, and save it.",
        )

    def double(self, raw: Array, dtype: DType) -> Array:
        """Return ``long double`` of another machine as float64 or complex128.

        Args:
            raw: its bytes, as a void of the item size.
            dtype: as this machine names it.
        """
        doubled = self._doubled(dtype, "an array")
        assert self.foreign is not None
        data = np.frombuffer(raw.tobytes(), np.uint8).reshape(-1, 16)
        order = "big" if dtype.str[0] == ">" else "little"
        made = long_double.to_double(data, self.foreign[1], order)
        return np.ascontiguousarray(made).view(doubled).reshape(raw.shape)

    def _block(self, number: int, place: Place) -> object:
        """The member's bytes, checked once: the map, or a copy that all views of it share."""
        known = self._blocks.get(number)
        if known is not None:
            return known
        source, entry = self.source, place.entry
        if entry.method:
            return self._unpack(number, entry, place.offset)
        if source.is_mapped:
            block: Any = source.view(place.offset, entry.size)
        else:
            source.spend(entry.size)
            block = bytearray(source.view(place.offset, entry.size))
            if not source.writable:
                block = memoryview(block).toreadonly()
        if self._is_checked(entry):
            self._verified(number, entry, block)
        self._blocks[number] = block
        return block

    def _verified(self, number: int, entry: Entry, block: Any) -> None:
        if self._digest is None or self._digests is None:
            self._compare(entry, crc32(block))
        else:  # which says all that the CRC would, and one look at the bytes is enough
            self._same(self._digest.once(block), self._digests[number].tobytes(), entry)
