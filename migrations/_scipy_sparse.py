"""SciPy: sparse matrices and arrays of every generation as those of the installed release.

A matrix is made by its public constructor from the parts that its pickle holds, and checked: the
compiled loops of SciPy trust indices. Flags (sorted indices, canonical format) are not taken from the
file but found again when they are asked for.

Evidence: ``scipy/sparse`` of 0.7 to 1.17: ``shape`` became ``_shape`` (0.7), ``row`` and ``col`` of COO
became ``coords`` (1.13), a DOK matrix was a subclass of dict until 1.11.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from persist.errors import RestoreError
from persist.packs import Record
from persist.registry import Registry
from persist.typing import State

__all__ = ["declare"]

_FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


def declare(pack: Registry) -> None:
    """Declare in a pack how sparse matrices and arrays are made."""
    for name in _FORMATS:
        qualnames = [f"scipy.sparse._{name}.{name}_{kind}" for kind in ("matrix", "array")]

        @pack.rebuild(*qualnames, library="scipy")
        def made(record: Record, name: str = name) -> Any:
            """Make a matrix of one format."""
            return _made(record, name, pack.resolve(record.qualname))


def _made(record: Record, name: str, qualname: str) -> Any:
    state = record.state if isinstance(record.state, dict) else {}
    if isinstance(record.state, tuple) and len(record.state) == 2:  # slots next to a dict
        state = {**(record.state[0] or {}), **(record.state[1] or {})}
    shape = state.get("_shape", state.get("shape"))
    if not isinstance(shape, tuple) or not all(isinstance(n, int | np.integer) for n in shape):
        raise RestoreError(f"its shape is {shape!r}")
    cls = getattr(importlib.import_module("scipy.sparse"), qualname.rpartition(".")[2])
    try:
        matrix = _PARTS[name](cls, state, tuple(map(int, shape)), record)
        if name in ("bsr", "csc", "csr"):
            matrix.check_format(full_check=True)
    except KeyError as error:
        raise RestoreError(f"its state lacks {error}") from error
    except (TypeError, ValueError, IndexError) as error:
        raise RestoreError(f"its parts do not fit together: {error}") from error
    return matrix


def _compressed(
    cls: Any, state: dict[str, object], shape: tuple[int, ...], record: Record
) -> object:
    return cls((state["data"], state["indices"], state["indptr"]), shape=shape)


def _coordinates(cls: Any, state: State, shape: tuple[int, ...], record: Record) -> object:
    coords = state["coords"] if "coords" in state else (state["row"], state["col"])
    return cls((state["data"], tuple(coords)), shape=shape)


def _diagonals(
    cls: Any, state: dict[str, object], shape: tuple[int, ...], record: Record
) -> object:
    return cls((state["data"], state["offsets"]), shape=shape)


def _lists(cls: Any, state: State, shape: tuple[int, ...], record: Record) -> Any:
    rows, data = state["rows"], state["data"]
    if len(rows) != shape[0] or len(data) != shape[0]:
        raise ValueError(f"{len(rows)} lists of columns for {shape[0]} rows")
    values = [value for one in data for value in one]
    matrix = cls(shape, dtype=_dtype(state, values))
    for row, (columns, items) in enumerate(zip(rows, data, strict=True)):
        if len(columns) != len(items) or any(not 0 <= column < shape[1] for column in columns):
            raise ValueError(f"row {row} has columns that are not there")
        matrix.rows[row], matrix.data[row] = list(columns), list(items)
    return matrix


def _keys(cls: Any, state: State, shape: tuple[int, ...], record: Record) -> object:
    pairs = dict(record.dictitems) or state.get("_dict") or {}
    matrix = cls(shape, dtype=_dtype(state, list(pairs.values())))
    for key, value in pairs.items():
        matrix[key] = value
    return matrix


def _dtype(state: State, values: list[Any]) -> Any:
    """The dtype that a state has, which is an object by now, or that of its values."""
    dtype = state.get("dtype", state.get("_dtype"))
    return dtype if isinstance(dtype, np.dtype) else np.asarray(values or [0.0]).dtype


_PARTS = {
    "bsr": _compressed,
    "coo": _coordinates,
    "csc": _compressed,
    "csr": _compressed,
    "dia": _diagonals,
    "dok": _keys,
    "lil": _lists,
}
