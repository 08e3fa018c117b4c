"""Lists of NDArrays, and one NDArray alone: the binary form of all its generations.

Sources: MXNet's ``src/ndarray/ndarray.cc`` (``NDArray::Save``, ``Load``,
``LegacyLoad``, ``kMXAPINDArrayListMagic``), ``include/mxnet/tuple.h``
(``TShape::Save``), ``3rdparty/mshadow/mshadow/base.h`` (type flags), of 0.5 to
2.0. All is little-endian:

- a list: u64 0x112, u64 0, u64 count, the arrays, u64 count of names (0 or as
  many), each u64 length and text;
- an array without magic (V0): u32 dimensions, u32 each, then as V1;
- V1: u32 magic, i32 dimensions, i64 each, device (i32 type, i32 number), i32
  type flag, data;
- V2: u32 magic, i32 storage (0 dense, 1 rows, 2 CSR), of a sparse one the shape
  of its data, shape, device, type flag, of a sparse one type flag and shape of
  each index, data, indices;
- V3: as V2, dense, with NumPy's shapes: no dimensions is a scalar, an extent of
  0 is empty, and -1 is unknown.

A shape without dimensions before V3, or an unknown one in V3, is an array that
was never filled: nothing follows it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from persist._wire.base.ml_dtypes import decodable, dtype_name, encoded, extended
from persist._wire.base.source import Cursor, Source
from persist.errors import DamagedFileError, FormatError
from persist.tree import LazyArray, Record
from persist.typing import Array, DType

__all__ = ["LIST_MAGIC", "read_array", "read_list", "write_list"]

LIST_MAGIC = b"\x12\x01" + bytes(14)

_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE, _ROWS, _CSR = 0, 1, 2
_AUX = {_DENSE: 0, _ROWS: 1, _CSR: 2}
_DTYPES = ("f4", "f8", "f2", "u1", "i4", "i1", "i8", "?", "i2", "u2", "u4", "u8")
_KINDS = tuple(np.dtype(kind).newbyteorder("<") for kind in _DTYPES)
_BFLOAT16 = 12
_MOST_DIMENSIONS = 32
_CLASSES = {
    _ROWS: "mxnet.ndarray.sparse.RowSparseNDArray",
    _CSR: "mxnet.ndarray.sparse.CSRNDArray",
}


def read_list(cursor: Cursor) -> tuple[list[object], list[str]]:
    """Return the arrays of a file, and their names (none of a plain list).

    Raises:
        DamagedFileError: it is truncated, or counts and shapes do not fit.
    """
    magic = cursor.read(16)
    if magic != LIST_MAGIC:
        raise cursor.damaged(f"a list of arrays begins with {LIST_MAGIC.hex()}, not {magic.hex()}.")
    count = cursor.count(cursor.u64(), 4, "arrays")
    arrays = [read_array(cursor, f"array {number}") for number in range(count)]
    named = cursor.count(cursor.u64(), 8, "names")
    if named not in (0, count):
        raise cursor.damaged(f"{named:,} names are given to {count:,} arrays.", _CURE)
    names = []
    for _ in range(named):
        length = cursor.count(cursor.u64(), 1, "bytes of a name")
        names.append(cursor.read(length).decode("utf-8", "backslashreplace"))
    return arrays, names


_CURE = "The file is truncated or damaged."


def read_array(cursor: Cursor, what: str = "the array") -> object:
    """Return the array that comes next: None if it was never filled, a `Record` if it is sparse.

    The record is of MXNet's class, and holds ``dense`` (made when it is asked
    for) in addition to ``data`` and the indices as stored.

    Raises:
        DamagedFileError: it is truncated, or its shape or type cannot be.
    """
    magic = cursor.u32()
    storage = _DENSE
    stored: tuple[int, ...] = ()
    if magic in (_V2, _V3):
        storage = cursor.i32()
        if storage not in _AUX or (magic == _V3 and storage != _DENSE):
            raise cursor.damaged(f"{what} claims storage {storage}; 0, 1 and 2 are known.", _CURE)
        if storage != _DENSE:
            stored = _shape(cursor, what) or ()
        shape = _shape(cursor, what)
    elif magic == _V1:
        shape = _shape(cursor, what)
    else:
        shape = _legacy_shape(cursor, magic, what)
    if shape is None or (not shape and magic != _V3):
        return None
    cursor.view(8)  # the device that it was on
    dtype = _dtype(cursor, what)
    if storage == _DENSE:
        return decodable(cursor.array(dtype, shape), what)
    aux = [(_dtype(cursor, what), _shape(cursor, what) or ()) for _ in range(_AUX[storage])]
    data = decodable(cursor.array(dtype, stored), what)
    indices = [cursor.array(*part) for part in aux]
    return _sparse(storage, shape, data, indices, cursor.source, what)


def _shape(cursor: Cursor, what: str) -> tuple[int, ...] | None:
    """Extents of 64 bits; None where they are unknown."""
    count = cursor.i32()
    if count == -1:
        return None
    if not 0 <= count <= _MOST_DIMENSIONS:
        raise cursor.damaged(f"{what} claims {count:,} dimensions.", _CURE)
    extents = cursor.unpack(f"<{count}q")
    if any(extent == -1 for extent in extents):
        return None
    return _checked(cursor, extents, what)


def _legacy_shape(cursor: Cursor, count: int, what: str) -> tuple[int, ...]:
    """Extents of 32 bits; what is in the magic's place is how many."""
    if count > _MOST_DIMENSIONS:
        raise cursor.damaged(
            f"{what} begins with {count:#010x}, which is neither one of its magic numbers "
            "nor a count of dimensions.",
            _CURE,
        )
    return _checked(cursor, cursor.unpack(f"<{count}I"), what)


