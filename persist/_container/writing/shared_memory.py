"""Which arrays share memory, and which bytes of it are stored.

Arrays that share memory are stored once, as the memory that they cover; a lone
view is stored as its own bytes. Addresses are compared only for arrays that do
not own their memory, and for the owners of those.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import attrs
import numpy as np

from persist.typing import Array

__all__ = ["Block", "Window", "blocks_of"]

_PAIRS = 64  # so many arrays with overlapping extents are compared pair by pair
_WORK = 10_000  # candidate solutions until two arrays are taken to share


@attrs.frozen
class Window:
    """One array as a view of a block.

    Attributes:
        number: which array.
        strides: in the block.
        offset: of its first element, in bytes.
    """

    number: int
    strides: tuple[int, ...]
    offset: int


@attrs.frozen
class Block:
    """A range of memory that several arrays cover.

    Attributes:
        array: its bytes, as they are to be stored.
        whole: the number of the array that ``array`` is, or None where none covers it all.
        windows: all arrays upon it.
    """

    array: Array
    whole: int | None
    windows: list[Window]


@attrs.frozen
class _Extent:
    number: int
    array: Array
    pointer: int
    low: int
    high: int


def blocks_of(arrays: list[tuple[int, Array]]) -> list[Block]:
    """Return the blocks that two or more of the arrays share.

    Args:
        arrays: numbered, of plain `numpy.ndarray` type, none of objects.
    """
    if all(array.base is None for _, array in arrays):
        return []
    owners = {id(_owner(array)) for _, array in arrays if array.base is not None}
    extents = [
        _extent(number, array)
        for number, array in arrays
        if (array.base is not None or id(array) in owners) and array.nbytes
    ]
    extents.sort(key=lambda extent: (extent.low, -extent.high))
    result = []
    for group in _overlapping(extents):
        result += [_block(part) for part in _sharing(group)]
    return result


def _owner(array: Array) -> object:
    owner: object = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return owner


def _extent(number: int, array: Array) -> _Extent:
    pointer = array.__array_interface__["data"][0]
    low = high = pointer
    if array.flags.c_contiguous or array.flags.f_contiguous:
        high += array.nbytes
    else:
        for extent, stride in zip(array.shape, array.strides, strict=True):
            if stride < 0:
                low += (extent - 1) * stride
            else:
                high += (extent - 1) * stride
        high += array.itemsize
    return _Extent(number, array, pointer, low, high)


def _overlapping(extents: list[_Extent]) -> list[list[_Extent]]:
    """Return groups of two or more arrays whose extents overlap in a chain, sorted by their low ends."""
    groups: list[list[_Extent]] = []
    group: list[_Extent] = []
    top = -1
    for extent in extents:
        if extent.low < top:
            group.append(extent)
        else:
            groups.append(group)
            group = [extent]
        top = max(top, extent.high)
    return [group for group in [*groups, group] if len(group) > 1]


def _sharing(group: list[_Extent]) -> list[list[_Extent]]:
    """Return the arrays of overlapping extents that really share bytes (columns of a matrix do not)."""
    if len(group) > _PAIRS:
        return [group]
    parts: list[list[_Extent]] = []
    for extent in group:
        near = [part for part in parts if any(_share(extent, other) for other in part)]
        parts = [part for part in parts if part not in near]
        parts.append([other for part in near for other in part] + [extent])
    return [part for part in parts if len(part) > 1]


def _share(one: _Extent, other: _Extent) -> bool:
    if one.low >= other.high or other.low >= one.high:
        return False
    try:
        work: Any = _WORK
        return np.shares_memory(one.array, other.array, max_work=work)
    except RuntimeError:  # TooHardError: sharing what need not be shared is no fault
        return True


def _block(part: list[_Extent]) -> Block:
    base = min(extent.low for extent in part)
    top = max(extent.high for extent in part)
    pitch, width, count = _cells(part, base, top)
    windows = []
    for extent in part:
        offset = extent.pointer - base
        strides = tuple(
            stride // pitch * width if stride % pitch == 0 and pitch > width else stride
            for stride in extent.array.strides
        )
        if pitch > width:
            offset = offset // pitch * width + offset % pitch
        windows.append(Window(extent.number, strides, offset))
    size = count * width if pitch > width else top - base
    for extent, window in zip(part, windows, strict=True):
        array = extent.array
        is_packed = array.flags.c_contiguous or array.flags.f_contiguous
        if is_packed and array.nbytes == size and not window.offset and pitch <= width:
            return Block(array, extent.number, windows)
    data = _memory(base, top, pitch, width, count)
    for extent, window in zip(part, windows, strict=True):
        whole = _as_whole(data, extent.array, window, size)
        if whole is not None:
            return Block(whole, extent.number, windows)
    return Block(_typed(data, part, windows), None, windows)


def _cells(part: list[_Extent], base: int, top: int) -> tuple[int, int, int]:
    """Divide the memory into cells of one stride, and keep the covered bytes of each.

    Returns:
        Pitch, width kept of each cell, number of cells; (n, n, 1) for no cutting.
    """
    whole = top - base
    best = (whole, whole, 1)
    steps = {
        abs(stride)
        for extent in part
        for stride, count in zip(extent.array.strides, extent.array.shape, strict=True)
        if count > 1 and stride
    }
    if len(steps) > 16:
        return best
    offsets = [extent.low - base for extent in part]
    for pitch in {*steps, math.gcd(*steps, *offsets)} - {0}:
        width, count = 0, 0
        for extent, offset in zip(part, offsets, strict=True):
            inner, cells = extent.array.itemsize, 1
            for stride, items in zip(extent.array.strides, extent.array.shape, strict=True):
                if stride % pitch:
                    inner += abs(stride) * (items - 1)
                else:
                    cells += abs(stride) // pitch * (items - 1)
            width = max(width, offset % pitch + inner)
            count = max(count, offset // pitch + cells)
        if width < pitch and width * count < best[1] * best[2]:
            best = (pitch, width, count)
    return best


def _memory(base: int, top: int, pitch: int, width: int, count: int) -> Array:
    """Return the bytes from ``base`` to ``top``; the arrays keep them alive meanwhile."""
    size = top - base
    memory: Any = (ctypes.c_ubyte * size).from_address(base)
    raw: Array = np.frombuffer(memory, np.uint8)
    if pitch <= width:
        return raw
    cells = np.zeros((count, width), np.uint8)
    cells[:-1] = np.ndarray((count - 1, width), np.uint8, raw, 0, (pitch, 1))
    last = raw[(count - 1) * pitch :][:width]
    cells[-1, : len(last)] = last
    return cells.reshape(-1)


def _as_whole(data: Array, array: Array, window: Window, size: int) -> Array | None:
    """Return the block as one of its arrays, if that covers all of it without a gap."""
    if array.nbytes != size or window.offset:
        return None
    seen: Array = np.ndarray(array.shape, array.dtype, data, 0, window.strides)
    return seen if seen.flags.c_contiguous or seen.flags.f_contiguous else None


def _typed(data: Array, part: list[_Extent], windows: list[Window]) -> Array:
    dtype = part[0].array.dtype
    fits = all(extent.array.dtype == dtype for extent in part) and all(
        value % dtype.itemsize == 0
        for window in windows
        for value in (window.offset, *window.strides)
    )
    return data.view(dtype) if fits and len(data) % dtype.itemsize == 0 else data
