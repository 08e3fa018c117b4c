"""The arrays of a container that is rewritten in place: which bytes are kept, and their references.

Specified in ``docs/container.md``, section 13. Arrays of the new tree that lie in the map of the old
file are recognised by their address. The result of a migration step that made no copy (a slice, a
transposed view) becomes a view of the old member. A new array that equals an old member byte by byte
is stored as that member.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from persist._container.checksums import crc32
from persist._container.layout import INDIRECT
from persist._container.names import member_name
from persist._container.reading.directory import Entry
from persist._container.reading.store import Store
from persist._container.writing.blocks import Stack
from persist._container.writing.members import Item, Members, Packed
from persist._wire.npy.npy import header_bytes
from persist.tree import LazyArray
from persist.typing import Array, DType, StoredArray

__all__ = ["Kept", "KeptMembers", "member_bytes"]

Spec = tuple[int, Any, Any, Any, int]  # number, dtype, shape, strides, offset


class Kept:
    """The arrays of an open container, by their place in the file.

    The decoder takes its arrays from here, so that this object knows all of them.

    Args:
        store: mapped, and not verified.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.entries: list[Entry] = [store.entry(number) for number in range(len(store))]
        data = np.frombuffer(store.source.view(0, store.source.size), np.uint8)
        self._map = data  # its address is the map's while it lives
        self._base = int(data.__array_interface__["data"][0])
        self._offsets = [entry.offset for entry in self.entries]
        self._lazy: dict[int, tuple[Any, Spec]] = {}

    def __len__(self) -> int:
        return len(self.store)

    @property
    def foreign(self) -> None:
        """None: a file with ``long double`` of another machine is not written in place."""

    def double(self, raw: Any, dtype: DType) -> object:
        """As the store does; never asked, as there is none of another machine."""
        return self.store.double(raw, dtype)

    def wholes(self) -> Sequence[StoredArray] | None:
        """Return the arrays of all members, or None if they should be built one by one."""
        return self.store.wholes()

    def whole(self, number: int) -> StoredArray:
        """Return the array of a member."""
        return self._noted(self.store.whole(number), (number, None, None, None, 0))

    def rows(self, number: int, count: int) -> list[StoredArray]:
        """Return the arrays along the first axis of a member."""
        return self.store.rows(number, count)

    def view(
        self,
        number: int,
        dtype: DType | None,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> Any:
        """Return an array upon the data of a member."""
        made = self.store.view(number, dtype, shape, strides, offset)
        return self._noted(made, (number, dtype, shape, strides, offset))

    def _noted(self, array: StoredArray, spec: Spec) -> StoredArray:
        if type(array) is LazyArray:  # of a compressed member
            self._lazy[id(array)] = (array, spec)
        return array

    def spec_of(self, array: object) -> Spec | None:
        """The member that an array is, or is a view of; None for an array outside the file."""
        if type(array) is LazyArray:
            known = self._lazy.get(id(array))
            return None if known is None else known[1]
        if not isinstance(array, np.ndarray) or not array.nbytes:
            return None
        for lazy, spec in self._lazy.values():
            if lazy._whole is array:  # of a compressed member that was read
                return spec
        at = int(array.__array_interface__["data"][0]) - self._base
        if not 0 <= at < len(self._map):
            return None
        number = bisect.bisect_right(self._offsets, at) - 1
        if number < 0 or self.entries[number].method:
            return None
        place = self.store.place(number)
        start = place.offset + place.header.length
        whole: Any = self.store.whole(number)  # it is mapped
        low, high = _extent(array)
        if at + low < start or at + high > start + place.header.nbytes:
            return None
        offset = at - start
        same = (array.dtype, array.shape, array.strides) == (
            whole.dtype,
            whole.shape,
            whole.strides,
        )
        if same and not offset:
            return (number, None, None, None, 0)
        return (number, array.dtype, array.shape, array.strides, offset)

    def row_of(self, spec: Spec) -> int | None:
        """The row of a member that a view is; None if it is not a single row."""
        number, dtype, shape, _, offset = spec
        header = self.store.place(number).header
        if dtype != header.dtype or not header.shape or tuple(shape) != header.shape[1:]:
            return None
        size = header.nbytes // header.shape[0]
        return offset // size if size and offset % size == 0 and not header.is_fortran else None

    def ends(self) -> list[int]:
        """The offsets of the entries of its arrays in the directory, and the end of the last one."""
        starts = [int(row) & ~INDIRECT for row in self.store._index[0].tolist()]
        return [*starts, self.store.arrays_end]

    @property
    def end(self) -> int:
        """The offset of the end of its last array in the file."""
        return self.store.end_of(self.entries[-1]) if self.entries else 0


class KeptMembers(Members):
    """The members of the new file: those of the old file, followed by new ones.

    Args:
        kept: the old file.
    """

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept
        self.names = [entry.name.decode() for entry in kept.entries]
        self.arrays: list[Any] = [None] * len(self.names)
        self.dtypes = [None] * len(self.names)
        self.direct = set()
        self._old = set(self.names)
        self._taken = set(self.names)
        self._like: dict[tuple[int, int], list[int]] | None = None

    def take(
        self, items: list[Item], nodes: list[object], dtype_text: Callable[[Any], object]
    ) -> tuple[list[Item], list[Packed]]:
        """Fill in the nodes of arrays that are in the old file; return the others, and old blocks.

        Args:
            items: the arrays, as they were met.
            nodes: of the graph.
            dtype_text: returns the text of a dtype inside a node.
        """
        rest: list[Item] = []
        rows: dict[int, dict[int, Item]] = {}
        for item in items:
            spec = None if item.head is not None else self.kept.spec_of(item.array)
            if spec is None:
                rest.append(item)
                continue
            number, dtype, shape, strides, offset = spec
            if dtype is None and shape is None:
                self.keep(number, item.path)
                nodes[item.node] = number
                continue
            row = self.kept.row_of(spec)
            if row is not None and row not in rows.setdefault(number, {}):
                rows[number][row] = item
            text = None if dtype is None else dtype_text(dtype)
            strides = None if strides is None else list(strides)
            nodes[item.node] = ["view", number, text, list(shape or ()), strides, offset]
        packed = []
        for number, found in rows.items():
            if len(found) == self.kept.store.place(number).header.shape[0]:
                own = [found[row] for row in range(len(found))]
                paths = [item.path for item in own]
                packed.append(Packed(number, [item.node for item in own], paths))
        return rest, packed

    def keep(self, number: int, path: str) -> None:
        """Use a member of the old file as the array at a path."""
        assert self.direct is not None
        if number in self.direct:
            return
        self.direct.add(number)
        self._say(self.names[number], path)

    def add(self, path: str, array: object) -> int:
        """Store an array unless an old member is equal byte by byte; return the member's number."""
        same = self._same(array)
        if same is not None:
            self._say(self.names[same], path)
            return same
        if member_name(path, len(self.names)) not in self._old:
            return super().add(path, array)
        count = 2
        while member_name(f"{path}~{count}", len(self.names)) in self._taken:
            count += 1
        number = super().add(f"{path}~{count}", array)
        self._say(self.names[number], path)
        return number

    def add_plain(self, items: list[Item]) -> bool:
        """Always False, since new names may collide with old ones and are added one by one."""
        return False

    def _say(self, name: str, path: str) -> None:
        self.paths.pop(name, None)
        if name != f"{path}.npy":
            self.paths[name] = path

    def _same(self, array: Any) -> int | None:
        if type(array) is LazyArray or array.dtype.hasobject or not array.nbytes:
            return None
        if self._like is None:
            self._like = {}
            for number, entry in enumerate(self.kept.entries):
                self._like.setdefault((entry.size, entry.crc), []).append(number)
        sizes = {size for size, _ in self._like}
        header = header_bytes(array.dtype, array.shape)
        if len(header) + array.nbytes not in sizes:
            return None
        crc = 0
        for part in member_bytes(header, array):
            crc = crc32(part, crc)
        for number in self._like.get((len(header) + array.nbytes, crc), ()):
            found = self.kept.store.whole(number)
            if number not in (self.direct or ()) and _equal(found, array):
                return number
        return None


def member_bytes(header: bytes, array: Array | Stack) -> Iterator[Any]:
    """The bytes of an array's member, in C order."""
    yield header
    if isinstance(array, np.ndarray):
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    else:
        yield from array.chunks()


def _equal(found: Any, array: Any) -> bool:
    found = np.asarray(found)
    if found.dtype != array.dtype or found.shape != array.shape:
        return False
    at = 0
    flat = np.ascontiguousarray(found).reshape(-1).view(np.uint8)
    for part in member_bytes(b"", array):
        if bytes(flat[at : at + len(part)]) != bytes(part):
            return False
        at += len(part)
    return True


def _extent(array: Array) -> tuple[int, int]:
    """The offsets of the first byte of an array and of its end, relative to its first element."""
    low = high = 0
    for count, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += (count - 1) * stride
        else:
            high += (count - 1) * stride
    return low, high + array.itemsize
