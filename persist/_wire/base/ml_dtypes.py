"""Element types that NumPy lacks: bfloat16, float8 and narrower, through ``ml_dtypes``.

Where that library is not installed (extras ``torch``, ``safetensors``, ``tensorflow``), an array
of such a type is an `EncodedArray`. Its encoded elements are kept, so that a writer stores them
unchanged under their own type; they are never given out as integers. bfloat16 is read as
float32, which represents every value exactly; the values of the other types cannot be read.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from persist.errors import MissingExtraError
from persist.tree import LazyArray
from persist.typing import Array, DType

__all__ = [
    "EncodedArray",
    "decodable",
    "decoded",
    "decoded_dtype",
    "dtype_name",
    "dtype_text",
    "encoded",
    "extended",
    "find_extended",
    "is_extended",
    "missing_name",
    "stored_dtype",
]

# Name -> bytes of one element as ml_dtypes keeps it.
_WIDTHS = {
    "bfloat16": 2,
    "float8_e3m4": 1,
    "float8_e4m3": 1,
    "float8_e4m3b11fnuz": 1,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "float4_e2m1fn": 1,
    "float6_e2m3fn": 1,
    "float6_e3m2fn": 1,
    "int2": 1,
    "int4": 1,
    "uint2": 1,
    "uint4": 1,
}


class _Encoded(np.void):  # type: ignore[misc]
    """An element of a type that only ``ml_dtypes`` knows; subclasses name the type."""

    kind = ""


@functools.cache
def extended(name: str) -> DType:
    """Return the dtype of that name in ``ml_dtypes``; without it, an opaque one of its width.

    An opaque dtype is a void that remembers the name (`dtype_name`). Arrays of it
    go through `decodable` before anybody else sees them.

    Raises:
        KeyError: there is no such type.
    """
    return find_extended(name)


def find_extended(name: str) -> DType:
    """`extended`, looked up anew."""
    width = _WIDTHS[name]
    try:
        found: DType = np.dtype(getattr(importlib.import_module("ml_dtypes"), name))
        return found
    except (ImportError, AttributeError):  # not installed, or older than the type
        return _opaque(name, width)


@functools.cache
def _opaque(name: str, width: int) -> DType:
    return np.dtype((type(name, (_Encoded,), {"kind": name}), f"V{width}"))


def is_extended(name: str) -> bool:
    """Return whether a name is that of a type that ``ml_dtypes`` has and NumPy lacks."""
    return name in _WIDTHS


def missing_name(dtype: DType) -> str:
    """Return the name of the type that an opaque dtype represents; "" of any other dtype."""
    return dtype.type.kind if issubclass(dtype.type, _Encoded) else ""


def dtype_name(dtype: DType) -> str:
    """Return the name of a dtype, also of one that ``ml_dtypes`` would have."""
    return missing_name(dtype) or str(dtype.name)


def dtype_text(dtype: DType) -> str:
    """Return a dtype as messages write it, with its byte order where that is not this machine's."""
    return missing_name(dtype) or str(dtype)


def decoded_dtype(dtype: DType) -> DType:
    """Return the dtype in which values are read: float32 for a bfloat16 without its library."""
    return np.dtype(np.float32) if missing_name(dtype) == "bfloat16" else dtype


def decoded(array: Array, where: str = "") -> Array:
    """Return the values of an array; one of an opaque dtype as what `decoded_dtype` says.

    Raises:
        MissingExtraError: only ``ml_dtypes`` knows what the elements mean.
    """
    name = missing_name(array.dtype)
    if not name:
        return array
    if name != "bfloat16":
        raise MissingExtraError(
            f"the values are of type {name}, which NumPy does not have; "
            "ml_dtypes, which has it, is not installed.",
            where=where or None,
            remedy="Install it with: pip install 'persist-state[torch]'",
        )
    halves: Array = np.ascontiguousarray(array).view("<u2")
    values: Array = np.left_shift(halves, 16, dtype=np.uint32).view(np.float32)
    return values.reshape(array.shape)


class EncodedArray(LazyArray):
    """An array of a type that only ``ml_dtypes`` knows, where that is not installed.

    ``dtype`` is that of the values that can be read; `kind` names the type in the file.

    Args:
        stored: the elements: an array or lazy array of an opaque dtype.
        where: the array's place, for errors.
    """

    __slots__ = ("_stored", "kind", "where")

    def __init__(self, stored: Any, where: str = "") -> None:
        self._stored = stored
        self.kind = missing_name(stored.dtype)
        self.where = where
        self.dtype = decoded_dtype(stored.dtype)
        self.shape = tuple(stored.shape)
        self._fetch = self.read
        self._rows = None
        self._whole = None

    def read(self) -> Array:
        """Return the values; the same object at every call.

        Raises:
            MissingExtraError: only ``ml_dtypes`` knows what they mean.
        """
        if self._whole is None:
            self._whole = decoded(self.encoded(), self.where)
        return self._whole

    def encoded(self) -> Array:
        """Return the elements as they are stored, in an opaque dtype."""
        stored: Array = np.asarray(self._stored)
        return stored

    def __getitem__(self, index: Any) -> object:
        if self._whole is None and isinstance(index, slice) and self.shape:
            return decoded(np.asarray(self._stored[index]), self.where)
        return self.read()[index]

    def __repr__(self) -> str:
        return f"<array of {self.kind} {self.shape}>"


def decodable(array: Any, where: str = "") -> Any:
    """Return an array whose values mean what the file says: one of an opaque dtype is wrapped."""
    if missing_name(array.dtype):
        return EncodedArray(array, where)
    return array


def encoded(array: Any) -> Array:
    """Return the elements of an array or lazy array as they are stored."""
    get = getattr(array, "encoded", None)
    found: Array = np.asarray(array) if get is None else get()
    return found


def stored_dtype(array: Any) -> DType:
    """Return the dtype in which the elements of an array or lazy array are stored."""
    get = getattr(array, "stored_dtype", None)
    if get is not None:
        declared: DType = get()
        return declared
    stored: DType = array._stored.dtype if isinstance(array, EncodedArray) else array.dtype
    return stored
