"""HDF5's heaps: local (names), global (what varies in length), fractal (links, attributes).

After the format specification, sections III.D, III.E and III.G; ``H5HFdtable.c``
(rows of the doubling table), ``H5HFman.c``, ``H5HFhuge.c`` and ``H5HFtiny.c`` for
how an object's identifier encodes its place.
"""

from __future__ import annotations

from persist._wire.hdf5.btrees import records
from persist._wire.hdf5.cursor import Fields, Frame, log2, width_of
from persist._wire.hdf5.filters import Pipeline

__all__ = ["FractalHeap", "GlobalHeap", "LocalHeap"]

_NAME = 256  # bytes that are searched first for the end of a name


class LocalHeap:
    """Names of a group of the old kind.

    Args:
        frame: the file.
        address: of the heap.
    """

    def __init__(self, frame: Frame, address: int) -> None:
        self.frame = frame
        head = frame.block(address, 8 + 2 * frame.long + frame.wide, b"HEAP", "a local heap")
        head.version(0)
        head.skip(3)
        size = head.length()
        head.length()
        self.address = head.there()
        self.data = frame.fields(self.address, size, "a local heap").data

    def text(self, offset: int) -> str:
        """Return the text that begins at ``offset``."""
        if offset >= len(self.data):
            self._damaged(f"offset {offset:,} passes its {len(self.data):,} bytes")
        length = _NAME
        while (stop := bytes(self.data[offset : offset + length]).find(b"\0")) < 0:
            if offset + length >= len(self.data):
                break
            length *= 2
        if stop < 0:
            self._damaged(f"the text at {offset:,} has no end")
        self.frame.work(stop >> 4)
        return bytes(self.data[offset : offset + stop]).decode("utf-8", "surrogateescape")

    def _damaged(self, what: str) -> None:
        self.frame.damaged(what, f"a local heap at offset {self.address}")


