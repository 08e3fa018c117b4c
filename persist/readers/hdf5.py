"""HDF5: groups of named arrays, read without its library; PyTables' files are of this kind.

Written by  The HDF Group's library since 1999 and all that uses it: h5py,
            PyTables, pandas' ``HDFStore``, netCDF 4, MATLAB since 7.3, Caffe,
            Julia, AnnData.
Evidence    the "HDF5 File Format Specification Version 3.0"; the library's
            source where that leaves a size open (see ``persist/_wire/hdf5*.py``);
            files of 1.4 to 2.0 in every layout.
Traps       The signature may stand at 512, 1024, 2048 ... (a user block). Names
            may lead to one object from several places, and back to where they
            came from. Strings are padded with NULs, with spaces, or end at the
            first NUL. A file can name other files in three ways; none is followed.
            PyTables keeps objects as pickles, in attributes and in rows of bytes.
Gives       Groups as dicts, datasets as arrays. Attributes stand beside what
            they belong to: ``@name`` of a group in the group, ``dataset@name`` of
            a dataset in the group that holds it. References are paths. Of
            PyTables' ``VLArray`` of objects or texts, the list of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from persist._wire import ndarray, plain, pytables
from persist._wire.hdf5 import Hdf5, Walk, begins_at
from persist._wire.pickle import Machine
from persist._wire.source import Source
from persist.errors import FormatError, MissingExtraError
from persist.readers.base import Content, Options, Reader

__all__ = ["Hdf5Reader"]


class Hdf5Reader(Reader):
    """Plain HDF5."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5", ".hdf", ".he5", ".h5ad", ".nc4")

    def claims(self, source: Source) -> str | None:
        begin = begins_at(source)
        if begin is None:
            return None
        return "HDF5's signature" if not begin else f"HDF5's signature at offset {begin:,}"

    def read(self, source: Source, options: Options) -> Content:
        file = Hdf5(source, verify=options.verify != "never", salvage=options.salvage)
        walk = file.walk()
        writer: dict[str, str] = {}
        values = [(path, one.name, walk.value(path, one)) for path, one in walk.attributes()]
        version = next((held for at, name, held in values if (at, name) == _TABLES), None)
        if version is None:
            for path, name, value in values:
                _beside(walk, path, name, value)
            return Content(walk.tree, structure=walk.described, writer=writer, damage=file.damage)
        writer["pytables_format"] = str(version)
        pickles = _Pickles(source, options)
        for path, name, value in values:
            _beside(walk, path, name, pytables.attribute(name, value, pickles.load))
            if name == "PSEUDOATOM" and value in pytables.ATOMS:
                _in_rows(walk, path, value, pickles, file.damage)
        return Content(
            walk.tree,
            structure=walk.described,
            writer=writer,
            damage=file.damage,
            format="pytables",
            globals=pickles.globals,
        )


_TABLES = ("", "PYTABLES_FORMAT_VERSION")
REBUILD = {**plain.REBUILD, **ndarray.REBUILD}
FINISH = {**plain.FINISH, **ndarray.FINISH}


class _Pickles:
    """Reads the pickles in a file, and notes the globals that they name."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        self.options = options
        self.globals: set[str] = set()

    def load(self, data: bytes, where: str) -> Any:
        part = self.source.nested(data, where)
        py2_str = self.options.py2_str
        machine = Machine(part, py2_str=py2_str, rebuild=REBUILD, finish=FINISH)
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


def _beside(walk: Walk, path: str, name: str, value: Any) -> None:
    """Put an attribute beside what it belongs to."""
    if walk.nodes[path].kind == "group":
        group, key = walk.value_at(path), f"@{name}"
    else:
        group, own = walk.holder(path)
        key = f"{own}@{name}"
    free, number = key, 2
    while free in group:
        free, number = f"{key}~{number}", number + 1
    group[free] = value
