"""MXNet: shows pickled arrays as their values, symbols as their graphs, sparse arrays as dense.

Evidence: MXNet's ``python/mxnet/ndarray/ndarray.py`` and ``_ctypes/ndarray.py``
(``__reduce__`` gives the class, (None,) and ``{"handle": bytes of one NDArray}``),
``ndarray/sparse.py``, ``numpy/multiarray.py``, ``symbol/symbol.py`` (its JSON), of 0.9.5 to
1.9.1; trainer states of 1.5.1.
"""

from __future__ import annotations

import json
from typing import Any

from persist._wire.base.source import open_source
from persist._wire.mxnet.ndarray_list import read_array
from persist.errors import FormatError
from persist.registry import Registry
from persist.tree import ABSENT, Record, View

__all__ = ["pack"]

pack = Registry("mxnet")


@pack.plain(
    "mxnet.ndarray.NDArray",
    "mxnet.ndarray.ndarray.NDArray",
    "mxnet.ndarray._internal.NDArray",
    "mxnet._ctypes.ndarray.NDArray",
    "mxnet.numpy.multiarray.ndarray",
    "mxnet.ndarray.sparse.RowSparseNDArray",
    "mxnet.ndarray.sparse.CSRNDArray",
)
def array(record: Record, looker: object) -> Any:
    """Show an array by the bytes in its handle; a sparse one as the dense array with its parts."""
    fields = record.fields()
    if "dense" in fields and "handle" not in fields:
        return _sparse(record)
    handle = fields.get("handle", ABSENT)
    if handle is None:
        return View(None)  # never filled
    if not isinstance(handle, bytes | bytearray):
        return None
    try:
        found = read_array(open_source(bytes(handle)).cursor(), f"the array of a {record.qualname}")
    except FormatError:
        return None  # another layout: the bytes stay as they are
    return _sparse(found) if isinstance(found, Record) else View(found)


def _sparse(record: Record) -> View:
    parts = dict(record.fields())
    return View(parts.pop("dense"), parts=parts)


@pack.plain(
    "mxnet.symbol.Symbol", "mxnet.symbol.symbol.Symbol", "mxnet.symbol.numpy._symbol._Symbol"
)
def symbol(record: Record, looker: object) -> object:
    """Show a symbol as its graph, in ``structure``."""
    handle = record.fields().get("handle")
    if not isinstance(handle, str | bytes):
        return None
    try:
        return View(structure=json.loads(handle))
    except (ValueError, RecursionError):
        return None
