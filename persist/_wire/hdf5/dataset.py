"""The array of an HDF5 dataset: mapped if it is contiguous in the file, else read on first use.

After the format specification, sections IV.A.2.b (dataspace), IV.A.2.f (fill
value), IV.A.2.h (external storage) and IV.A.2.i (layout, versions 1 to 5).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from persist._wire.hdf5.chunk_index import SINGLE, TREE1, TREE2, Chunk, Grid, chunks_of
from persist._wire.hdf5.cursor import Fields, Frame
from persist._wire.hdf5.datatypes import Type
from persist._wire.hdf5.filters import Pipeline
from persist.errors import LimitError
from persist.tree import LazyArray

__all__ = ["Dataset", "Space", "read_fill", "read_layout", "read_space"]

Array = np.ndarray[Any, Any]

_KEPT = 32 << 20  # bytes of undone chunks that are kept for the rows behind them
_RANK = 32  # H5S_MAX_RANK


@attrs.frozen
class Space:
    """Extents of a dataset or attribute.

    Attributes:
        extents: of each axis.
        most: to which each may grow; None where without end.
        is_null: there is no element, and no shape either.
    """

    extents: tuple[int, ...]
    most: tuple[int | None, ...]
    is_null: bool = False


def read_space(fields: Fields) -> Space:
    """Read a dataspace message."""
    version = fields.version(1, 2)
    rank, flags = fields.byte(), fields.byte()
    kind = fields.byte()
    fields.skip(4 if version == 1 else 0)
    if rank > _RANK:
        fields.damaged(f"{rank} axes are claimed, there are {_RANK} at most")
    extents = tuple(fields.length() for _ in range(rank))
    most: tuple[int | None, ...] = extents
    if flags & 1:
        endless = (1 << 8 * fields.frame.long) - 1
        most = tuple(None if (end := fields.length()) == endless else end for _ in range(rank))
    return Space(extents, most, version == 2 and kind == 2)


def read_fill(fields: Fields, kind: int) -> bytes | None:
    """Read a fill value message (type 4 is the old one); None if no value is defined."""
    if kind == 4:
        return fields.take(fields.number(4)) or None
    version = fields.version(1, 2, 3)
    if version == 3:
        flags = fields.byte()
        return fields.take(fields.number(4)) or None if flags & 0x20 else None
    fields.skip(2)
    defined = fields.byte()
    if version == 2 and not defined:
        return None
    size = fields.number(4)
    return None if size in (0, 0xFFFF_FFFF) else fields.take(size)


@attrs.frozen
class Layout:
    """Where a dataset's elements are stored.

    Attributes:
        kind: "compact", "contiguous", "chunked" or "virtual".
        address: of the elements or of the index of chunks; None where nothing is allocated.
        data: of a compact one.
        chunk: extents of a chunk, and bytes of an element behind them.
        index: kind of index of chunks.
        alone: of a single chunk (size, mask).
        spares: partial chunks at the edge went through no filter.
    """

    kind: str
    address: int | None = None
    data: bytes = b""
    chunk: tuple[int, ...] = ()
    index: int = TREE1
    alone: tuple[int, int] = (0, 0)
    spares: bool = False


_KINDS = {0: "compact", 1: "contiguous", 2: "chunked", 3: "virtual"}


def read_layout(fields: Fields) -> Layout:
    """Read a data layout message."""
    version = fields.version(1, 2, 3, 4, 5)
    if version < 3:
        return _old_layout(fields)
    kind = fields.byte()
    if kind == 0:
        return Layout("compact", data=fields.take(fields.number(2)))
    if kind == 1:
        return Layout("contiguous", fields.address())
    if kind == 3 and version > 3:
        return Layout("virtual", fields.address(), alone=(fields.number(4), 0))
    if kind != 2:
        fields.damaged(f"there is no layout {kind} of version {version}")
    if version > 3:
        return _new_chunks(fields)
    rank = fields.byte()
    address = fields.address()
    return Layout("chunked", address, chunk=_extents(fields, rank, 4))


def _old_layout(fields: Fields) -> Layout:
    rank, kind = fields.byte(), fields.byte()
    fields.skip(5)
    if kind == 0:
        fields.skip(4 * rank)
        return Layout("compact", data=fields.take(fields.number(4)))
    address = fields.address()
    if kind == 1:
        return Layout("contiguous", address)
    if kind == 2:
        return Layout("chunked", address, chunk=_extents(fields, rank, 4))
    return fields.damaged(f"there is no layout {kind}")


def _extents(fields: Fields, rank: int, width: int) -> tuple[int, ...]:
    if not 2 <= rank <= _RANK + 1:
        fields.damaged(f"chunks of {rank - 1} axes are claimed")
    extents = tuple(fields.number(width) for _ in range(rank))
    if not all(extents):
        fields.damaged(f"chunks of extents {extents[:-1]} cannot be")
    return extents


def _new_chunks(fields: Fields) -> Layout:
    flags, rank, width = fields.byte(), fields.byte(), fields.byte()
    if not 1 <= width <= 8:
        fields.damaged(f"extents of {width} bytes cannot be")
    extents = _extents(fields, rank, width)
    index, alone = fields.byte(), (0, 0)
    if not SINGLE <= index <= TREE2:
        fields.damaged(f"there is no index of chunks {index}")
    if index == SINGLE and flags & 2:
        alone = (fields.length(), fields.number(4))
    elif index > SINGLE:
        fields.skip((0, 0, 0, 1, 5, 6)[index])  # sizes that the index repeats
    return Layout("chunked", fields.address(), b"", extents, index, alone, bool(flags & 1))


class Dataset:
    """One dataset: its array, and rows of it.

    Args:
        frame: the file.
        where: its path, for errors.
        type: of an element.
        space: its extents.
        layout: where the elements are stored.
        fill: bytes of an element that was never written.
        pipeline: filters of its chunks.
    """

    def __init__(
        self,
        frame: Frame,
        where: str,
        type: Type,
        space: Space,
        layout: Layout,
        fill: bytes | None,
        pipeline: Pipeline,
    ) -> None:
        self.frame = frame
        self.where = where
        self.type = type
        self.layout = layout
        self.pipeline = pipeline
        self.extents = (0,) if space.is_null else space.extents
        self.shape = self.extents + type.shape
        self.fill = fill if fill is not None and len(fill) == type.size else None
        self.grid = self._grid(space) if layout.kind == "chunked" else None
        self._rows: dict[int, list[Chunk]] | None = None
        self._kept: OrderedDict[int, Array] = OrderedDict()

    @property
    def size(self) -> int:
        """Elements, those of array types counted singly."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements in the file's form."""
        return self.size * self.type.raw.itemsize

    def array(self) -> Array | LazyArray:
        """Return the array: a view of the map where nothing has to be made."""
        layout, source = self.layout, self.frame.source
        if self.size and self.type.convert is None:
            if layout.kind == "contiguous" and layout.address is not None:
                return self._mapped(layout.address)
            if layout.kind == "compact":
                return self._settled(self._raw_rows(0, 0))
            if self.grid is not None and self._is_one_piece(self.grid):
                chunk = next(chunks_of(self.frame, self.grid), None)
                if chunk is not None:
                    return self._mapped(chunk.address)
        if not self.size and not self.type.dtype.hasobject:
            self._affordable()
            return np.empty(self.shape, self.type.dtype)
        rows: Callable[[int, int], Array] | None = None
        if self.extents and self.extents[0]:
            rows = self._given_rows
        del source
        return LazyArray(self.type.dtype, self.shape, self._whole, rows)

    def _mapped(self, address: int) -> Array | LazyArray:
        return self.frame.source.array(address, self.type.raw, self.shape)

    def _is_one_piece(self, grid: Grid) -> bool:
        """Whether one chunk, untouched by filters, is the whole dataset."""
        return not self.pipeline.filters and grid.chunk == grid.extents

    def _grid(self, space: Space) -> Grid:
        layout, frame = self.layout, self.frame
        *chunk, size = layout.chunk
        if len(chunk) != len(space.extents):
            frame.damaged(
                f"chunks of {len(chunk)} axes cannot cut {len(space.extents)}", self.where
            )
        if size != self.type.size:
            frame.damaged(
                f"its chunks have elements of {size} bytes, not {self.type.size}", self.where
            )
        nbytes = math.prod(layout.chunk)
        if nbytes >= 1 << 48:
            frame.damaged(f"chunks of {nbytes:,} bytes cannot be", self.where)
        return Grid(
            space.extents, space.most, tuple(chunk), nbytes, layout.index, layout.address,
            bool(self.pipeline.filters), layout.alone,
        )  # fmt: skip

    # Reading.

    def _whole(self) -> Array:
        self._affordable()  # before it is counted: what is refused costs the others nothing
        cost = self.nbytes
        if self.grid is not None and self.pipeline.filters:
            cost = max(cost, self.grid.nbytes * sum(map(len, self._by_row().values())))
        self.frame.spend(cost)
        return self._settled(self._given(0, self.extents[0] if self.extents else 0))

    def _given_rows(self, start: int, stop: int) -> Array:
        """Rows that are read again and again are counted each time anew."""
        self._affordable(stop - start)
        source, before = self.frame.source, self.frame.allowance
        if before is None:
            self.frame.allowance = source.limits.total_for(source.size)
        try:
            return self._settled(self._given(start, stop))
        finally:
            self.frame.allowance = before

    def _given(self, start: int, stop: int) -> Array:
        """Rows as they are given; all of a dataset without axes."""
        return self.type.given(self._raw_rows(start, stop), self.frame)

    def _settled(self, array: Array) -> Array:
        if self.frame.source.writable:
            return array if array.flags.writeable else array.copy()
        array.flags.writeable = False
        return array

    def _affordable(self, rows: int | None = None) -> None:
        """Refuse what is larger than one file may make; rows are read again and again."""
        source = self.frame.source
        most = source.limits.total_for(source.size)
        wanted = self.nbytes
        if rows is not None and self.extents[0]:
            wanted = wanted // self.extents[0] * rows
        if self.grid is not None:
            wanted = max(wanted, self.grid.nbytes)
        if wanted > most or math.prod(extent or 1 for extent in self.shape) >= 1 << 62:
            raise LimitError(
                f"its shape {self.shape} would make {wanted:,} bytes, more than {most:,}.",
                file=source.name,
                where=self.where,
                remedy='If the file is honest, raise limits={"total": ...}.',
            )

    def _raw_rows(self, start: int, stop: int) -> Array:
        """Rows as stored in the file; the whole of a dataset without axes."""
        raw, layout = self.type.raw, self.layout
        shape = (stop - start, *self.shape[1:]) if self.extents else self.shape
        if not self.size:
            return np.zeros(shape, raw)
        if layout.kind == "compact":
            if len(layout.data) < self.nbytes:
                self.frame.damaged(
                    f"{self.nbytes:,} bytes are claimed, {len(layout.data):,} are there", self.where
                )
            whole = np.frombuffer(bytearray(layout.data), raw, self.size).reshape(self.shape)
            return whole[start:stop] if self.extents and stop else whole
        if layout.kind == "contiguous" and layout.address is not None:
            row = self.nbytes // self.extents[0] if self.extents else self.nbytes
            length = row * (stop - start) if self.extents else row
            data = self.frame.fields(layout.address + row * start, length, self.where).data
            return np.ndarray(shape, raw, data)
        made = self._blank(shape, start, stop)
        for number in self._touched(start, stop):
            for chunk in self._by_row().get(number, ()):
                self._place(made, chunk, start)
        return made

    def _touched(self, start: int, stop: int) -> range:
        if self.grid is None or stop <= start:
            return range(0)
        step = self.grid.chunk[0]
        return range(start // step, -(-stop // step))

    def _blank(self, shape: tuple[int, ...], start: int, stop: int) -> Array:
        """What chunks are laid into: filled, unless they cover all of it."""
        if self.grid is not None:
            touched = self._touched(start, stop)
            there = sum(len(self._by_row().get(number, ())) for number in touched)
            if there == len(touched) * math.prod(self.grid.counts[1:]):
                return np.empty(shape, self.type.raw)
        made = np.zeros(shape, self.type.raw)
        if self.fill is not None and any(self.fill):
            made[...] = np.frombuffer(self.fill, self.type.raw).reshape(self.type.shape)
        return made

    def _by_row(self) -> dict[int, list[Chunk]]:
        if self._rows is None:
            found: dict[int, dict[tuple[int, ...], Chunk]] = {}
            if self.grid is not None:
                for chunk in chunks_of(self.frame, self.grid):
                    found.setdefault(chunk.place[0], {})[chunk.place] = chunk
            self._rows = {row: list(chunks.values()) for row, chunks in found.items()}
        return self._rows

    def _place(self, made: Array, chunk: Chunk, start: int) -> None:
        assert self.grid is not None
        data = self._undone(chunk, self.grid)
        here: list[slice] = []
        there: list[slice] = []
        axes = zip(chunk.place, self.grid.chunk, made.shape, strict=False)
        for axis, (number, step, extent) in enumerate(axes):
            begin = number * step - (0 if axis else start)
            first = max(0, begin)
            last = min(begin + step, extent)
            here.append(slice(first, last))
            there.append(slice(first - begin, last - begin))
        made[tuple(here)] = data[tuple(there)]

    def _undone(self, chunk: Chunk, grid: Grid) -> Array:
        """A chunk before its filters."""
        shape = grid.chunk + self.type.shape
        known = self._kept.get(chunk.address)
        if known is not None:
            self._kept.move_to_end(chunk.address)
            return known
        partial = any(
            (number + 1) * step > extent
            for number, step, extent in zip(chunk.place, grid.chunk, grid.extents, strict=True)
        )
        where = f"{self.where}, chunk {chunk.place}"
        if not self.pipeline.filters or (self.layout.spares and partial):
            data = self.frame.fields(chunk.address, grid.nbytes, where).data
            return np.ndarray(shape, self.type.raw, data)
        stored = self.frame.fields(chunk.address, chunk.size, where).data
        plain = self.pipeline.undo(self.frame, stored, grid.nbytes, chunk.mask, where)
        array: Array = np.ndarray(shape, self.type.raw, plain)
        self._kept[chunk.address] = array
        while len(self._kept) > 1 and len(self._kept) * grid.nbytes > _KEPT:
            self._kept.popitem(last=False)
        return array
