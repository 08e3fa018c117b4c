"""The places of the chunks of an HDF5 dataset: five kinds of index, and the old version-1 B-tree.

After the format specification, sections III.A (B-trees), VII.A to VII.C (extensible
arrays, fixed arrays) and IV.A.2.i (which index a layout names); ``H5EA.c``,
``H5EAhdr.c`` and ``H5FA*.c`` for the sizes of their blocks; ``H5Dearray.c``,
``H5Dfarray.c`` and ``H5Dnone.c`` for the order in which chunks are numbered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs

from persist._wire.hdf5.btrees import leaves, records
from persist._wire.hdf5.cursor import Fields, Frame, log2

__all__ = ["Chunk", "Grid", "chunks_of"]

SINGLE, IMPLICIT, FIXED, EXTENSIBLE, TREE2 = range(1, 6)
TREE1 = 0


@attrs.frozen(slots=True)
class Chunk:
    """One chunk that is stored in the file.

    Attributes:
        place: its number along each axis.
        address: its address.
        size: bytes that it takes, 0 where no filter was applied.
        mask: filters that were left out.
    """

    place: tuple[int, ...]
    address: int
    size: int
    mask: int


@attrs.frozen
class Grid:
    """How a dataset is cut into chunks.

    Attributes:
        extents: of the dataset.
        most: to which they may grow; None where without end.
        chunk: extents of a chunk.
        nbytes: bytes of a chunk before filters.
        index: kind of index.
        address: of the index, or of the only chunk; None where nothing was written.
        filtered: whether chunks went through filters.
        alone: of the only chunk (size, mask).
    """

    extents: tuple[int, ...]
    most: tuple[int | None, ...]
    chunk: tuple[int, ...]
    nbytes: int
    index: int
    address: int | None
    filtered: bool
    alone: tuple[int, int] = (0, 0)

    @property
    def counts(self) -> tuple[int, ...]:
        """Chunks along each axis that the present extents need."""
        return tuple(
            -(-extent // step) for extent, step in zip(self.extents, self.chunk, strict=True)
        )


_Entry = tuple[int, int, int]  # address, size, mask


def chunks_of(frame: Frame, grid: Grid) -> Iterator[Chunk]:
    """Yield the chunks that are stored in the file and lie within the dataset's extents."""
    if grid.address is None:
        return
    counts = grid.counts
    for chunk in _all(frame, grid, grid.address):
        if all(place < count for place, count in zip(chunk.place, counts, strict=True)):
            yield chunk


def _all(frame: Frame, grid: Grid, address: int) -> Iterator[Chunk]:
    if grid.index == TREE1:
        yield from _first_tree(frame, grid, address)
    elif grid.index == TREE2:
        yield from _second_tree(frame, grid, address)
    elif grid.index == SINGLE:
        yield Chunk((0,) * len(grid.chunk), address, *grid.alone)
    elif grid.index == IMPLICIT:
        yield from _implicit(frame, grid, address)
    else:
        array = _fixed if grid.index == FIXED else _extensible
        for number, (start, size, mask) in array(frame, address):
            place = _place(grid, number)
            if place is None:
                break
            yield Chunk(place, start, size, mask)


