"""Values of HDF5 that are objects in Python: text, sequences and references.

After the format specification, sections III.E (where values of varying length
stand) and IV.A.2.d (classes 3, 7 and 9).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from persist._wire.hdf5.cursor import Frame
from persist._wire.hdf5.heaps import GlobalHeap
from persist.typing import DType

__all__ = ["cut_at_nul", "cut_spaces", "objects", "regions", "sequences", "text_of", "texts"]

Array = np.ndarray[Any, Any]


def text_of(data: bytes | memoryview) -> str | bytes:
    """Return text where it is UTF-8, else the bytes."""
    data = bytes(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def cut_at_nul(elements: Array, frame: Frame) -> Array:
    """Strings that end at their first NUL; the garbage behind it is replaced by NULs."""
    size = elements.dtype.itemsize
    flat = np.frombuffer(elements.tobytes(), np.uint8).reshape(-1, size)
    ended = np.logical_or.accumulate(flat == 0, axis=1)
    if not (flat[ended] != 0).any():
        return elements
    return _strings(np.where(ended, np.uint8(0), flat), elements)


def cut_spaces(elements: Array, frame: Frame) -> Array:
    """Strings that are padded with spaces (Fortran's): the padding made NULs."""
    size = elements.dtype.itemsize
    flat = np.frombuffer(elements.tobytes(), np.uint8).reshape(-1, size)
    padding = np.logical_and.accumulate((flat == 32)[:, ::-1], axis=1)[:, ::-1]
    if not padding.any():
        return elements
    return _strings(np.where(padding, np.uint8(0), flat), elements)


def _strings(flat: Array, elements: Array) -> Array:
    return np.frombuffer(flat.tobytes(), elements.dtype).reshape(elements.shape)


def heap_of(frame: Frame) -> GlobalHeap:
    """The file's global heap."""
    heap = frame.known.get("global heap")
    if heap is None:
        heap = frame.known["global heap"] = GlobalHeap(frame)
    return heap


def _each(elements: Array, frame: Frame, make: Callable[[int, int, int], object]) -> Array:
    made = np.empty(elements.size, object)
    flat = elements.reshape(-1)
    columns = (flat["count"].tolist(), flat["address"].tolist(), flat["index"].tolist())
    frame.spend(64 * elements.size)
    for number, (count, address, index) in enumerate(zip(*columns, strict=True)):
        made[number] = make(count, address, index)
    return made.reshape(elements.shape)


def texts(elements: Array, frame: Frame) -> Array:
    """Strings of varying length."""
    heap = heap_of(frame)

    def make(count: int, address: int, index: int) -> str | bytes:
        if not count or address in (0, frame.nowhere):
            return ""
        data = heap.get(address, index)
        if count > len(data):
            _short(frame, count, len(data), address)
        frame.spend(count)
        return text_of(bytes(data[:count]).partition(b"\0")[0])

    return _each(elements, frame, make)


def sequences(
    elements: Array,
    frame: Frame,
    raw: DType,
    shape: tuple[int, ...],
    given: Callable[[Array, Frame], Array],
) -> Array:
    """Arrays of varying length."""
    heap = heap_of(frame)

    def make(count: int, address: int, index: int) -> Array:
        if not count or address in (0, frame.nowhere):
            return given(np.empty((0, *shape), raw), frame)
        data = heap.get(address, index)
        items = count * int(np.prod(shape, dtype=object))
        if items * raw.itemsize > len(data):
            _short(frame, items * raw.itemsize, len(data), address)
        frame.spend(items * raw.itemsize)
        found = np.frombuffer(data, raw, items).reshape((count, *shape))
        return given(found.copy(), frame)

    return _each(elements, frame, make)


def _short(frame: Frame, wanted: int, there: int, address: int) -> None:
    frame.damaged(
        f"a value of {wanted:,} bytes is claimed, {there:,} are there",
        f"a global heap at offset {address}",
    )


def objects(elements: Array, frame: Frame) -> Array:
    """References to objects, as the path of what they point to; None where they point nowhere."""
    made = np.empty(elements.size, object)
    frame.spend(64 * elements.size)
    for number, address in enumerate(elements.reshape(-1).tolist()):
        made[number] = path_of(frame, address)
    return made.reshape(elements.shape)


def regions(elements: Array, frame: Frame) -> Array:
    """References to parts of datasets: the path, and the selection as it is stored."""
    made = np.empty(elements.size, object)
    heap = heap_of(frame)
    frame.spend(64 * elements.size)
    pairs = elements.reshape(-1)
    columns = zip(pairs["address"].tolist(), pairs["index"].tolist(), strict=True)
    for number, (address, index) in enumerate(columns):
        made[number] = None
        if address not in (0, frame.nowhere):
            data = bytes(heap.get(address, index))
            frame.spend(len(data))
            target = int.from_bytes(data[: frame.wide], "little")
            made[number] = {"object": path_of(frame, target), "selection": data[frame.wide :]}
    return made.reshape(elements.shape)


def path_of(frame: Frame, address: int) -> str | None:
    """The path of the object at an address, or None where no path leads to it."""
    if address in (0, frame.nowhere):
        return None
    paths: dict[int, str] = frame.known.get("paths", {})
    return paths.get(address)