def _checked(cursor: Cursor, extents: tuple[int, ...], what: str) -> tuple[int, ...]:
    if any(extent < 0 for extent in extents) or math.prod(filter(None, extents)) >= 1 << 60:
        raise cursor.damaged(f"{what} claims the shape {list(extents)}.", _CURE)
    return extents


def _dtype(cursor: Cursor, what: str) -> DType:
    flag = cursor.i32()
    if flag == _BFLOAT16:
        return extended("bfloat16")
    if not 0 <= flag < len(_DTYPES):
        raise cursor.damaged(f"{what} claims the type flag {flag}; 0 to 12 are known.", _CURE)
    return np.dtype(_DTYPES[flag]).newbyteorder("<")


# Sparse arrays.


def _sparse(
    storage: int,
    shape: tuple[int, ...],
    data: Any,
    indices: list[Any],
    source: Source,
    what: str,
) -> Record:
    if storage == _ROWS:
        parts = {"data": data, "indices": indices[0]}
    else:
        parts = {"data": data, "indptr": indices[0], "indices": indices[1]}

    def fetch() -> Array:
        source.spend(math.prod(shape) * data.dtype.itemsize)
        arrays = {name: np.asarray(part) for name, part in parts.items()}
        try:
            return _scatter(shape, **arrays)
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            raise DamagedFileError(
                f"{what} of shape {list(shape)} does not fit its parts: {error}.",
                file=source.name,
                remedy=_CURE,
            ) from error

    dense = LazyArray(data.dtype, shape, fetch)
    return Record(_CLASSES[storage], {"dense": dense, **parts})


def _scatter(
    shape: tuple[int, ...],
    data: Array,
    indices: Array,
    indptr: Array | None = None,
) -> Array:
    """The dense array; every index is held against the shape first."""
    dense = np.zeros(shape, data.dtype)
    if not data.size:
        return dense
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError(f"indices of {indices.dtype} {indices.shape}")
    if indptr is None:
        _within(indices, shape[0], "row")
        dense[indices] = data
        return dense
    if len(shape) != 2 or indptr.shape != (shape[0] + 1,) or indptr.dtype.kind not in "iu":
        raise ValueError(f"{indptr.shape} pointers for the rows")
    pointers = indptr.astype(np.int64)
    counts = pointers[1:] - pointers[:-1]
    if indptr[0] != 0 or (counts < 0).any() or int(indptr[-1]) > min(len(indices), len(data)):
        raise ValueError("the pointers do not rise from 0 to the number of values")
    held = int(indptr[-1])
    columns = indices[:held]
    _within(columns, shape[1], "column")
    dense[np.repeat(np.arange(shape[0]), counts), columns] = data[:held]
    return dense


def _within(indices: Array, size: int, what: str) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= size):
        raise ValueError(f"a {what} index lies outside of 0 to {size:,}")


def write_list(arrays: Mapping[str, object], target: IO[bytes]) -> None:
    """Write arrays and their names, as `mx.nd.save` does.

    Each is written as V2, which MXNet reads from 0.12 on. V2 has no arrays without dimensions or of
    size 0: those are written as V3, which MXNet reads from 1.6 on, after ``mx.npx.set_np()``.

    Raises:
        FormatError: an array has a type that MXNet lacks.
    """
    target.write(LIST_MAGIC + struct.pack("<Q", len(arrays)))
    for name, array in arrays.items():
        data, flag = _encoded(array, name)
        is_odd = not data.shape or 0 in data.shape
        target.write(struct.pack("<I", _V3 if is_odd else _V2))
        target.write(struct.pack(f"<ii{data.ndim}q", _DENSE, data.ndim, *data.shape))
        target.write(struct.pack("<iii", 1, 0, flag))  # on the processor, the first one
        target.write(data.tobytes())
    target.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        text = name.encode("utf-8", "surrogateescape")
        target.write(struct.pack("<Q", len(text)) + text)


def _encoded(array: Any, name: str) -> tuple[Array, int]:
    """The array in little-endian order, and the flag of its type."""
    if dtype_name(array.dtype) == "bfloat16":
        return encoded(array), _BFLOAT16
    data = np.asarray(array)
    kind = data.dtype.newbyteorder("<")
    if kind in _KINDS:
        return np.ascontiguousarray(data, dtype=kind).reshape(data.shape), _KINDS.index(kind)
    raise FormatError(
        f"MXNet has no arrays of {data.dtype}.",
        where=f"at {name!r}",
        remedy="Convert the array to a type of MXNet, or save it in another format.",
    )
