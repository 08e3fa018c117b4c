"""Copies of arrays as they are now: what shares memory still does, and each byte is copied once.

`Memory` keeps what the copies were made into for the next ones: to get fresh pages from the operating
system takes longer than to copy into them.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from typing import Any

import numpy as np

from persist.typing import Array

__all__ = ["Copies", "Memory"]

_LEAST = 1 << 16  # bytes from which on memory is kept: less is quickly had
_SPARSE = 4  # a view that spans so many times its own bytes is copied by itself


class Memory:
    """Memory of the copies of one snapshot, used again by the next; it holds one snapshot's bytes."""

    def __init__(self) -> None:
        self._used: list[Array] = []
        self._free: dict[int, list[Array]] = {}

    def begin(self) -> None:
        """Begin a snapshot: the last one is no longer needed."""
        free = defaultdict(list)
        for block in (*self._used, *(one for many in self._free.values() for one in many)):
            free[block.nbytes].append(block)
        self._free, self._used = free, []

    def end(self) -> None:
        """Let go of what the snapshot had no use for."""
        self._free = {}

    def take(self, nbytes: int) -> Array:
        """Return bytes to copy into."""
        if nbytes < _LEAST:
            return np.empty(nbytes, np.uint8)
        known = self._free.get(nbytes)
        block = known.pop() if known else np.empty(nbytes, np.uint8)
        self._used.append(block)
        return block


class _Region:
    """Memory that arrays look into, and the copy of what was needed of it."""

    __slots__ = ("bytes", "copy", "ends", "low", "owner", "starts")

    def __init__(self, owner: Any, low: int, copy: Array) -> None:
        self.owner = owner  # so that its address stays its own
        self.low = low
        self.bytes = _bytes_of(owner)
        self.copy = copy
        self.starts: list[int] = []  # of what is copied: runs apart from each other, in order
        self.ends: list[int] = []

    def fill(self, low: int, high: int) -> None:
        """Copy what was not yet copied between two offsets."""
        first = bisect.bisect_left(self.ends, low)
        last = bisect.bisect_right(self.starts, high)
        at = low
        for start, end in zip(self.starts[first:last], self.ends[first:last], strict=True):
            if at < start:
                self.copy[at:start] = self.bytes[at:start]
            at = max(at, end)
        if at < high:
            self.copy[at:high] = self.bytes[at:high]
        if first < last:
            low, high = min(low, self.starts[first]), max(high, self.ends[last - 1])
        self.starts[first:last] = [low]
        self.ends[first:last] = [high]


class Copies:
    """The copies of one snapshot.

    Args:
        memory: to copy into; of the last snapshot, which is over.
    """

    def __init__(self, memory: Memory) -> None:
        memory.begin()
        self._memory = memory
        self._regions: list[_Region] = []  # by address
        self._lows: list[int] = []
        self._blobs: dict[int, object] = {}

    def array(self, array: Any) -> Any:
        """Return a copy, in the same order of its axes."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        low, high = _span(array)
        alone = type(array) is not np.ndarray or type(owner) is not np.ndarray
        if (
            alone
            or owner.dtype.hasobject
            or not array.nbytes
            or high - low > _SPARSE * array.nbytes
        ):
            return array.copy(order="K")
        if not (owner.flags.c_contiguous or owner.flags.f_contiguous):
            owner = array
            if not (owner.flags.c_contiguous or owner.flags.f_contiguous):
                return array.copy(order="K")
        region = self._region(owner)
        region.fill(low - region.low, high - region.low)
        offset = _address(array) - region.low
        return np.ndarray(array.shape, array.dtype, region.copy, offset, array.strides)

    def tensor(self, tensor: Any) -> None:
        """Let a tensor over a program's memory look at a copy of that."""
        blob = tensor.storage.blob
        if id(blob) not in self._blobs:
            memory = blob.bytes(0, blob.nbytes)
            self._blobs[id(blob)] = (blob, memory)
            if blob.nbytes:
                blob._memory = self.array(memory)

    def _region(self, owner: Array) -> _Region:
        """The region in which an array's bytes are."""
        low = _address(owner)
        at = bisect.bisect_right(self._lows, low)
        if at:
            known = self._regions[at - 1]
            if low + owner.nbytes <= known.low + known.copy.nbytes:
                return known
        region = _Region(owner, low, self._memory.take(owner.nbytes))
        self._regions.insert(at, region)
        self._lows.insert(at, low)
        return region


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _span(array: Array) -> tuple[int, int]:
    """The addresses between which an array's bytes lie."""
    low = high = _address(array)
    for extent, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            low += (extent - 1) * stride
        else:
            high += (extent - 1) * stride
    return low, high + array.itemsize


def _bytes_of(array: Array) -> Array:
    """All bytes of an array without gaps, in their order in memory."""
    order = array if array.flags.c_contiguous else array.T
    return order.reshape(-1).view(np.uint8)
