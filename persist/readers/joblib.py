"""joblib's dumps of five generations, and the folders of its ``Memory``.

Written by  ``joblib.dump`` since 2009, scikit-learn's tutorials, and
            ``joblib.Memory``. 0.3 to 0.9: a pickle, with each array in an NPY
            file next to it (``model.pkl_01.npy``). 0.5, compressed: a ZIP of
            those files. 0.6 to 0.9, compressed: ``ZF``, a length, zlib; with
            ``cache_size=0`` the arrays are separate files too (``.npy.z``).
            Since 0.10: one file with the raw arrays between the opcodes,
            optionally compressed as a whole by zlib, gzip, bz2, lzma, xz or
            lz4; aligned since 1.2.
Evidence    joblib's ``numpy_pickle.py`` and ``numpy_pickle_compat.py`` of 0.3 to
            1.4 (``NumpyArrayWrapper``, ``NDArrayWrapper``, ``ZNDArrayWrapper``,
            ``read_zfile``), ``memory.py`` and ``_store_backends.py``; files
            written by 0.3.6 to 1.4.2.
Traps       Uncompressed files begin like any pickle, and the first array may
            come at any point: `persist.readers.pickle` reads them with the same
            machine, and reports the format ``joblib`` too. A ZIP may be named
            ``.jl``, a plain zlib stream ``.pkl``. An array of objects is a
            separate pickle. The pickle contains the names that its array files
            had when it was saved. Python 2 pads the length after ``ZF`` by one
            more byte. A ``.npy.z`` alone has neither dtype nor shape.
Gives       The dumped object. A missing array file is reported in ``damage``,
            and its array stays a record. For a folder of ``Memory``: dicts by
            folder, down to the content of ``output.pkl``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from persist._wire.archives.zip import Member, ZipDirectory
from persist._wire.base.source import Source
from persist._wire.compression.zfile import is_packed, unpacked
from persist.errors import DamagedFileError, FormatError, LimitError, UnknownFormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["JoblibReader"]

_DUMP = "joblib_dump.pkl"  # in a ZIP, in the folder dump_file
_OUTPUT = "output.pkl"  # of one call, in a folder of Memory
_DEPTH = 64  # folders inside folders: joblib/<module>/<function>/<hash>
_GLANCE = 200  # folders to search before a folder is not claimed
_MOST = 100_000  # folders to search when reading
_NOTES = ("metadata.json", "input_args.json")  # next to output.pkl; the second until 0.8
_NOTE_SIZE = 1 << 20


class JoblibReader(Reader):
    """joblib's ZIP, its ``ZF`` files, and the folders of its Memory."""

    name = "joblib"
    suffixes = (".joblib", ".jl")
    refines = ("npz",)

    def claims(self, source: Source) -> str | None:
        if source.kind == "folder":
            found = next(_outputs(source, _GLANCE), None)
            return None if found is None else f"a folder with {'/'.join((*found[0], _OUTPUT))!r}"
        if source.kind != "file":
            return None
        if is_packed(source):
            return "begins with ZF, a length and a zlib stream"
        found_in = _zipped(source)
        return None if found_in is None else f"ZIP with {found_in[1].name!r}"

    def read(self, source: Source, options: Options) -> Content:
        if source.kind == "folder":
            return _read_folder(source, options)
        zipped = _zipped(source)
        content = _read_packed(source, options) if zipped is None else _read_zip(*zipped, options)
        content.format = self.name
        return content


def _opened(source: Source, options: Options) -> Content:
    if options.open_nested is None:
        raise FormatError("nested files cannot be opened here.", file=source.name)
    return options.open_nested(source)


# ZF.


def _read_packed(source: Source, options: Options) -> Content:
    broken: list[str] = []
    inner = unpacked(source, broken if options.salvage else None)
    try:
        content = _opened(inner, options)
    except UnknownFormatError as error:
        raise UnknownFormatError(
            f"the {inner.size:,} bytes inside are not a pickle.",
            file=source.name,
            remedy="It looks like the raw data of one array, whose dtype and shape are in the "
            "pickle next to it: open that (its name ends before _01.npy.z).",
        ) from error
    content.damage[:0] = broken
    return content


