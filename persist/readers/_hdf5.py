"""What PyTables keeps in an HDF5 file as pickles: attributes, and rows of objects or text."""

from __future__ import annotations

from typing import Any

import numpy as np

from persist._wire.base.source import Source
from persist._wire.hdf5 import pytables
from persist._wire.hdf5.file import Walk
from persist._wire.npy.npy import plain_machine
from persist.errors import FormatError, MissingExtraError
from persist.readers.base import Content, Options

__all__ = ["unpickled"]


def unpickled(
    source: Source,
    options: Options,
    walk: Walk,
    values: list[tuple[str, str, Any]],
    content: Content,
) -> list[tuple[str, str, Any]]:
    """Read what is pickled in a file of PyTables.

    Args:
        source, options: of the file.
        walk: its groups and datasets; rows of objects and text are put into their places.
        values: path, name and value of each attribute.
        content: is told format, release, globals and damage.

    Returns:
        The attributes, what was pickled in its place.
    """
    pickles = _Pickles(source, options)
    made = []
    for path, name, value in values:
        made.append((path, name, pytables.attribute(name, value, pickles.load)))
        if name == "PSEUDOATOM" and value in pytables.ATOMS:
            _in_rows(walk, path, value, pickles, content.damage)
        if not path and name == "PYTABLES_FORMAT_VERSION":
            content.writer["pytables_format"] = str(value)
    content.format, content.globals = "pytables", pickles.globals
    return made


class _Pickles:
    """Reads the pickles in a file, and notes the globals that they name."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        self.options = options
        self.globals: set[str] = set()

    def load(self, data: bytes, where: str) -> Any:
        part = self.source.nested(data, where)
        machine = plain_machine(part, py2_str=self.options.py2_str)
        cursor = part.cursor()
        value = machine.load(cursor)
        if cursor.left:
            raise cursor.damaged(f"{cursor.left:,} bytes follow the pickle.")
        self.globals.update(machine.globals)
        return value


def _in_rows(walk: Walk, path: str, kind: str, pickles: _Pickles, damage: list[str]) -> None:
    """Put the objects or texts of a VLArray in its place."""
    if walk.nodes[path].kind != "dataset":
        return
    group, own = walk.holder(path)
    try:
        stored = np.asarray(group[own])
    except (FormatError, MissingExtraError):  # which it says when it is asked for
        return
    if stored.ndim == 1 and stored.dtype.hasobject:
        group[own] = pytables.rows(kind, stored, f"dataset {path!r}", pickles.load, damage)
