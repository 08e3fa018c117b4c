"""Many small arrays of one dtype and shape in one block: how they are grouped and named.

Specified in ``docs/container.md``, section 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from persist._container.dtypes import SAID_BY_NPY
from persist.typing import Array

__all__ = ["LEAST", "Band", "Pack", "Stack", "groups_of"]

LEAST = 1000  # arrays from which on they are a block
_BELOW = 4096  # bytes of each
_CHUNK = 1 << 20  # bytes that are stacked at once


class Stack:
    """Arrays of one dtype and shape, stacked along a new first axis; never complete in memory.

    Args:
        arrays: two or more, C contiguous.
    """

    __slots__ = ("arrays", "dtype", "nbytes", "shape")

    def __init__(self, arrays: list[Array]) -> None:
        first = arrays[0]
        self.arrays = arrays
        self.dtype = first.dtype
        self.shape = (len(arrays), *first.shape)
        self.nbytes = len(arrays) * first.nbytes

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes, about a MiB at a time."""
        arrays = self.arrays
        step = max(_CHUNK // arrays[0].nbytes, 1)
        for at in range(0, len(arrays), step):
            yield b"".join([array.tobytes() for array in arrays[at : at + step]])


@attrs.frozen
class Band:
    """One field of a table whose values are arrays, encoded all at once.

    Attributes:
        first: number of its first item.
        count: of items.
        name: the path of the block, if it becomes one.
        path_of: index among them -> natural path.
    """

    first: int
    count: int
    name: str
    path_of: Callable[[int], str]


@attrs.frozen
class Pack:
    """Arrays that are stored as one block.

    Attributes:
        path: of the block.
        indices: which items, in the order of its first axis.
        is_listed: whether their natural paths are listed; those of a table's field are not.
    """

    path: str
    indices: Sequence[int]
    is_listed: bool


def groups_of(
    items: list[Any], bands: Sequence[Band], is_taken: Callable[[int], bool]
) -> list[Pack]:
    """Return the packs into which arrays are grouped; those whose paths are listed come first.

    Args:
        items: with ``path``, ``array`` and ``head``; those of a band that is no block get their paths.
        bands: of the items.
        is_taken: whether an item shares memory with others.
    """
    if len(items) < LEAST:
        return []
    result: list[Pack] = []
    banded: set[int] = set()
    for band in bands:
        indices = range(band.first, band.first + band.count)
        banded.update(indices)
        if _are_alike(items, indices) and not any(map(is_taken, indices)):
            result.append(Pack(band.name, indices, False))
        else:
            banded.difference_update(indices)
            for at, index in enumerate(indices):
                items[index] = items[index]._replace(path=band.path_of(at))
    groups: dict[object, list[int]] = {}
    for index, item in enumerate(items):
        if index not in banded:
            kind = _kind(item)
            if kind is not None and not is_taken(index):
                groups.setdefault(kind, []).append(index)
    listed = [
        pack for group in groups.values() if len(group) >= LEAST for pack in _cut(items, group)
    ]
    return [*listed, *result]


def _are_alike(items: Sequence[Any], indices: Sequence[int]) -> bool:
    """Return whether all arrays are of one kind (see `_kind`)."""
    arrays = [items[index].array for index in indices]
    kinds = {(array.dtype, array.shape, array.flags.c_contiguous) for array in arrays}
    return len(kinds) == 1 and _kind(items[indices[0]]) is not None


def _kind(item: Any) -> object:
    """Return what the arrays of one block have in common, or None if the array is stored on its own."""
    array = item.array
    if type(array) is not np.ndarray or item.head is not None:
        return None
    if not 0 < array.nbytes < _BELOW or array.dtype.char not in SAID_BY_NPY:
        return None
    return (array.dtype.str, array.shape) if array.flags.c_contiguous else None


def _cut(items: Sequence[Any], group: list[int]) -> list[Pack]:
    """Split arrays of one kind by the last step of their paths, where many share it."""
    by_step: dict[str, list[int]] = {}
    for index in group:
        step = items[index].path.rpartition("/")[2]
        by_step.setdefault("" if step.isdigit() else step, []).append(index)
    result, rest = [], []
    for step, indices in by_step.items():
        if step and len(indices) >= LEAST:
            result.append(Pack(f"{_common(items, indices)}*/{step}", indices, True))
        else:
            rest += indices
    if len(rest) >= LEAST:
        rest.sort()
        result.append(Pack(f"{_common(items, rest)}*", rest, True))
    return result


def _common(items: Sequence[Any], indices: list[int]) -> str:
    """Return the steps that all paths begin with, including the slash after them."""
    paths = [items[index].path for index in indices]
    low, high = min(paths), max(paths)  # what these two share, all do
    same = next(
        (at for at, pair in enumerate(zip(low, high, strict=False)) if len(set(pair)) > 1), len(low)
    )
    return str(low[: low.rfind("/", 0, same) + 1])