# ZIP.


def _zipped(source: Source) -> tuple[ZipDirectory, Member] | None:
    directory = ZipDirectory.of(source)
    for member in directory.members if directory is not None else ():
        if member.name.rpartition("/")[2] == _DUMP:
            assert directory is not None
            return directory, member
    return None


def _read_zip(directory: ZipDirectory, member: Member, options: Options) -> Content:
    """Read the pickle in the archive; the members of its folder are its neighbours."""
    folder = member.name.removesuffix(_DUMP)
    verify = options.verify == "always"
    neighbours = {
        other.name.removeprefix(folder): functools.partial(directory.open, other, verify)
        for other in directory.members
        if other.name.startswith(folder) and not other.is_folder
    }
    pickle = directory.open(member, verify).among(_DUMP, neighbours)
    content = _opened(pickle, options)
    inner = content.structure
    members = [other.name for other in directory.members]
    content.structure = lambda: {"members": members, **(inner() if callable(inner) else inner)}
    return content


# A folder of Memory.


def _outputs(source: Source, most: int) -> Iterator[tuple[tuple[str, ...], Source]]:
    """Yield the folders that hold an output, with their paths.

    Folders with a dot in their name are skipped: Memory makes a folder of each part of a module's
    name.
    """
    todo: list[tuple[tuple[str, ...], Source]] = [((), source)]
    looked = 0
    while todo and looked < most:
        path, folder = todo.pop()
        looked += 1
        names = folder.children()
        if _OUTPUT in names:
            yield path, folder
        elif len(path) < _DEPTH:
            below = (name for name in reversed(names[:most]) if "." not in name)
            todo += [((*path, name), child) for name in below if (child := _folder(folder, name))]
    if todo and most == _MOST:
        raise LimitError(
            f"more than {most:,} folders are in it.",
            file=source.name,
            remedy="Open one of the folders in it.",
        )


def _folder(source: Source, name: str) -> Source | None:
    child = source.child(name)
    return child if child is not None and child.kind == "folder" else None


def _read_folder(source: Source, options: Options) -> Content:
    result = Content({}, format="joblib-memory")
    entries: dict[str, object] = {}
    first: FormatError | None = None
    for path, folder in _outputs(source, _MOST):
        name = "/".join(path)
        output = folder.child(_OUTPUT)
        if output is None:
            continue
        try:
            content = _opened(output, options)
        except LimitError:
            raise
        except FormatError as error:
            first = first or error
            result.damage.append(f"{name}: {error}")
            continue
        entries[name] = _notes(folder)
        result.tree = _placed(result.tree, path, content.tree)
        result.damage += [f"{name}: {what}" for what in content.damage]
        result.globals |= content.globals
        result.writer.update(content.writer)
    if not entries:
        raise first or DamagedFileError(f"no {_OUTPUT} is in it any more.", file=source.name)
    result.structure = {"entries": entries}
    return result


def _placed(tree: Any, path: tuple[str, ...], value: object) -> object:
    """Put a value into nested dicts by folder, or at the root if the path is empty."""
    if not path:
        return value
    place = tree
    for step in path[:-1]:
        place = place.setdefault(step, {})
    place[path[-1]] = value
    return tree


def _notes(folder: Source) -> object:
    """Return joblib's metadata of the call: its arguments as text, and its duration."""
    notes: dict[str, object] = {}
    for name in _NOTES:
        note = folder.child(name)
        if note is None or note.kind != "file" or note.size > _NOTE_SIZE:
            continue
        try:
            metadata = json.loads(note.read(0, note.size))
        except (ValueError, RecursionError):
            continue
        if name == _NOTES[0] and isinstance(metadata, dict):
            notes.update(metadata)
        else:
            notes.setdefault("input_args", metadata)
    return notes
