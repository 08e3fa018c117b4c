"""Unpickle the values of PyTables in HDF5 files: attributes, and rows of objects or text."""

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
    values: list[tuple[str, str, object]],
    content: Content,
) -> list[tuple[str, str, object]]:
    """Read the pickled values in a file of PyTables.

    Args:
        source: the file.
        options: options of the reader.
        walk: the groups and datasets of the file; rows of objects and text are replaced in it.
        values: path, name and value of each attribute.
        content: receives format, release, globals and damage.

    Returns:
        The attributes, with pickled values replaced by the unpickled ones.
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
    """Reads the pickles in a file, and collects the globals that they name."""

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
    """Replace a VLArray by the list of its objects or texts."""
    if walk.nodes[path].kind != "dataset":
        return
    group, own = walk.holder(path)
    try:
        stored = np.asarray(group[own])
    except (FormatError, MissingExtraError):  # raised again when the dataset is read
        return
    if stored.ndim == 1 and stored.dtype.hasobject:
        group[own] = pytables.rows(kind, stored, f"dataset {path!r}", pickles.load, damage)
