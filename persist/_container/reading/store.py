"""Reads a container: finds, checks and maps its members; parses no directory to find one.

Specified in ``docs/container.md``. Every header that is touched is made again
from what it says and compared byte by byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from persist._container.checksums import crc32
from persist._container.dtypes import is_long_double
from persist._container.layout import (
    INDEX,
    INDIRECT,
    MANIFEST,
    PATHS,
    local_header,
    manifest_tail,
)
from persist._container.names import member_name
from persist._container.reading.bulk import whole_arrays
from persist._container.reading.directory import EMPTY, Entry, Place
from persist._container.reading.members import Members
from persist._container.reading.tables import row_of
from persist._runtime.progress import current
from persist._wire.base.source import Source
from persist._wire.npy.npy import Header, read_header
from persist.errors import (
    DamagedFileError,
    PersistError,
)
from persist.tree import LazyArray
from persist.typing import Array, DType, StoredArray

__all__ = ["Store"]

_MANY = 32  # members from which on all are made together
_AT_ONCE = 16 << 20  # bytes of a member behind a URL that is fetched together with its headers


class Store(Members):
    """An open container.

    Args:
        source: its bytes.
        verify: "lazy" (each member when it is first touched), "always" (every
            byte, now), "never" (graph and manifest only). None is "lazy" where
            members are copied; else a member is checked when its array is made,
            if the file has at most 64 MiB or is in memory already, or the member at
            most 1 MiB; a larger one of a long mapped file is not.

    Raises:
        DamagedFileError: it is truncated, altered or lying.
        FutureVersionError: its version is newer than this program.
    """

    def __init__(self, source: Source, verify: str | None = None) -> None:
        if verify not in (None, "lazy", "always", "never"):
            raise PersistError(
                f"there is no verify={verify!r}.", remedy='Choose "lazy", "always" or "never".'
            )
        self._begin(source, verify)
        self._end()
        self.manifest = self._manifest()
        self._check_control()
        if self.verify == "always":
            for fault in self.faults():
                raise fault

    def find(self, path: str) -> int | None:
        """Return the number of the member that holds the array of a path, or None."""
        return self._lookup.find(path)

    def array(self, path: str) -> StoredArray | None:
        """Return the array at a natural path, where it shows without the graph; else None."""
        number = self.find(path)
        if number is not None and self.is_direct(number):
            return self.whole(number)
        at = self._packed(path)
        if at is None:
            return None
        for member, count in self._blocks_listed():
            if at < count:
                return row_of(self.whole(member), at)
            at -= count
        return None

    def _blocks_listed(self) -> list[tuple[int, int]]:
        """Member and count of the blocks whose arrays' paths are listed."""
        said = self.manifest.get("blocks", [])
        try:
            result = [(member, count) for member, count in said]
        except (TypeError, ValueError):
            result = [(-1, -1)]
        if any(type(one) is not int or not one >= 0 for pair in result for one in pair) or any(
            member >= self._count for member, _ in result
        ):
            raise self.damaged(f"its blocks are {str(said)[:200]}.", f"member {MANIFEST!r}")
        return result

    def _packed(self, path: str) -> int | None:
        """Which of the arrays in blocks has a path, by the list of their names."""
        if not self._has_paths:
            return None
        if self._paths is None:
            self._paths = self._text(PATHS)
        name = member_name(path).removesuffix(".npy").encode()
        at = self._paths.find(b"\0" + name + b"\0")
        return None if at < 0 else self._paths.count(b"\0", 0, at)

    def _text(self, name: str) -> bytes:
        """The bytes of a control member that is an NPY of them."""
        data = self._checked(name)
        cursor = self.source.nested(data, f"member {name!r}").cursor()
        header = read_header(cursor)
        if header.dtype != np.dtype("u1") or header.shape != (cursor.left,):
            raise self.damaged(
                f"it is an array of {header.dtype} {header.shape}.", f"member {name!r}"
            )
        return data[header.length :]

    def is_direct(self, number: int) -> bool:
        """Whether a member, as NPY says it, is the array at its path."""
        return not int(self._index[0, number]) & INDIRECT

    def wholes(self) -> Sequence[StoredArray] | None:
        """Return all arrays at once where they are mapped, sound and small; else None."""
        if not self._is_mapped_now or self._count < _MANY or self.foreign is not None:
            return None
        source = self.source

        def header_at(start: int, length: int) -> Header:
            return read_header(source.window(start, length).cursor())

        data = source.view(0, source.size)
        return whole_arrays(
            data,
            self._directory,
            self._directory_size,
            self._index[0] & np.uint64(INDIRECT - 1),
            header_at,
            self._are_sound if self.verify is None else None,
        )

    @property
    def _is_mapped_now(self) -> bool:
        """Whether stored members become views of the map now, and not lazy arrays."""
        return self.source.is_mapped and self.verify in (None, "never")

    def _are_sound(self, starts: list[int], sizes: list[int], crcs: list[int]) -> bool:
        """Whether the bytes of all stored members that are checked by default are as written."""
        digest, digests = self._digest, self._digests
        for number, (start, size, crc) in enumerate(zip(starts, sizes, crcs, strict=True)):
            # What was checked before may have been written to since, where arrays are writable.
            if size > self._checked_at_once or number in self._blocks:
                continue
            block = self.source.view(start, size)
            if digest is not None and digests is not None:
                if digest.once(block) != digests[number].tobytes():
                    return False
            elif crc32(block) != crc:
                return False
            self._blocks[number] = block
        return True

    def whole(self, number: int) -> StoredArray:
        """Return the array of a member: a view of the map, or lazy where it is to be verified.

        Behind a URL its headers are read on first use, each of which is a request.
        """
        if self.source.is_mapped or number in self._places:
            whole: StoredArray = self.view(number, None, None, None, 0)
            return whole

        def settle(is_whole: bool) -> LazyArray:
            entry = self.entry(number)
            if is_whole and entry.packed <= _AT_ONCE:
                header = local_header(
                    entry.name, entry.method, entry.crc, entry.packed, entry.size, entry.offset
                )
                self.source.fill(entry.offset, len(header) + entry.packed)
            found: LazyArray = self.view(number, None, None, None, 0)
            return found

        return LazyArray._unsettled(settle)

    def rows(self, number: int, count: int) -> list[StoredArray]:
        """Return the arrays along the first axis of a member.

        Raises:
            ValueError: they are not so many.
        """
        block = self.whole(number)
        if not block.shape or block.shape[0] != count or not block.nbytes:
            raise ValueError(f"{count!r} arrays are an array of {block.dtype} {block.shape}")
        if type(block) is np.ndarray and block.ndim > 1:
            return list(block)
        return [row_of(block, at) for at in range(count)]

    def view(
        self,
        number: int,
        dtype: DType | None,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> Any:
        """Return an array upon the data of a member; see `whole`.

        ``long double`` of another machine becomes float64, which ``notes`` says.

        Raises:
            FormatError: it is in a format that is not known here, or inside a structured dtype.
        """
        place = self.place(number)
        header = place.header
        order = "C"
        if dtype is None:
            dtype = header.dtype
        if shape is None:
            shape, order = header.shape, header.order
        self._check_view(place, dtype, shape, strides, offset)

        if is_long_double(dtype) and self.foreign is not None:
            as_raw = np.dtype((np.void, dtype.itemsize))

            def fetch_double() -> Array:
                base = self._block(number, place)
                start = place.header.length + offset
                raw = np.ndarray(shape, as_raw, base, start, strides, order)  # type: ignore[arg-type,call-overload,unused-ignore]
                return self.double(raw, dtype)

            doubled = self._doubled(dtype, f"member {place.entry.text!r}")
            return LazyArray(doubled, shape, fetch_double)

        def make(base: Any, start: int) -> Array:
            if not dtype.itemsize or 0 in shape:
                return np.zeros(shape, dtype)
            return np.ndarray(shape, dtype, base, start + offset, strides, order)  # type: ignore[arg-type,call-overload,no-any-return,unused-ignore]

        if self._is_mapped_now and not place.entry.method:
            return make(self._block(number, place), header.length)

        def fetch() -> Array:
            return make(self._block(number, place), header.length)

        rows = None
        if self.verify == "never" and strides is None and order == "C" and shape and shape[0]:
            rows = self._rows_of(number, place, dtype, shape, offset)
        return LazyArray(dtype, shape, fetch, rows)

    def _rows_of(
        self, number: int, place: Place, dtype: DType, shape: tuple[int, ...], offset: int
    ) -> Any:
        """Ranged reads of rows, where nothing is to be verified."""
        if place.entry.method or number in self._blocks:
            return None
        start = place.offset + place.header.length + offset
        array = self.source.array(start, dtype, shape)
        return None if not isinstance(array, LazyArray) else array._rows

    def _check_view(
        self,
        place: Place,
        dtype: DType,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> None:
        """The array must lie within the member."""
        if dtype.hasobject:
            raise self.damaged("an array of objects has no bytes.", f"member {place.entry.text!r}")
        if not dtype.itemsize and math.prod(shape) > EMPTY:
            raise self.damaged(f"{math.prod(shape):,} items of no bytes are claimed.")
        low, high = offset, offset + dtype.itemsize
        if strides is None:
            count = 1
            for extent in shape:
                count *= extent
            high = offset + count * dtype.itemsize
        else:
            for extent, stride in zip(shape, strides, strict=True):
                if stride < 0:
                    low += max(extent - 1, 0) * stride
                else:
                    high += max(extent - 1, 0) * stride
        if low < 0 or high > place.header.nbytes:
            raise self.damaged(
                f"an array upon it reaches from {low:,} to {high:,} of {place.header.nbytes:,} bytes.",
                f"member {place.entry.text!r}",
            )

    def faults(self) -> Iterator[DamagedFileError]:
        """Check every byte and yield what is wrong."""
        at, end = 0, 0
        meter = current()
        names: list[bytes] = []
        numbers = iter(range(self._count))
        control = iter([*self.older, *list(self._control)[1:], MANIFEST])
        while at < self._directory_size:
            number = next(numbers, None)
            name = None if number is not None else next(control, "")
            tail = manifest_tail(self._first, self.version) if name == MANIFEST else b""
            try:
                entry = self._entry(at, tail)
            except DamagedFileError as error:
                yield error
                return
            try:
                if number is not None and int(self._index[0, number]) & ~INDIRECT != at:
                    raise self.damaged("the index has it elsewhere.", f"member {entry.text!r}")
                if name is not None and entry.text != name:
                    raise self.damaged(f"{name!r} was expected.", f"member {entry.text!r}")
                if entry.offset != end:
                    raise self.damaged(
                        f"it begins at {entry.offset:,}, the one before it ends at {end:,}.",
                        f"member {entry.text!r}",
                    )
                self._check_member(number, entry)
                if meter is not None:
                    meter.at("verify", entry.offset, self._directory, "bytes", self.source.name)
            except DamagedFileError as error:
                yield error
            names.append(entry.name)
            end = self.end_of(entry)
            at += entry.length
        if meter is not None:
            meter.at("verify", self._directory, self._directory, "bytes", self.source.name)
        if end != self._directory:
            yield self.damaged(
                f"{self._directory - end:,} bytes belong to no member.", f"offset {end}"
            )
        if len(set(names)) != len(names):
            yield self.damaged("two members have one name.")
        expected = [crc32(name) << 32 | number for number, name in enumerate(names[: self._count])]
        if self._index[1].tolist() != sorted(expected):
            yield self.damaged(
                "the index's names are not those of the directory.", f"member {INDEX!r}"
            )

    def _check_member(self, number: int | None, entry: Entry) -> None:
        offset = self._body(entry)
        crc = 0
        state = None if self._digest is None or number is None else self._digest.start()
        for piece in self._data(entry, offset):
            crc = crc32(piece, crc)
            if state is not None:
                state.update(piece)
        self._compare(entry, crc)
        if number is not None:
            self._header(number, entry, offset)
            if state is not None and self._digests is not None:
                self._same(state.digest(), self._digests[number].tobytes(), entry)
