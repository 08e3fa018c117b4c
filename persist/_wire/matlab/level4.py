"""MAT-files of level 4, as MATLAB 1 to 4 and ``-v4`` of later releases write them.

Evidence: "MAT-File Format" (The MathWorks), chapter "Level 4 MAT-File Format"; ``scipy/io/matlab`` for the
rows of sparse matrices. Files of MATLAB 4.2c.

- There is no header: a file is a number of matrices. Each begins with five int32: a type, rows, columns,
  whether there is an imaginary part, and the length of its name with the NUL.
- The decimal digits of the type are M, 0, P, T: machine (0 little-endian, 1 big-endian, 2 and 3 VAX,
  4 Cray), precision (float64, float32, int32, int16, uint16, uint8), and kind (numbers, text, sparse).
- Numbers are in column-major order. Text is stored as the numbers of its characters.
- A sparse matrix is one of numbers whose rows are (row, column, value), or (row, column, real, imaginary),
  counted from 1; the last row holds its shape.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.source import Source
from persist._wire.matlab.characters import text_of_codes
from persist._wire.matlab.elements import broken
from persist._wire.matlab.level5 import Variable, complex_of, sparse
from persist.errors import DamagedFileError, FormatError

__all__ = ["begins", "variables"]

_PRECISIONS = ("f8", "f4", "i4", "i2", "u2", "u1")
_KINDS = ("numbers", "text", "sparse")
_MACHINES = {2: "a VAX (D-float)", 3: "a VAX (G-float)", 4: "a Cray"}
_COST = 256  # bytes that a variable takes in memory, at least


class _Head(NamedTuple):
    order: str
    machine: int
    precision: int
    kind: int
    rows: int
    columns: int
    is_complex: bool
    length: int  # of the name


def begins(head: bytes) -> bool:
    """Whether bytes begin as a matrix of level 4 whose name is one of MATLAB's variables."""
    found = _head(head)
    if found is None or not 2 <= found.length <= 64:
        return False
    name = head[20 : 20 + found.length]
    return name.endswith(b"\0") and name[:-1].isascii() and name[:-1].decode().isidentifier()


def _head(data: bytes) -> _Head | None:
    if len(data) < 20:
        return None
    for order in "<>":
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", data)
        if not (0 <= kind < 5000 and rows >= 0 and columns >= 0 and imaginary in (0, 1)):
            continue
        machine, zero, precision, form = (kind // 10**place % 10 for place in (3, 2, 1, 0))
        if machine not in ((1,) if order == ">" else (0, 2, 3, 4)) or zero:
            continue
        if precision < len(_PRECISIONS) and form < len(_KINDS) and length > 0:
            return _Head(order, machine, precision, form, rows, columns, bool(imaginary), length)
    return None


def variables(source: Source, damage: list[str] | None) -> list[Variable]:
    """Return all variables, in the order of the file.

    Args:
        source: the file.
        damage: list for messages about damage, after which nothing is read; None raises an error.

    Raises:
        DamagedFileError: a variable is damaged.
        FormatError: the numbers are those of a VAX or Cray.
    """
    found: list[Variable] = []
    at = 0
    while at < source.size:
        try:
            one, at = _variable(source, at)
        except DamagedFileError as error:
            if damage is None:
                raise
            damage.append(f"the file was read up to offset {at:,}, where {error.what}")
            break
        found.append(one)
    return found


def _variable(source: Source, at: int) -> tuple[Variable, int]:
    source.spend(_COST)
    head = _head(source.read(at, 20))
    if head is None:
        raise broken(source, at, "no matrix of level 4 begins.")
    if head.machine in _MACHINES:
        raise FormatError(
            f"its numbers are those of {_MACHINES[head.machine]}.",
            file=source.name,
            where=f"offset {at}",
            remedy="Save it again with a MATLAB of that machine, as text or in the format of level 5.",
        )
    name = source.read(at + 20, head.length).partition(b"\0")[0].decode("latin-1")
    at += 20 + head.length
    dtype = from_text(_dtype(head))
    shape = (head.rows, head.columns)
    size = head.rows * head.columns * dtype.itemsize
    real = source.array(at, dtype, shape, "F")
    at += size
    value: Any = real
    if head.kind == 1:
        value = _text(real, source, at)
    if head.is_complex:
        imaginary = source.array(at, dtype, shape, "F")
        at += size
        if head.kind == 0:
            value = complex_of(
                real,
                imaginary,
                from_text("c8" if dtype.itemsize == 4 and dtype.kind == "f" else "c16"),
                source,
            )
    described: dict[str, object] = {"class": _KINDS[head.kind], "shape": list(shape)}
    if head.kind == 2:
        value = _sparse(real, source, at)
        described["shape"] = list(value.shape)
    return Variable(name, value, described), at


def _dtype(head: _Head) -> str:
    code = _PRECISIONS[head.precision]
    return code if code == "u1" else f"{head.order}{code}"


def _text(stored: Any, source: Source, at: int) -> Any:
    source.spend(4 * stored.size)
    codes = _whole(np.asarray(stored).ravel(order="F"), 0x10FFFF, source, at).astype(np.uint32)
    return text_of_codes(codes, stored.shape, source)


def _whole(values: Any, most: int, source: Source, at: int) -> Any:
    """Numbers, which are whole, from 0 to ``most``."""
    if values.size and not bool(
        ((values >= 0) & (values <= most) & (values == np.floor(values))).all()
    ):
        raise broken(
            source, at, f"an index, a length or a character is not a whole number up to {most:,}."
        )
    return values


def _sparse(stored: object, source: Source, at: int) -> Any:
    entries = np.asarray(stored)
    if entries.ndim != 2 or entries.shape[0] < 1 or entries.shape[1] not in (3, 4):
        raise broken(source, at, f"a sparse matrix has entries of the shape {entries.shape}.")
    largest = (1 << 31) - 1
    shape = tuple(map(int, _whole(entries[-1, :2], largest, source, at)))
    entries = entries[:-1]
    # Indices, offsets, their order and the data; the offsets are as many as the file claims.
    source.spend(40 * len(entries) + 16 * (shape[1] + 1))
    rows = _whole(entries[:, 0], shape[0], source, at).astype(np.int64) - 1
    columns = _whole(entries[:, 1], shape[1], source, at).astype(np.int64) - 1
    if len(entries) and min(int(rows.min()), int(columns.min())) < 0:
        raise broken(source, at, "an index of a sparse matrix is 0.")
    order = np.lexsort((rows, columns))
    data: Any = entries[order, 2]
    if entries.shape[1] == 4:
        data = complex_of(data, entries[order, 3], from_text("c16"), source)
    counts = np.bincount(columns, minlength=shape[1])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return sparse(data, rows[order], indptr, shape)
