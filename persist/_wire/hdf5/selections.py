"""Which elements of an HDF5 dataset a virtual one shows: selections by axes or by blocks.

After the format specification, section VIII (versions 1 to 3 of the encoding of
hyperslabs) and ``H5Shyper.c``: type, version, then start, stride, count and block
of each axis, or the first and last corners of each block. A count or block without
end reaches as far as the dataset does. Points are in no virtual dataset.
"""

from __future__ import annotations

import math

import attrs
import numpy as np

from persist._wire.hdf5.cursor import Fields

__all__ = ["Axis", "Selection", "read_selection"]

_RANK = 32
_NONE, _HYPERSLABS, _ALL = 0, 2, 3

Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@attrs.frozen
class Axis:
    """Blocks along one axis; ``count`` or ``block`` is None where there is no end.

    Attributes:
        start: where the first block begins.
        stride: from the beginning of a block to that of the next.
        count: of blocks.
        block: elements of a block.
    """

    start: int
    stride: int
    count: int | None
    block: int | None

    @property
    def is_endless(self) -> bool:
        """Whether it reaches as far as the dataset does."""
        return self.count is None or self.block is None

    def within(self, extent: int) -> int:
        """Return the number of selected elements before ``extent``."""
        if self.start >= extent:
            return 0
        room = extent - self.start
        if self.block is None:
            return room
        whole, rest = divmod(room, self.stride)
        if self.count is not None and whole >= self.count:
            return self.count * self.block
        return whole * self.block + min(rest, self.block)

    def end(self, size: int) -> int:
        """Return the extent that the first ``size`` elements need."""
        if not size:
            return 0
        if self.block is None:
            return self.start + size
        whole, rest = divmod(size - 1, self.block)
        return self.start + whole * self.stride + rest + 1

    def positions(self, size: int) -> slice | Indices:
        """Return the positions of the first ``size`` elements; a slice if they are evenly spaced."""
        block = size if self.block is None else self.block
        if size <= block or block == self.stride:
            return slice(self.start, self.start + size)
        if block == 1:
            return slice(self.start, self.start + (size - 1) * self.stride + 1, self.stride)
        numbers = np.arange(size, dtype=np.int64)
        return self.start + numbers // block * self.stride + numbers % block


@attrs.frozen
class Selection:
    """Elements of a dataspace, in an order.

    Attributes:
        kind: "none", "all", "axes" (the same on every line) or "blocks".
        axes: of "axes".
        corners: of "blocks" the first and last corner of each.
    """

    kind: str
    axes: tuple[Axis, ...] = ()
    corners: Indices | None = None

    @property
    def rank(self) -> int | None:
        """How many axes it has; None where it has as many as the dataset."""
        if self.corners is not None:
            return int(self.corners.shape[-1])
        return len(self.axes) if self.kind == "axes" else None

    @property
    def endless(self) -> int | None:
        """The axis without end; None where every one has an end."""
        return next((number for number, axis in enumerate(self.axes) if axis.is_endless), None)

    def as_axes(self, extents: tuple[int, ...]) -> tuple[Axis, ...] | None:
        """Return it by axes, where it is so."""
        if self.kind == "all":
            return tuple(Axis(0, 1, 1, extent) for extent in extents)
        return self.axes if self.kind == "axes" else None

    def flat(self, extents: tuple[int, ...]) -> Indices:
        """Return the places of its elements in the flattened dataset.

        Raises:
            IndexError: one lies outside of the extents.
        """
        if self.kind == "none":
            return np.zeros(0, np.int64)
        axes = self.as_axes(extents)
        if axes is not None:
            places = np.zeros(1, np.int64)
            for axis, extent in zip(axes, extents, strict=True):
                size = axis.within(extent)
                if not axis.is_endless and size < (axis.count or 0) * (axis.block or 0):
                    raise IndexError
                here = axis.positions(size)
                steps = np.arange(extent)[here] if isinstance(here, slice) else here
                places = (places[:, None] * extent + steps).reshape(-1)
            return places
        corners = self.corners
        assert corners is not None
        meant = np.zeros(extents, bool)
        for first, last in corners.tolist():
            if any(end >= extent for end, extent in zip(last, extents, strict=True)):
                raise IndexError
            meant[tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))] = True
        return np.flatnonzero(meant)


def read_selection(fields: Fields) -> Selection:
    """Read a selection.

    Raises:
        DamagedFileError: there is no such type or version, or it takes more than is there.
    """
    kind, version = fields.number(4), fields.number(4)
    if kind in (_NONE, _ALL):
        fields.skip(8)
        return Selection("none" if kind == _NONE else "all")
    if kind == _HYPERSLABS and version in (1, 2, 3):
        return _hyperslabs(fields, version)
    return fields.damaged(f"there is no selection {kind} of version {version}")


def _hyperslabs(fields: Fields, version: int) -> Selection:
    is_regular, width = False, 4
    if version == 1:
        fields.skip(8)
    else:
        is_regular = bool(fields.byte() & 1)
        if version == 2:
            fields.skip(4)
            width = 8
        else:
            width = _width(fields)
    rank = _rank(fields)
    if is_regular:
        return Selection("axes", tuple(_axis(fields, width) for _ in range(rank)))
    count = fields.number(width)
    return Selection("blocks", corners=_blocks(fields, count, rank, width))


def _width(fields: Fields) -> int:
    width = fields.byte()
    if width not in (2, 4, 8):
        fields.damaged(f"numbers of {width} bytes cannot be")
    return width


def _rank(fields: Fields) -> int:
    rank = fields.number(4)
    if not 0 < rank <= _RANK:
        fields.damaged(f"{rank:,} axes are claimed, there are {_RANK} at most")
    return rank


def _axis(fields: Fields, width: int) -> Axis:
    endless = (1 << 8 * width) - 1
    start, stride, count, block = (fields.number(width) for _ in range(4))
    found = Axis(
        start, stride, None if count == endless else count, None if block == endless else block
    )
    is_sole = found.count == 1
    if not stride or found.count == 0 or found.block == 0 or (
        not is_sole and (found.block is None or stride < found.block)
    ):  # fmt: skip
        fields.damaged(f"blocks of {block:,} every {stride:,} cannot be")
    return found


def _blocks(fields: Fields, count: int, rank: int, width: int) -> Indices:
    corners = _numbers(fields, (count, 2, rank), width)
    if (corners[:, 0] > corners[:, 1]).any():
        fields.damaged("a block of it ends before it begins")
    return corners


def _numbers(fields: Fields, shape: tuple[int, ...], width: int) -> Indices:
    count = math.prod(shape)
    fields.frame.work(count)
    data = fields.view(count * width)
    found = np.frombuffer(data, f"<u{width}", count)
    if width == 8 and (found >= 1 << 62).any():
        fields.damaged("a coordinate of it is beyond any dataset")
    return found.astype(np.int64).reshape(shape)
