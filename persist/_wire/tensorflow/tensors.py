"""Tensors as graphs and checkpoints spell them, as NumPy arrays.

Sources: TensorFlow's ``core/framework/tensor.proto`` and ``tensor.cc``
(``FromProtoField``, ``Tensor::FromProto``): either the raw bytes in
``tensor_content``, or values in the field of the type, where fewer values than
the shape wants let the last one fill the rest, and none give zeros. Types of
less than 32 bits share ``int_val``; half and bfloat16 are their bits in
``half_val``; complex numbers are pairs. int4 and int2 take a byte each.

Types that NumPy does not have come from ``ml_dtypes``; without it their values are
encoded (`persist._wire.base.ml_dtypes`).
"""

from __future__ import annotations

import math

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.ml_dtypes import decodable, extended, missing_name
from persist._wire.base.source import Source
from persist._wire.messages.protobuf import Message
from persist._wire.tensorflow.schemas import dtype_name, shape_of
from persist.errors import DamagedFileError, LimitError
from persist.tree import LazyArray
from persist.typing import Array, DType

__all__ = ["dtype_of", "fill", "lengths_of", "shape_checked", "strings", "tensor"]

_BEYOND = ("bfloat16", "int4", "uint4", "int2", "uint2")
_FLOAT8 = (
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
)
_QUANTIZED = {"qint8": "int8", "quint8": "uint8", "qint16": "int16", "quint16": "uint16",
              "qint32": "int32"}  # fmt: skip
_OBJECTS = ("string", "variant", "resource")
_PLAIN = frozenset(
    ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
     "uint32", "uint64", "complex64", "complex128", "bool")
)  # fmt: skip

# dtype's name -> the field of its values.
_FIELDS = {
    "float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val",
    "complex64": "scomplex_val", "complex128": "dcomplex_val", "float16": "half_val",
    "bfloat16": "half_val", "uint32": "uint32_val", "uint64": "uint64_val",
    **dict.fromkeys(_FLOAT8, "float8_val"),
}  # fmt: skip


def dtype_of(number: int) -> DType | None:
    """Return the NumPy dtype of a data type (object for strings), None of an unknown one."""
    name = dtype_name(number)
    if name in _OBJECTS:
        return np.dtype(object)
    if name in _PLAIN:
        return from_text(name)
    if name in _QUANTIZED:
        return np.dtype(_QUANTIZED[name])
    if name not in _BEYOND and name not in _FLOAT8:
        return None
    return extended(name)


def shape_checked(extents: list[int] | None, source: Source, where: str) -> tuple[int, ...]:
    """Return the shape of a tensor that is there.

    Raises:
        DamagedFileError: an extent is open, there are too many, or their product is no size.
    """
    if extents is None or any(extent < 0 for extent in extents) or len(extents) > 32:
        raise _damaged(f"its shape {extents} is none that a tensor can have.", source, where)
    if math.prod(extent for extent in extents if extent) >= 1 << 62:
        raise _damaged(f"its shape {extents} is beyond any memory.", source, where)
    return tuple(extents)


def fill(
    values: Array,
    shape: tuple[int, ...],
    source: Source,
    where: str,
    *,
    is_counted: bool = False,
) -> Array:
    """Give values the shape; where they are fewer, the last one fills the rest.

    Args:
        values: one axis.
        shape: what it becomes.
        source: whose limits count the bytes that are made.
        where: what it is, for errors.
        is_counted: the bytes were counted when the same array was made before.

    Raises:
        LimitError: what is repeated would take more than the source's limits allow.
    """
    count = math.prod(shape)
    if len(values) == count:
        return values.reshape(shape)
    if len(values) > count:  # the framework takes as many as it wants, too
        return values[:count].reshape(shape)
    most = source.limits.total_for(source.size)
    if count * values.dtype.itemsize > most:
        raise LimitError(
            f"repeated to its shape {list(shape)}, a value would take more than {most:,} bytes.",
            file=source.name,
            where=where,
            remedy='If the file is honest, raise limits={"total": ...}.',
        )
    last = values[-1:] if len(values) else np.zeros(1, values.dtype)
    # Whoever uses the array makes all of it, so that one value repeated counts as many.
    if not is_counted:
        source.spend(count * values.dtype.itemsize)
    if len(values) <= 1:
        return _spread(last, shape, source, where)
    whole = np.empty(count, values.dtype)
    whole[: len(values)] = values
    whole[len(values) :] = last
    return whole.reshape(shape)


def _spread(value: Array, shape: tuple[int, ...], source: Source, where: str) -> Array:
    """One value everywhere, without taking memory for it."""
    if not shape:
        return value.reshape(())
    try:
        return np.broadcast_to(value, shape)
    except ValueError as error:
        raise _damaged(f"its shape {list(shape)} cannot be: {error}.", source, where) from error


