"""Arrays on disk that grow: NPY files in a folder, to which rows are appended.

A file is at every moment an NPY file that NumPy reads: rows are written behind the last one, and then
the number of rows in the header, whose digits have a fixed width, is overwritten. What a process
that was killed has left behind the last row is overwritten by the next append.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from persist._container.names import member_name
from persist._container.writing.atomic import replacing
from persist._wire.base.source import open_source
from persist._wire.npy.npy import Header, read_header
from persist.errors import FormatError

__all__ = ["append_rows"]

MARK = "persist.json"  # in the folder: what it is
_SAID = {"format": "persist-arrays", "version": 1}
_DIGITS = 20  # of the number of rows
_ALIGNMENT = 64
_HEAD = 1 << 16


def append_rows(folder: str | os.PathLike[str], name: str, values: Any, durable: bool) -> int:
    """Append rows to an array of a folder, which is made if it is not there.

    Args:
        folder: a path on this machine.
        name: the natural path of the array in it.
        values: the rows, along the first axis; a scalar is one row.
        durable: wait until the disk has them, before they are counted and after.

    Returns:
        The number of rows that the array has now.

    Raises:
        FormatError: ``folder`` is something else, or the values do not fit the array.
    """
    top = Path(folder)
    rows = np.atleast_1d(np.asarray(values))
    where = f"array {name!r}"
    if rows.dtype.hasobject:
        raise FormatError(
            f"an array of {rows.dtype} has no fixed rows of bytes.",
            file=str(top),
            where=where,
            remedy="Append numbers, or arrays of them.",
        )
    path = top / member_name(name)
    _prepare(top)
    with (top / MARK).open("rb") as mark, _alone(mark):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, durable) as made:
                made.write(_header(rows.dtype, 0, rows.shape[1:]))
        with path.open("r+b") as file:
            return _grow(file, path, rows, where, durable)


def _prepare(top: Path) -> None:
    """Make the folder, or check that it is one of growing arrays."""
    mark = top / MARK
    if mark.is_file():
        try:
            said = json.loads(mark.read_bytes())
        except ValueError:
            said = None
        if isinstance(said, dict) and said.get("format") == _SAID["format"]:
            return
    if top.exists() and (not top.is_dir() or any(top.iterdir())):
        what = "a folder of other files" if top.is_dir() else "a file"
        raise FormatError(
            f"it is {what}, not a folder of growing arrays.",
            file=str(top),
            remedy="Name a folder that does not exist yet, or is empty.",
        )
    top.mkdir(parents=True, exist_ok=True)
    with replacing(mark, False) as file:
        file.write(json.dumps(_SAID).encode())


def _header(dtype: Any, count: int, row: tuple[int, ...]) -> bytes:
    """An NPY header in which the number of rows has a fixed width."""
    descr = np.lib.format.dtype_to_descr(dtype)
    shape = "".join(f" {extent}," for extent in row)
    text = (
        f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({count:>{_DIGITS}},{shape}), }}"
    )
    used = 10 + len(text) + 1
    padded = text + " " * (-used % _ALIGNMENT) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode("latin-1")


def _grow(file: IO[bytes], path: Path, rows: Any, where: str, durable: bool) -> int:
    header = _header_of(path)
    if header.shape[1:] != rows.shape[1:] or not np.can_cast(rows.dtype, header.dtype, "safe"):
        raise FormatError(
            f"rows of {rows.dtype} {rows.shape[1:]} do not fit an array of {header.dtype} "
            f"{header.shape}.",
            file=str(path),
            where=where,
            remedy="Convert the values (astype), or append them under another name.",
        )
    new = _header(header.dtype, header.shape[0], header.shape[1:])
    if len(new) != header.length or header.is_fortran:
        raise FormatError(
            "its header has no room for another number of rows.",
            file=str(path),
            where=where,
            remedy="Only arrays that persist.append made grow: append to another name.",
        )
    data = np.ascontiguousarray(rows, header.dtype)
    size = header.dtype.itemsize * int(np.prod(header.shape[1:], dtype=np.int64))
    file.seek(header.length + header.shape[0] * size)
    file.write(data.tobytes())
    file.flush()
    if durable:
        os.fsync(file.fileno())
    count = header.shape[0] + len(data)
    file.seek(0)
    file.write(_header(header.dtype, count, header.shape[1:]))
    file.flush()
    if durable:
        os.fsync(file.fileno())
    return count


def _header_of(path: Path) -> Header:
    with path.open("rb") as file:
        return read_header(open_source(io.BytesIO(file.read(_HEAD))).cursor())


@contextlib.contextmanager
def _alone(file: IO[bytes]) -> Iterator[None]:
    """Let one process at a time append, where the system has locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    yield  # closing the file ends it