class GlobalHeap:
    """Collections of values of varying length, each parsed once."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._collections: dict[int, dict[int, memoryview]] = {}

    def get(self, address: int, index: int) -> memoryview:
        """Return an object: ``index`` in the collection at ``address``."""
        known = self._collections.get(address)
        if known is None:
            known = self._collections[address] = self._read(address)
        if index not in known:
            self.frame.damaged(
                f"the collection has no object {index}", f"a global heap at offset {address}"
            )
        return known[index]

    def _read(self, address: int) -> dict[int, memoryview]:
        frame = self.frame
        head = frame.block(address, 8 + frame.long, b"GCOL", "a global heap")
        head.version(1)
        head.skip(3)
        fields = frame.fields(address, head.length(), "a global heap")
        width = (8 + frame.long + 7) // 8 * 8  # of every header, on multiples of 8
        fields.skip(width)
        found: dict[int, memoryview] = {}
        while fields.left >= width:
            frame.work()
            index = fields.number(2)
            fields.skip(6)
            size = fields.length()
            fields.skip(width - 8 - frame.long)
            if not index:  # free space, to the end
                break
            found[index] = fields.view(size)
            fields.skip(min(-size % 8, fields.left))
        return found


class FractalHeap:
    """Objects by identifier, in blocks of doubling size.

    Args:
        frame: the file.
        address: of the heap's header.
    """

    def __init__(self, frame: Frame, address: int) -> None:
        self.frame = frame
        wide, long = frame.wide, frame.long
        least = 4 + 1 + 2 + 2 + 1 + 4 + 12 * long + 3 * wide + 2 * 4 + 4
        head = frame.block(address, least, b"FRHP", "a fractal heap")
        head.version(0)
        self.key = head.number(2)
        filtered = head.number(2)
        if filtered:
            least += long + 4 + filtered
        head = frame.checked(address, least, b"FRHP", "a fractal heap")
        head.skip(5)
        self._sizes(head)
        self.pipeline = None
        self.root_size, self.root_mask = 0, 0
        if filtered:
            self.root_size, self.root_mask = head.length(), head.number(4)
            self.pipeline = Pipeline.of(head)
        self._plain: dict[int, memoryview] = {}

    def _sizes(self, head: Fields) -> None:
        head.skip(1)  # flags: checksums of direct blocks, which an object need not know
        most = head.number(4)
        head.length()
        self.huge = head.address()
        head.length()
        head.address()
        head.skip(8 * self.frame.long)
        self.table_width = head.number(2)
        self.start = head.length()
        self.most_direct = head.length()
        self.bits = head.number(2)
        head.skip(2)
        self.root = head.address()
        self.rows = head.number(2)
        sound = (
            0 < self.table_width <= 1 << 15
            and _is_power(self.table_width)
            and _is_power(self.start)
            and _is_power(self.most_direct)
            and self.start <= self.most_direct <= 1 << 40
            and 0 < self.bits <= 64
        )
        if not sound:
            head.damaged("the sizes of its blocks cannot be")
        self.offset_width = (self.bits + 7) // 8
        self.length_width = min((log2(self.most_direct) + 7) // 8, width_of(most))
        self.direct_rows = log2(self.most_direct) - log2(self.start) + 2

    def get(self, key: bytes) -> memoryview:
        """Return the object of an identifier."""
        fields = Fields(self.frame, key, 0, "an identifier in a fractal heap")
        first = fields.byte()
        if first >> 6:
            fields.damaged(f"it is of version {first >> 6}")
        kind = first >> 4 & 3
        if kind == 0:
            offset, length = fields.number(self.offset_width), fields.number(self.length_width)
            return self._managed(offset, length)
        if kind == 1:
            return self._huge(fields)
        if kind == 2:
            length = first & 0x0F
            if self.key > 18:  # long identifiers hold the length in twelve bits
                length = length << 8 | fields.byte()
            return fields.view(length + 1)
        return fields.damaged("it is of an unknown kind")

    def _managed(self, offset: int, length: int) -> memoryview:
        """The block that covers an offset of the heap's own space, and the bytes in it."""
        if self.root is None:
            self.frame.damaged("it has no blocks", "a fractal heap")
        if not self.rows:
            return self._piece(self.root, self.start, 0, self.root_size, offset, length,
                               self.root_mask)  # fmt: skip
        address, rows, begin = self.root, self.rows, 0
        for _ in range(64):  # every level is smaller than the one above it
            row, size, first = self._row_of(offset - begin)
            if row >= rows:
                self.frame.damaged(f"offset {offset:,} passes its {rows} rows", "a fractal heap")
            column = (offset - begin - first) // size
            child, packed, mask = self._child(address, rows, row, column)
            begin += first + column * size
            if child is None:
                self.frame.damaged(f"no block holds offset {offset:,}", "a fractal heap")
            if row < self.direct_rows:
                return self._piece(child, size, begin, packed, offset, length, mask)
            address, rows = child, log2(size) - log2(self.start * self.table_width) + 1
        return self.frame.damaged("its blocks are nested too deeply", "a fractal heap")

    def _row_of(self, offset: int) -> tuple[int, int, int]:
        """The row of the doubling table at an offset, its blocks' size, and where it begins."""
        span = self.start * self.table_width
        if offset < span:
            return 0, self.start, 0
        row = log2(offset // span) + 1
        return row, self.start << row - 1, span << row - 1

    def _child(self, address: int, rows: int, row: int, column: int) -> tuple[int | None, int, int]:
        """A child of the indirect block at ``address``: its address, packed size and filter mask."""
        frame = self.frame
        direct = min(rows, self.direct_rows) * self.table_width
        indirect = max(0, rows - self.direct_rows) * self.table_width
        entry = frame.wide + (frame.long + 4 if self.pipeline else 0)
        prefix = 5 + frame.wide + self.offset_width
        length = prefix + direct * entry + indirect * frame.wide + 4
        fields = self._block(address, length)
        number = row * self.table_width + column
        if number < direct:
            fields.at = prefix + number * entry
            child = fields.address()
            return (child, fields.length(), fields.number(4)) if self.pipeline else (child, 0, 0)
        fields.at = prefix + direct * entry + (number - direct) * frame.wide
        return fields.address(), 0, 0

    def _block(self, address: int, length: int) -> Fields:
        key = "fractal heap's block", address
        if key not in self.frame.known:
            what = "a fractal heap's indirect block"
            self.frame.known[key] = self.frame.checked(address, length, b"FHIB", what).data
        return Fields(self.frame, self.frame.known[key], address, "an indirect block")

    def _piece(
        self, address: int, size: int, begin: int, packed: int, offset: int, length: int, mask: int
    ) -> memoryview:
        what = "a fractal heap's direct block"
        if self.pipeline is None:
            fields = self.frame.block(address, size, b"FHDB", what)
        else:
            plain = self._plain.get(address)
            if plain is None:
                data = self.frame.fields(address, packed, what).data
                plain = memoryview(self.pipeline.undo(self.frame, data, size, mask, what))
                self._plain[address] = plain
            fields = Fields(self.frame, plain, address, what)
        fields.at = offset - begin
        return fields.view(length)

    def _huge(self, fields: Fields) -> memoryview:
        frame = self.frame
        direct = frame.wide + frame.long + (4 + frame.long if self.pipeline else 0)
        if self.key - 1 >= direct:
            return self._unpacked(fields)
        number = fields.number(min(self.key - 1, frame.long))
        if self.huge is None:
            fields.damaged("the heap has no huge objects")
        for record in records(frame, self.huge, 2 if self.pipeline else 1):
            at = len(record.data) - frame.long
            if int.from_bytes(record.data[at:], "little") == number:
                return self._unpacked(record)
        return fields.damaged(f"the heap has no huge object {number}")

    def _unpacked(self, fields: Fields) -> memoryview:
        address, length = fields.there(), fields.length()
        data = self.frame.fields(address, length, "a huge object").data
        if self.pipeline is None:
            return data
        mask, size = fields.number(4), fields.length()
        return memoryview(self.pipeline.undo(self.frame, data, size, mask, "a huge object"))


def _is_power(value: int) -> bool:
    return value > 0 and not value & (value - 1)