def tensor(
    message: Message,
    where: str,
    number: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> LazyArray | Array | None:
    """Return a tensor of a graph or a table, or None of a type that holds no values.

    Args:
        message: a ``TensorProto``.
        where: what it is, for errors.
        number: its data type, where another place states it.
        shape: its shape, where another place states it.

    Raises:
        DamagedFileError: its shape, type or values do not fit together.
    """
    source = message.source
    number = message.integer("dtype") if number is None else number
    dtype = dtype_of(number)
    if shape is None:
        shape = shape_checked(shape_of(message.message("tensor_shape")), source, where)
    if dtype is None or dtype_name(number) == "resource":
        return None
    size = math.prod(shape)
    content = message.data("tensor_content")
    if dtype.hasobject:
        return _objects(message, number, content, shape, where)
    if len(content):
        if len(content) != size * dtype.itemsize:
            raise _damaged(
                f"it holds {len(content):,} bytes, its shape {list(shape)} of "
                f"{dtype_name(number)} takes {size * dtype.itemsize:,}.",
                source,
                where,
            )
        flat = np.frombuffer(content, dtype.newbyteorder("<"))
        return decodable(flat.reshape(shape), where)  # type: ignore[no-any-return]
    is_counted = False

    def fetch() -> Array:
        nonlocal is_counted
        values = _values(message, number, dtype, where)
        made = fill(values, shape, source, where, is_counted=is_counted)
        is_counted = True
        return made

    return decodable(LazyArray(dtype, shape, fetch), where)  # type: ignore[no-any-return]


def _values(message: Message, number: int, dtype: DType, where: str) -> Array:
    """The values of the type's own field."""
    name = dtype_name(number)
    field = _FIELDS.get(name, "int_val")
    if field == "float8_val":
        bits: Array = np.frombuffer(message.data(field), np.uint8).view(dtype)
        return bits
    kind = message.schema.fields[field][1]
    if kind in ("float", "double"):
        values = message.floats(field)
        if dtype.kind == "c":
            if len(values) % 2:
                raise _damaged(
                    f"it holds {len(values):,} numbers, which make no complex pairs.",
                    message.source,
                    where,
                )
            return values.view(dtype)
        return values
    integers = message.integers(field)
    if field == "half_val":
        halves: Array = integers.astype(np.uint16).view(dtype)
        return halves
    if name in ("int4", "uint4", "int2", "uint2"):
        if missing_name(dtype):
            codes: Array = integers.astype(np.int8).view(dtype)
            return codes
        return (
            integers.astype(np.int8).astype(dtype) if dtype.kind == "V" else integers.astype(dtype)
        )
    if dtype.kind == "b":
        truths: Array = np.not_equal(integers, 0)
        return truths
    return integers.astype(dtype)


def _objects(
    message: Message, number: int, content: memoryview, shape: tuple[int, ...], where: str
) -> LazyArray:
    name = dtype_name(number)
    source = message.source

    def fetch() -> Array:
        if len(content):
            blobs = _split(content, math.prod(shape), source, where)
        else:
            field = "string_val" if name == "string" else "variant_val"
            blobs = message.blobs(field)
        return strings(blobs, shape, source, where)

    return LazyArray(np.dtype(object), shape, fetch)


def _split(content: memoryview, count: int, source: Source, where: str) -> list[memoryview]:
    """Strings in ``tensor_content``: their lengths as varints, then their bytes."""
    lengths, position = lengths_of(content, count, source, where)
    blobs = []
    for length in lengths:
        blobs.append(content[position : position + length])
        position += length
    if position != len(content):
        raise _damaged(
            f"its strings take {position:,} bytes, {len(content):,} are there.", source, where
        )
    return blobs


def lengths_of(
    content: memoryview, count: int, source: Source, where: str
) -> tuple[list[int], int]:
    """``count`` varints, and where they end."""
    if count > len(content):
        raise _damaged(
            f"{count:,} strings are claimed, {len(content):,} bytes are there.", source, where
        )
    source.spend(64 * count)
    lengths, position, end = [], 0, len(content)
    for _ in range(count):
        value = shift = 0
        while True:
            if position >= end or shift > 63:
                raise _damaged("the length of a string has no end.", source, where)
            byte = content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(value)
    return lengths, position


def strings(blobs: list[memoryview], shape: tuple[int, ...], source: Source, where: str) -> Array:
    """Return byte strings as an array of ``bytes`` objects (a NumPy ``S`` would strip NULs)."""
    count = math.prod(shape)
    source.spend(sum(len(blob) for blob in blobs) + 8 * max(count, len(blobs)))
    values = np.empty(len(blobs), object)
    for index, blob in enumerate(blobs):
        values[index] = bytes(blob)
    if not blobs and count:
        values = np.array([b""], object)
    return fill(values, shape, source, where)


def _damaged(what: str, source: Source, where: str) -> DamagedFileError:
    return DamagedFileError(
        what, file=source.name, where=where, remedy="The file is truncated or damaged."
    )