def _first_tree(frame: Frame, grid: Grid, address: int) -> Iterator[Chunk]:
    rank = len(grid.chunk)
    for key, child in leaves(frame, address, 1, 8 + 8 * (rank + 1)):
        size = int.from_bytes(key[:4], "little")
        mask = int.from_bytes(key[4:8], "little")
        starts = [int.from_bytes(key[at : at + 8], "little") for at in range(8, 8 + 8 * rank, 8)]
        if any(start % step for start, step in zip(starts, grid.chunk, strict=True)):
            frame.damaged(f"a chunk begins at {tuple(starts)}", f"a B-tree at offset {address}")
        place = tuple(start // step for start, step in zip(starts, grid.chunk, strict=True))
        yield Chunk(place, child, size if grid.filtered else 0, mask)


def _second_tree(frame: Frame, grid: Grid, address: int) -> Iterator[Chunk]:
    rank = len(grid.chunk)
    for record in records(frame, address, 11 if grid.filtered else 10):
        start, size, mask = record.there(), 0, 0
        if grid.filtered:
            size, mask = record.number(record.left - 4 - 8 * rank), record.number(4)
        yield Chunk(tuple(record.number(8) for _ in range(rank)), start, size, mask)


def _implicit(frame: Frame, grid: Grid, address: int) -> Iterator[Chunk]:
    """All chunks one behind the other, those included to which the dataset may grow."""
    total = math.prod(_steps(grid))
    if total * grid.nbytes > frame.source.size - address:
        frame.fields(address, total * grid.nbytes, "chunks")
    for number in range(total):
        frame.work()
        place = _place(grid, number)
        if place is not None:
            yield Chunk(place, address + number * grid.nbytes, 0, 0)


def _steps(grid: Grid) -> list[int]:
    """Chunks along each axis to which the dataset may grow; one without end is the first."""
    found = []
    for extent, most, step in zip(grid.extents, grid.most, grid.chunk, strict=True):
        found.append(max(1, -(-(extent if most is None else most) // step)))
    return found


def _place(grid: Grid, number: int) -> tuple[int, ...] | None:
    """The position of the chunk of a number; an unlimited axis, if any, varies slowest."""
    steps = _steps(grid)
    rank = len(steps)
    order = list(range(rank))
    endless = [axis for axis in order if grid.most[axis] is None]
    if grid.index == EXTENSIBLE and endless:
        order.remove(endless[0])
        order.insert(0, endless[0])
    place = [0] * rank
    for axis in reversed(order[1:]):
        number, place[axis] = divmod(number, steps[axis])
    place[order[0]] = number
    if grid.index != EXTENSIBLE and number >= steps[order[0]]:
        return None
    return tuple(place)


class _Array:
    """What fixed and extensible arrays have in common: pages of equal elements."""

    def __init__(self, frame: Frame, head: Fields, width: int, filtered: bool) -> None:
        self.frame = frame
        self.width = width
        self.size = width - frame.wide - 4 if filtered else 0
        self.filtered = filtered
        if (
            width < frame.wide
            or (filtered and not 0 < self.size <= 8)
            or (not filtered and width != frame.wide)
        ):
            head.damaged(f"elements of {width} bytes cannot be")

    def elements(self, fields: Fields, count: int, first: int) -> Iterator[tuple[int, _Entry]]:
        """Yield the elements that point somewhere."""
        self.frame.work(count)
        if count * self.width > fields.left:
            fields.view(count * self.width)
        for number in range(first, first + count):
            address = fields.address()
            size = mask = 0
            if self.filtered:
                size, mask = fields.number(self.size), fields.number(4)
            if address is not None:
                yield number, (address, size, mask)

    def pages(
        self, address: int, bitmap: bytes, page: int, count: int, first: int, bit: int = 0
    ) -> Iterator[tuple[int, _Entry]]:
        """Yield the elements of consecutive pages; unwritten pages have none."""
        whole = page * self.width + 4
        for number in range(-(-count // page)):
            here = min(page, count - number * page)
            place = bit + number
            if bitmap[place // 8] & 0x80 >> place % 8:
                length = here * self.width + 4
                fields = self.frame.fields(address + number * whole, length, "a page of chunks")
                self.frame.check(fields.data, fields)
                fields.end = length - 4
                yield from self.elements(fields, here, first + number * page)


def _fixed(frame: Frame, address: int) -> Iterator[tuple[int, _Entry]]:
    length = 4 + 1 + 1 + 1 + 1 + frame.long + frame.wide + 4
    head = frame.checked(address, length, b"FAHD", "a fixed array")
    head.version(0)
    filtered = head.byte() == 1
    array = _Array(frame, head, head.byte(), filtered)
    bits, count, block = head.byte(), head.length(), head.address()
    if block is None:
        return
    if bits > 30 or count > frame.source.size:
        head.damaged(f"{count:,} elements in pages of 2**{bits} cannot be")
    prefix, page = 6 + frame.wide, 1 << bits
    paged = count > page
    bitmap = (-(-count // page) + 7) // 8 if paged else 0
    body = bitmap if paged else count * array.width
    fields = frame.checked(block, prefix + body + 4, b"FADB", "a fixed array's block")
    fields.skip(prefix - 4)
    if paged:
        start = block + prefix + bitmap + 4
        yield from array.pages(start, fields.take(bitmap), page, count, 0)
    else:
        yield from array.elements(fields, count, 0)


@attrs.frozen
class _Extensible:
    """What the header of an extensible array says."""

    array: _Array
    own: int  # elements in the index block
    least: int  # elements of the smallest data block
    page: int
    offset: int  # bytes of an offset in the array


def _extensible(frame: Frame, address: int) -> Iterator[tuple[int, _Entry]]:
    length = 4 + 8 + 6 * frame.long + frame.wide + 4
    head = frame.checked(address, length, b"EAHD", "an extensible array")
    head.version(0)
    filtered = head.byte() == 1
    array = _Array(frame, head, head.byte(), filtered)
    bits, own, least, pointers, page = (head.byte() for _ in range(5))
    head.skip(6 * frame.long)
    block = head.address()
    if block is None:
        return
    if not least or not pointers or least & least - 1 or pointers & pointers - 1 or page > 30 \
            or not log2(least) <= bits <= 64:  # fmt: skip
        head.damaged("the sizes of its blocks cannot be")
    tree = _Extensible(array, own, least, 1 << page, (bits + 7) // 8)
    levels = 1 + bits - log2(least)
    direct = 2 * log2(pointers)  # levels whose data blocks the index block points to itself
    blocks, uppers = 2 * (pointers - 1), max(0, levels - direct)
    length = 6 + frame.wide + own * array.width + (blocks + uppers) * frame.wide + 4
    fields = frame.checked(block, length, b"EAIB", "an extensible array's index")
    fields.skip(2 + frame.wide)
    yield from array.elements(fields, own, 0)
    below = [fields.address() for _ in range(blocks)]
    above = [fields.address() for _ in range(uppers)]
    first, taken = own, 0
    for level in range(levels):
        count, size = 1 << level // 2, least << (level + 1) // 2
        if level < direct:
            for child in below[taken : taken + count]:
                yield from _data_block(frame, tree, child, size, first, None)
                first += size
            taken += count
        else:
            yield from _upper(frame, tree, above[level - direct], count, size, first)
            first += count * size


def _upper(
    frame: Frame, tree: _Extensible, address: int | None, count: int, size: int, first: int
) -> Iterator[tuple[int, _Entry]]:
    """A secondary block: pointers to data blocks, and which of their pages were written."""
    if address is None:
        return
    frame.work(count)
    pages = size // tree.page if size > tree.page else 0
    each = (pages + 7) // 8
    length = 6 + frame.wide + tree.offset + count * (each + frame.wide) + 4
    fields = frame.checked(address, length, b"EASB", "an extensible array's secondary block")
    fields.skip(2 + frame.wide + tree.offset)
    bitmap = fields.take(count * each)  # one row of bits for all data blocks, not one for each
    for number in range(count):
        written = bitmap, number * pages
        yield from _data_block(frame, tree, fields.address(), size, first, written)
        first += size


def _data_block(
    frame: Frame, tree: _Extensible, address: int | None, size: int, first: int,
    written: tuple[bytes, int] | None,
) -> Iterator[tuple[int, _Entry]]:  # fmt: skip
    if address is None:
        return
    prefix = 6 + frame.wide + tree.offset
    if size <= tree.page:
        length = prefix + size * tree.array.width + 4
        fields = frame.checked(address, length, b"EADB", "an extensible array's block")
        fields.skip(prefix - 4)
        yield from tree.array.elements(fields, size, first)
        return
    frame.checked(address, prefix + 4, b"EADB", "an extensible array's block")
    bits, bit = written or (b"\xff" * (size // tree.page // 8 + 1), 0)
    yield from tree.array.pages(address + prefix + 4, bits, tree.page, size, first, bit)
