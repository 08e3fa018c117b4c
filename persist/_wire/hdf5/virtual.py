"""Virtual datasets, which consist of parts of other datasets; these must be in the same file.

After the format specification, section IV.A.2.i (the virtual layout) and VII
("virtual dataset global heap block"), ``H5Dvirtual.c`` of 1.10 to 2.0 (names that
are stated once, ``%b`` in a name, which extents an endless mapping makes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from persist._wire.hdf5.cursor import Fields, Frame
from persist._wire.hdf5.dataset import Dataset, Space
from persist._wire.hdf5.selections import Axis, Selection, read_selection
from persist._wire.hdf5.values import heap_of
from persist.tree import LazyArray
from persist.typing import DType

__all__ = ["Mapping", "VirtualDataset", "grown", "read_mappings"]

Array = np.ndarray[Any, Any]
Find = Callable[[str], Dataset | None]

_SHOWN = 16  # virtual datasets that show one another
# What laying one part costs in addition to its elements; twice as much at each level of virtual
# datasets that show one another, since two parts at each level are 2**16 at the sixteenth.
_PART = 512
_FILE_SHARED, _DATASET_SHARED, _SAME_FILE = 1, 2, 4


@attrs.frozen
class Mapping:
    """One mapping: which elements of which dataset are shown where.

    Attributes:
        name: path of the dataset; ``%b`` is the number of a block.
        source: its elements.
        target: their place in the virtual dataset.
    """

    name: str
    source: Selection
    target: Selection

    @property
    def is_numbered(self) -> bool:
        """Whether every block comes from a dataset of its own."""
        return len(_pieces(self.name)) > 1 and self.target.endless is not None

    def path(self, number: int = 0) -> str:
        """Return the path of the dataset for a block."""
        return str(number).join(_pieces(self.name))


def _pieces(name: str) -> list[str]:
    """A name around its ``%b``; ``%%`` is one percent sign."""
    pieces = [piece.replace("%b", "\0") for piece in name.split("%%")]
    return "%".join(pieces).split("\0")


def read_mappings(
    frame: Frame, address: int | None, index: int, rank: int, where: str
) -> list[Mapping]:
    """Return the parts of a virtual dataset of so many axes.

    Raises:
        FormatError: one of them is in another file.
    """
    if address is None:
        return []
    data = heap_of(frame).get(address, index)
    fields = Fields(frame, data, address, f"the parts of {where}")
    frame.check(data, fields)
    fields.end -= 4
    version, count = fields.version(0, 1), fields.length()
    found: list[Mapping] = []
    for _ in range(count):
        frame.work()
        flags = fields.byte() if version else 0
        if flags & _SAME_FILE:
            file = "."
        elif flags & _FILE_SHARED:
            _earlier(fields, found)
            file = "."
        else:
            file = fields.name()
        if file != ".":
            frame.refuse(
                f"it is a virtual dataset, put together of parts in other files ({file!r}).",
                where,
                "A file that names others can read whatever its reader may. Open those files "
                "themselves, or open with salvage=True, which leaves this out.",
            )
        name = _earlier(fields, found).name if flags & _DATASET_SHARED else fields.name()
        found.append(Mapping(name, read_selection(fields), read_selection(fields)))
        target = found[-1].target
        if target.rank not in (None, rank):
            fields.damaged(f"a part of {target.rank} axes does not fit into {rank}")
    return found


def _earlier(fields: Fields, found: list[Mapping]) -> Mapping:
    number = fields.length()
    if number >= len(found):
        fields.damaged(f"a name is that of part {number:,}, but only {len(found):,} came before")
    return found[number]


def grown(space: Space, mappings: list[Mapping], find: Find) -> Space:
    """Return the extents of a virtual dataset: endless parts reach as far as what they show."""
    if all(mapping.target.endless is None for mapping in mappings):
        return space
    needed = [0] * len(space.extents)
    for mapping in mappings:
        axes = mapping.target.as_axes(space.extents)
        if axes is None:
            continue
        for number, axis in enumerate(axes):
            if not axis.is_endless:
                size = (axis.count or 0) * (axis.block or 0)
            else:
                size = sum(
                    len(range(first, last)) for _, first, last in _parts(mapping, space, find)
                )
            needed[number] = max(needed[number], axis.end(size))
    endless = {mapping.target.endless for mapping in mappings}
    extents = tuple(
        needed[number] if number in endless else extent
        for number, extent in enumerate(space.extents)
    )
    return attrs.evolve(space, extents=extents)


def _parts(mapping: Mapping, space: Space, find: Find) -> Iterator[tuple[Dataset, int, int]]:
    """The datasets of an endless part, and which of the elements on its endless axis are theirs."""
    number = mapping.target.endless
    assert number is not None
    axis = mapping.target.axes[number]
    if mapping.is_numbered and axis.block is not None:
        block = 0
        while (dataset := find(mapping.path(block))) is not None:
            dataset.frame.work()
            yield dataset, block * axis.block, (block + 1) * axis.block
            block += 1
        return
    found = find(mapping.path())
    if found is None:
        return
    others = math.prod(
        one.within(extent)
        for place, (one, extent) in enumerate(zip(mapping.target.axes, space.extents, strict=True))
        if place != number
    )
    axes = mapping.source.as_axes(found.extents)
    if axes is None or len(axes) != len(found.extents) or not others:
        return
    held = math.prod(one.within(extent) for one, extent in zip(axes, found.extents, strict=True))
    yield found, 0, held // others


class VirtualDataset(Dataset):
    """A dataset whose elements are stored in other datasets.

    Args:
        mappings: its parts.
        find: gives the dataset at a path, None where there is none.
        rest: the arguments of `Dataset`.
    """

    def __init__(self, mappings: list[Mapping], find: Find, *rest: Any) -> None:
        super().__init__(*rest)
        self.mappings = mappings
        self.find = find

    def _raw_rows(self, start: int, stop: int) -> Array:
        raise NotImplementedError  # there are none: `_given` puts together what is given

    def _given(self, start: int, stop: int) -> Array:
        shape = (stop - start, *self.shape[1:]) if self.extents else self.shape
        made = self._filled(shape)
        known = self.frame.known
        depth = known.get("virtual reads", 0)
        if depth >= _SHOWN:
            self.frame.damaged(f"virtual datasets show one another {depth} deep", self.where)
        known["virtual reads"] = depth + 1
        try:
            for mapping in self.mappings:
                for dataset, source, target in self._placed(mapping):
                    self.frame.spend(_PART << depth)
                    self._lay(made, dataset, source, target, start, stop)
        finally:
            known["virtual reads"] = depth
        return made

    def _filled(self, shape: tuple[int, ...]) -> Array:
        made: Array = np.zeros(shape, self.type.dtype)
        fill = np.frombuffer(self.fill or bytes(self.type.size), self.type.raw)
        made[...] = self.type.given(fill.reshape(self.type.shape), self.frame)
        return made

    def _placed(self, mapping: Mapping) -> Iterator[tuple[Dataset, Selection, Selection]]:
        """The datasets of a part, each with its selection and the place of that selection."""
        number = mapping.target.endless
        if number is None:
            dataset = self.find(mapping.path())
            if dataset is not None:  # what is not there leaves the fill value
                yield dataset, mapping.source, mapping.target
            return
        space = Space(self.extents, self.extents)
        axis = mapping.target.axes[number]
        for dataset, first, last in _parts(mapping, space, self.find):
            here = Axis(axis.start, axis.stride, 1, last - first)
            if axis.block is not None and first:
                here = attrs.evolve(here, start=axis.end(first + 1) - 1)
            elif axis.block is not None and last > axis.block:
                blocks, rest = divmod(last, axis.block)
                if rest:
                    self.frame.refuse(
                        f"its part {mapping.name!r} ends within a block, which is not put "
                        "together here.",
                        self.where,
                        "Read the datasets that it shows; they are in this file.",
                    )
                here = attrs.evolve(axis, count=blocks)
            if last > first:
                axes = (*mapping.target.axes[:number], here, *mapping.target.axes[number + 1 :])
                yield dataset, mapping.source, Selection("axes", axes)

    def _lay(
        self, made: Array, dataset: Dataset, source: Selection, target: Selection,
        start: int, stop: int,
    ) -> None:  # fmt: skip
        """Lay the elements of one dataset into the rows from ``start`` to ``stop``."""
        if dataset.type.shape != self.type.shape or not self._casts(dataset.type.dtype):
            self.frame.refuse(
                f"its part {dataset.where} is of another type ({dataset.type.dtype}, "
                f"not {self.type.dtype}).",
                self.where,
                "Read that dataset itself.",
            )
        box, place = _boxes(source, dataset.extents), _boxes(target, self.extents)
        if box is not None and place is not None and self._lay_box(
            made, dataset, box, place, start, stop
        ):  # fmt: skip
            return
        self.frame.spend(16 * (math.prod(dataset.extents) + math.prod(self.extents)))
        try:
            theirs, ours = source.flat(dataset.extents), target.flat(self.extents)
        except (IndexError, ValueError):
            self.frame.damaged(f"a selection of its part {dataset.where} lies outside", self.where)
        if len(theirs) != len(ours):
            self._unequal(dataset, len(theirs), len(ours))
        row = math.prod(self.extents[1:])
        first, last = (start * row, stop * row) if self.extents else (0, 1)
        wanted = (ours >= first) & (ours < last)
        if wanted.any():
            values = np.asarray(dataset.array()).reshape(-1, *self.type.shape)
            flat = made.reshape(-1, *self.type.shape)
            flat[ours[wanted] - first] = values[theirs[wanted]]

    def _lay_box(
        self, made: Array, dataset: Dataset, source: list[slice], target: list[slice],
        start: int, stop: int,
    ) -> bool:  # fmt: skip
        """The same for what is evenly apart on every axis: no list of elements is made."""
        theirs, ours = [[_count(part) for part in box] for box in (source, target)]
        if math.prod(theirs) != math.prod(ours):
            self._unequal(dataset, math.prod(theirs), math.prod(ours))
        if not math.prod(ours):
            return True
        if [size for size in theirs if size > 1] != [size for size in ours if size > 1]:
            return False
        if not target:
            made[...] = np.asarray(dataset.array())[tuple(source)].reshape(made.shape)
            return True
        head, step = target[0], target[0].step or 1
        before = max(0, -(-(start - head.start) // step))
        after = min(ours[0], -(-(stop - head.start) // step))
        if before >= after:
            return True
        begin = head.start + before * step - start
        target = [slice(begin, begin + (after - before - 1) * step + 1, step), *target[1:]]
        if ours[0] > 1:  # the first axis of more than one element is the rows of both
            lead = next(number for number, size in enumerate(theirs) if size > 1)
            part, pace = source[lead], source[lead].step or 1
            first = part.start + before * pace
            source = list(source)
            source[lead] = slice(first, first + (after - before - 1) * pace + 1, pace)
        shape = tuple(_count(part) for part in target)
        made[tuple(target)] = _taken(dataset, source).reshape(*shape, *self.type.shape)
        return True

    def _casts(self, dtype: DType) -> bool:
        mine = self.type.dtype
        return dtype == mine or (dtype.kind in "biufc" and mine.kind in "biufc") or (
            dtype.kind == mine.kind and dtype.kind in "SU"
        )  # fmt: skip

    def _unequal(self, dataset: Dataset, theirs: int, ours: int) -> None:
        self.frame.damaged(
            f"{theirs:,} elements of {dataset.where} are mapped to {ours:,} places", self.where
        )


def _boxes(selection: Selection, extents: tuple[int, ...]) -> list[slice] | None:
    """A selection as slices, where it is evenly apart and within the extents."""
    axes = selection.as_axes(extents)
    if axes is None or len(axes) != len(extents):
        return None
    found = []
    for axis, extent in zip(axes, extents, strict=True):
        size = axis.within(extent)
        if not axis.is_endless and size < (axis.count or 0) * (axis.block or 0):
            return None
        part = axis.positions(size)
        if not isinstance(part, slice):
            return None
        found.append(part)
    return found


def _count(part: slice) -> int:
    return len(range(part.start, part.stop, part.step or 1))


def _taken(dataset: Dataset, source: list[slice]) -> Array:
    """Elements of a dataset; of its rows only those between the first and the last."""
    array = dataset.array()
    if not source:
        return np.asarray(array)
    rows, *rest = source
    if isinstance(array, LazyArray):
        some = np.asarray(array[rows.start : rows.stop])
        return some[(slice(None, None, rows.step), *rest)]
    return array[tuple(source)]
