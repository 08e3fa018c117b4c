"""Tensors that a checkpoint keeps in parts: where each part lies, and the key it goes by.

Sources: TensorFlow's ``core/framework/tensor_slice.cc`` (an extent without a
length is the whole dimension), ``core/util/saved_tensor_slice_util.cc``
(``EncodeTensorNameSlice``) and ``core/lib/strings/ordered_code.cc`` (numbers and
texts as bytes that sort as they do).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import attrs
import numpy as np

from persist._wire.base.source import Source
from persist._wire.messages.protobuf import Message
from persist.errors import DamagedFileError
from persist.tree import LazyArray
from persist.typing import Array, DType

__all__ = ["Part", "box_of", "extents_of", "joined", "shape_in", "shown", "slice_key"]

Extents = tuple[tuple[int, int], ...]  # (start, length) a dimension; length -1: all of it
Box = tuple[tuple[int, int], ...]  # (start, stop) a dimension

_FULL = -1
_ESCAPED = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}
_PAIRS = 1500  # up to so many parts, each is held against each other for overlaps


def extents_of(message: Message) -> Extents:
    """Return the extents of a ``TensorSliceProto``."""
    return tuple(
        (extent.integer("start"), extent.integer("length") if extent.has("length") else _FULL)
        for extent in message.messages("extent")
    )


def box_of(extents: Extents, shape: tuple[int, ...], source: Source, where: str) -> Box:
    """Return from where to where a part reaches in a tensor of that shape.

    Raises:
        DamagedFileError: it has other dimensions, or reaches out.
    """
    box = tuple(
        (start, size if length == _FULL else start + length)
        for (start, length), size in zip(extents, shape, strict=False)
    )
    if len(extents) != len(shape) or any(
        not 0 <= start <= stop <= size for (start, stop), size in zip(box, shape, strict=True)
    ):
        raise DamagedFileError(
            f"its part {shown(extents)} lies outside of its shape {list(shape)}.",
            file=source.name,
            where=where,
            remedy="The file is damaged.",
        )
    return box


def shape_in(box: Box) -> tuple[int, ...]:
    """Return the shape of a part."""
    return tuple(stop - start for start, stop in box)


def shown(extents: Extents) -> str:
    """Return extents as TensorFlow writes them: ``0,3:-`` (start,length; ``-``: all)."""
    return ":".join("-" if length == _FULL else f"{start},{length}" for start, length in extents)


def slice_key(name: bytes, extents: Extents) -> bytes:
    """Return the key under which the table keeps a part of a tensor."""
    parts = [_number(0), _text(name), _number(len(extents))]
    for start, length in extents:
        parts += [_signed(start), _signed(length)]
    return b"".join(parts)


def _number(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((len(data),)) + data


def _text(value: bytes) -> bytes:
    """Text: 00 and FF are escaped, and 00 01 ends it."""
    return b"".join(_ESCAPED.get(byte, bytes((byte,))) for byte in value) + b"\x00\x01"


def _signed(value: int) -> bytes:
    """Signed: as many leading ones as there are bytes, then two's complement, the sign turned."""
    magnitude = ~value if value < 0 else value
    length = magnitude.bit_length() // 7 + 1
    if length == 1:
        return bytes(((value & 0xFF) ^ 0x80,))
    data = bytearray((value & (1 << 80) - 1).to_bytes(10, "big")[10 - length :])
    header = ((1 << length) - 1) << (16 - length)
    data[0] ^= header >> 8
    data[1] ^= header & 0xFF
    return bytes(data)


@attrs.frozen
class Part:
    """One part of a tensor: where it lies, how all of it is read, and how some of its rows are."""

    box: Box
    read: Callable[[], Array]
    rows: Callable[[int, int], Array] | None = None


def joined(
    name: str,
    dtype: DType,
    shape: tuple[int, ...],
    parts: Sequence[Part],
    source: Source,
) -> LazyArray:
    """Return the tensor that the parts make, put together when it is asked for.

    Raises:
        DamagedFileError: they overlap, or leave a hole.
    """
    where = f"tensor {name!r}"
    if len(parts) == 1 and shape_in(parts[0].box) == shape:
        return LazyArray(dtype, shape, parts[0].read, parts[0].rows)
    _check(shape, parts, source, where)

    def fetch() -> Array:
        source.spend(math.prod(shape) * dtype.itemsize)
        whole = np.empty(shape, dtype)
        for part in parts:
            whole[tuple(slice(*span) for span in part.box)] = part.read()
        return whole

    def rows(start: int, stop: int) -> Array:
        source.spend((stop - start) * math.prod(shape[1:]) * dtype.itemsize)
        some = np.empty((stop - start, *shape[1:]), dtype)
        for part in parts:
            first, last = part.box[0]
            low, high = max(start, first), min(stop, last)
            if low >= high:
                continue
            if part.rows is not None:
                piece = part.rows(low - first, high - first)
            else:
                piece = part.read()[low - first : high - first]
            spans = [slice(low - start, high - start)]
            some[tuple(spans + [slice(*span) for span in part.box[1:]])] = piece
        return some

    return LazyArray(dtype, shape, fetch, rows if shape else None)


def _check(shape: tuple[int, ...], parts: Sequence[Part], source: Source, where: str) -> None:
    held = sum(math.prod(shape_in(part.box)) for part in parts)
    whole = math.prod(shape)
    what = ""
    if held < whole:
        what = f"its {len(parts):,} parts hold {held:,} values of {whole:,}: one is missing."
    elif held > whole or _overlap(shape, parts, source):
        what = f"its {len(parts):,} parts overlap ({held:,} values for {whole:,})."
    if what:
        raise DamagedFileError(what, file=source.name, where=where, remedy="The file is damaged.")


def _overlap(shape: tuple[int, ...], parts: Sequence[Part], source: Source) -> bool:
    """Whether two parts share a value."""
    boxes = [part.box for part in parts if all(start < stop for start, stop in part.box)]
    if len(boxes) > _PAIRS:  # many parts are cut along one dimension
        for axis in range(len(shape)):
            spans = sorted(box[axis] for box in boxes)
            if all(before[1] <= after[0] for before, after in itertools.pairwise(spans)):
                return False
        source.spend(math.prod(shape))
        taken = np.zeros(shape, bool)
        for box in boxes:
            taken[tuple(slice(*span) for span in box)] = True
        return not taken.all()
    if not boxes or not shape:
        return len(boxes) > 1
    bounds = np.array(boxes, np.int64)  # part, dimension, (start, stop)
    starts, stops = bounds[:, :, 0], bounds[:, :, 1]
    for index in range(len(boxes) - 1):
        rest = slice(index + 1, None)
        meets = (starts[index] < stops[rest]) & (starts[rest] < stops[index])
        if meets.all(axis=1).any():
            return True
    return False
