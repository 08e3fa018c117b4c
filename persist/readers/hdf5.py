"""HDF5: groups of named arrays, read without the HDF5 library; includes PyTables' files.

Written by  The HDF Group's library since 1999 and programs that use it: h5py,
            PyTables, pandas' ``HDFStore``, netCDF 4, MATLAB since 7.3, Caffe,
            Julia, AnnData.
Evidence    the "HDF5 File Format Specification Version 3.0"; the library's
            source where the specification leaves a size open (see ``persist/_wire/hdf5/``);
            files of 1.4 to 2.0 in every layout.
Traps       The signature may be at 512, 1024, 2048 ... (a user block). Several
            names may refer to the same object, and links may form cycles.
            Strings are padded with NULs, with spaces, or end at the
            first NUL. A file can refer to other files in three ways; none is followed.
            PyTables keeps objects as pickles, in attributes and in rows of bytes.
Gives       Groups as dicts, datasets as arrays. Attributes are keys too:
            ``@name`` of a group in the group itself, ``dataset@name`` of a
            dataset in the group that holds it. References are paths.
            PyTables' ``VLArray`` of objects or texts is a list. Frames and series of
            an ``HDFStore`` are the records that a pickle of them holds.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from persist._wire.base.source import Source
from persist._wire.hdf5.signature import begins_at
from persist.readers.base import Content, Options, Reader

if TYPE_CHECKING:
    from persist._wire.hdf5.file import Walk

__all__ = ["Hdf5Reader"]


class Hdf5Reader(Reader):
    """Plain HDF5."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5", ".hdf", ".he5", ".h5ad", ".nc4")
    writes = True
    is_flat = True

    def claims(self, source: Source) -> str | None:
        begin = begins_at(source)
        if begin is None:
            return None
        if begin and source.head(15) == b"MATLAB 7.3 MAT-":
            return f"HDF5's signature at offset {begin:,}, behind the header of MATLAB 7.3"
        return "HDF5's signature" if not begin else f"HDF5's signature at offset {begin:,}"

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.hdf5.file import Hdf5

        file = Hdf5(source, verify=options.verify != "never", salvage=options.salvage)
        walk = file.walk()
        content = Content(walk.tree, structure=walk.described, damage=file.damage)
        values = [(path, one.name, walk.value(path, one)) for path, one in walk.attributes()]
        if any((path, name) == _TABLES for path, name, _ in values):
            from persist.readers._hdf5 import unpickled

            values = unpickled(source, options, walk, values, content)
            if any(name == "pandas_type" for _, name, _ in values):
                from persist.readers._hdfstore import framed

                values = framed(walk, values, content)
        for path, name, value in values:
            _add_attribute(walk, path, name, value)
        return content

    def write(self, tree: Any, target: IO[bytes], **options: object) -> None:
        """Write each array as a dataset under its path, with h5py.

        The arrays of a ``.keras`` archive become a ``.weights.h5`` of Keras 3, since their paths are
        those of such a file.

        Raises:
            FormatError: HDF5 cannot hold an array.
            MissingExtraError: h5py is not installed.
        """
        if options:
            raise TypeError(f"hdf5 knows no option {sorted(options)[0]!r}")
        from persist._wire.hdf5.writing import write_arrays

        write_arrays(tree, target)


_TABLES = ("", "PYTABLES_FORMAT_VERSION")


def _add_attribute(walk: Walk, path: str, name: str, value: object) -> None:
    """Add an attribute to its group, or to the group of its dataset."""
    if walk.nodes[path].kind == "group":
        group, key = walk.value_at(path), f"@{name}"
    else:
        group, own = walk.holder(path)
        key = f"{own}@{name}"
    free, number = key, 2
    while free in group:
        free, number = f"{key}~{number}", number + 1
    group[free] = value
