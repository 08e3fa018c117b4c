"""NumPy's own files: ``.npy``, one array or several, and ``.npz``, a ZIP of them.

Written by  ``numpy.save``, ``savez`` (stored) and ``savez_compressed``
            (deflated), since NumPy 1.0.5 and 1.0; by ``mxnet.npx.savez``,
            ``scipy.sparse.save_npz`` and many other programs.
Evidence    ``numpy/lib/format.py`` and ``npyio.py`` (``NpzFile``) of NumPy 1.0
            to 2.4; files written by 1.6 to 2.1 under Python 2.7 to 3.12.
Traps       Any member of a ZIP that begins with the NPY magic is an array, with
            or without ``.npy``; the rest are bytes. Theano, joblib, torch and
            our own container are ZIP files that may hold ``.npy`` too; their
            readers take precedence. Two members may have the same name. A file
            may hold several arrays in sequence, with pickles between them.
            Object arrays are pickles. Truncated raw data is not marked.
Gives       The array, or a list if the file holds several values; for a ZIP a
            dict by member name without ``.npy``.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import numpy as np

from persist._runtime.free_names import free_name
from persist._runtime.lazy_regex import regex
from persist._wire.archives.zip import STORED, Member, ZipDirectory
from persist._wire.base.source import Cursor, Source
from persist._wire.npy.npy import MAGIC, Header, plain_machine, read_array, read_header
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader
from persist.tree import LazyArray
from persist.typing import Array

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["NpyReader", "NpzReader"]

_SUFFIX = ".npy"
_PEEKED = 4096  # bytes of a deflated member that usually contain its whole header
_LOOKED_AT = 16  # members to examine if none is named .npy

_SINCE = {
    (2, 0): "1.9 or later",
    (3, 0): "1.17 or later",
}  # NPY version -> releases of NumPy that write it


_PROTOCOLS = {3: "3", 4: "3.4 or later", 5: "3.8 or later"}
_PYTHON_2 = regex(r"\d+L\b(?=[,) ])")  # long integers of Python 2 in a shape


class _Reading:
    """State collected while reading one file: pickle machines, headers, damage."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.machines: list[Machine] = []
        self.headers: list[Header] = []
        self.damage: list[str] = []

    def machine(self, source: Source) -> Machine:
        if not self.machines or self.machines[-1].source is not source:
            self.machines.append(plain_machine(source, py2_str=self.options.py2_str))
        return self.machines[-1]

    def array(self, cursor: Cursor) -> Any:
        """Return the next array; with ``salvage``, the complete rows of a truncated one."""
        header = read_header(cursor)
        self.headers.append(header)
        left = cursor.left
        if header.dtype.hasobject or header.nbytes <= left or not self.options.salvage:
            return read_array(cursor, self.machine, header)
        row = header.nbytes // header.shape[0] if header.shape else 0
        if header.is_fortran or not row:
            cursor.view(header.nbytes)  # raises with the place
        rows = left // row
        self.damage.append(
            f"{header.nbytes:,} bytes of an array {header.shape} are claimed, {left:,} are left: "
            f"{rows:,} of {header.shape[0]:,} rows are whole and given"
        )
        array = cursor.array(header.dtype, (rows, *header.shape[1:]))
        cursor.offset = cursor.source.size
        return array

    @property
    def globals(self) -> set[str]:
        return {name for machine in self.machines for name in machine.globals}

    def global_names(self) -> list[str]:
        found = (ref for machine in self.machines for ref in machine.globals.values())
        return sorted({f"{ref.module} {ref.name}" for ref in found})

    def writer(self) -> dict[str, str]:
        """Return what the bytes prove: the format version, and constructs only Python 2 writes."""
        writer: dict[str, str] = {}
        version = max((header.version for header in self.headers), default=(1, 0))
        if version in _SINCE:
            writer["numpy"] = _SINCE[version]
        protocol = max((machine.protocol for machine in self.machines), default=0)
        if any(machine.has_py2_str for machine in self.machines) or any(
            _PYTHON_2.search(header.text) for header in self.headers
        ):
            writer["python"] = "2"
        elif protocol in _PROTOCOLS:
            writer["python"] = _PROTOCOLS[protocol]
        return writer


class NpyReader(Reader):
    """NumPy's NPY: one array, or several in a row."""

    name = "npy"
    suffixes = (".npy",)
    is_sure = True
    writes = True
    is_flat = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or source.head(len(MAGIC)) != MAGIC:
            return None
        version = source.head(len(MAGIC) + 2)[len(MAGIC) :]
        number = f" {version[0]}.{version[1]}" if len(version) == 2 else ""
        return f"begins as NPY{number}"

    def read(self, source: Source, options: Options) -> Content:
        reading = _Reading(options)
        values = _in_a_row(source, reading)
        header = reading.headers[0]
        return Content(
            values[0] if len(values) == 1 else values,
            structure={
                "npy_version": list(header.version),
                "header": header.text,
                "arrays": len(reading.headers),
                "globals": reading.global_names(),
            },
            writer=reading.writer(),
            damage=reading.damage,
            globals=reading.globals,
        )

    def write(self, tree: Any, target: IO[bytes], **options: object) -> None:
        """Write one array, as ``numpy.save`` does.

        Raises:
            FormatError: there are several, or none.
        """
        if options:
            raise TypeError(f"npy knows no option {sorted(options)[0]!r}")
        if len(tree) != 1:
            names = ", ".join(repr(name) for name in list(tree)[:8])
            raise FormatError(
                f"npy holds one array, and here are {len(tree):,}{': ' * bool(names)}{names}.",
                remedy='Save them with format="npz", or one of them alone.',
            )
        (array,) = tree.values()
        np.save(target, np.asarray(array), allow_pickle=False)


def _in_a_row(source: Source, reading: _Reading) -> list[object]:
    """Return all values of the file in order: arrays, and pickles between them."""
    cursor = source.cursor()
    values: list[Any] = []
    while cursor.left > 0:
        start = cursor.offset
        head = source.read(start, min(len(MAGIC), cursor.left))
        try:
            if head == MAGIC or not values:
                values.append(reading.array(cursor))
            elif head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
                values.append(reading.machine(source).load(cursor))
            else:
                count = "1 byte follows" if cursor.left == 1 else f"{cursor.left:,} bytes follow"
                reading.damage.append(
                    f"{count} the last array at offset {start:,}, and no array begins there"
                )
                break
        except DamagedFileError as error:
            if not values:
                raise
            whole = (
                "the one before it is" if len(values) == 1 else f"the {len(values)} before it are"
            )
            reading.damage.append(
                f"what begins at offset {start:,} cannot be read ({error.what.rstrip('.')}); "
                f"{whole} whole"
            )
            break
    return values


def _is_container(directory: ZipDirectory) -> bool:
    """Return whether a ZIP holds a container of ours but lacks the container's signature."""
    manifest = directory.find("manifest.json")
    if manifest is None or directory.find("graph.json") is None:
        return False
    return b'"format": "persist"' in directory.peek(manifest, 200)


_CONTROL = ("manifest.json", "graph.json", ".persist/", ".generations/")


class NpzReader(Reader):
    """NumPy's NPZ: a ZIP of NPY files."""

    name = "npz"
    suffixes = (".npz",)
    writes = True
    is_flat = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "file":
            return None
        directory = ZipDirectory.of(source)
        if directory is None:
            return _broken_off(source)
        if not directory.members:
            return "an empty ZIP, as numpy.savez writes without arrays"
        files = [member for member in directory.members if not member.is_folder]
        named = [member for member in files if member.name.endswith(_SUFFIX)]
        if named:
            is_array = _is_array(directory, named[0])
            return f"ZIP with the NPY member {named[0].name!r}" if is_array else None
        if files and all(_is_array(directory, member) for member in files[:_LOOKED_AT]):
            return "ZIP of NPY members"
        return None

    def read(self, source: Source, options: Options) -> Content:
        reading = _Reading(options)
        if options.salvage:
            directory = ZipDirectory.whole(source, reading.damage)
        else:
            directory = ZipDirectory.of(source) or _of_broken(source)
        tree: dict[str, object] = {}
        names: dict[str, str] = {}
        repacked = _is_container(directory)
        if repacked:
            reading.damage.append(
                "this is a container of persist that another program has packed anew: only its arrays "
                "are read; what else it holds (text, numbers, objects, in graph.json) is not. Get the "
                "file as persist wrote it"
            )
        for member in directory.members:
            if member.is_folder or (repacked and member.name.startswith(_CONTROL)):
                continue
            key = free_name(member.name.removesuffix(_SUFFIX), tree)
            names[key] = member.name
            try:
                tree[key] = _member(directory, member, reading)
            except DamagedFileError as error:
                if not options.salvage:
                    raise error.at(file=source.name, where=f"member {member.name!r}") from error
                reading.damage.append(str(error))
        return Content(
            tree,
            structure={"members": list(names.values()), "globals": reading.global_names()},
            writer=reading.writer(),
            damage=reading.damage,
            globals=reading.globals,
        )

    def write(self, tree: Any, target: IO[bytes], **options: object) -> None:
        """Write arrays by name, as ``numpy.savez`` does.

        Args:
            tree: name -> array; an array named "" is stored as ``arr_0``.
            target: an open binary file.
            options: ``compress="deflate"`` compresses as ``numpy.savez_compressed`` does.

        Raises:
            FormatError: an array of objects, which NPY could store only as a pickle.
        """
        import zipfile

        compress = options.pop("compress", None)
        if options or compress not in (None, "deflate"):
            wrong = sorted(options)[0] if options else f"compress={compress!r}"
            raise FormatError(
                f"npz has no option {wrong}.", remedy='The only option is compress="deflate".'
            )
        method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        with zipfile.ZipFile(target, "w", method, allowZip64=True) as archive:
            for name, value in tree.items():
                array = np.asarray(value)
                if array.dtype.hasobject:
                    raise FormatError(
                        f"{name!r} is an array of objects, which NPZ holds only as a pickle.",
                        remedy='Write format="persist" instead.',
                    )
                with archive.open(f"{name or 'arr_0'}{_SUFFIX}", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def _is_array(directory: ZipDirectory, member: Member) -> bool:
    try:
        return directory.peek(member, len(MAGIC)) == MAGIC
    except (FormatError, ImportError):
        return False


def _member(directory: ZipDirectory, member: Member, reading: _Reading) -> object:
    """Return a member: an array (mapped or lazy) if it starts with the NPY magic, else its bytes."""
    if member.method != STORED and reading.options.verify != "always":
        head = _head(directory, member)
        if head is not None:
            header = read_header(head.cursor())
            if not header.dtype.hasobject:
                return _lazy(directory, member, header, reading)
    part = directory.open(member, verify=reading.options.verify == "always")
    if part.head(len(MAGIC)) != MAGIC:
        return part.read(0, part.size)
    cursor = part.cursor()
    value = reading.array(cursor)
    _report_rest(member, cursor.left, reading)
    return value


def _head(directory: ZipDirectory, member: Member) -> Source | None:
    """Return the start of a compressed member with its NPY header; None if it has no header."""
    head = directory.peek(member, _PEEKED)
    if not head.startswith(MAGIC):
        return None
    width = 2 if head[6:7] == b"\1" else 4
    length = len(MAGIC) + 2 + width + int.from_bytes(head[8 : 8 + width], "little")
    if len(head) < length <= member.size:
        head = directory.peek(member, length)
    return directory.source.nested(head, f"member {member.name!r}")


def _lazy(
    directory: ZipDirectory, member: Member, header: Header, reading: _Reading
) -> LazyArray | Array:
    """Return a compressed array that is decompressed on access."""
    reading.headers.append(header)
    left = member.size - header.length
    if header.nbytes > left:
        raise DamagedFileError(
            f"{header.nbytes:,} bytes of an array {header.shape} are claimed, "
            f"but {left:,} are in the member.",
            file=directory.source.name,
            where=f"member {member.name!r}",
            remedy="The file is damaged; copy it again from where it came from.",
        )
    _report_rest(member, left - header.nbytes, reading)

    def fetch() -> Array:
        part = directory.open(member)
        return np.asarray(part.array(header.length, header.dtype, header.shape, header.order))

    if not header.nbytes:  # costs nothing now, and an impossible shape raises here
        return fetch()
    return LazyArray(header.dtype, header.shape, fetch)


def _report_rest(member: Member, rest: int, reading: _Reading) -> None:
    if rest:
        reading.damage.append(f"member {member.name!r}: {rest:,} bytes follow its array")


# Truncated archives.


def _broken_off(source: Source) -> str | None:
    """Return why a ZIP without a directory is NumPy's, judged by its first local header, or None."""
    head = source.head(30 + 1024)
    if head[:4] != b"PK\3\4" or len(head) < 30:
        return None
    length = int.from_bytes(head[26:28], "little")
    if not head[30 : 30 + length].endswith(_SUFFIX.encode()) or length > 1024:
        return None
    name = head[30 : 30 + length].decode("utf-8", "replace")
    return f"begins as a ZIP with the NPY member {name!r}, but its directory is missing or broken"


def _of_broken(source: Source) -> ZipDirectory:
    """Raise the error that states the damage, with the way to what is whole."""
    try:
        return ZipDirectory.read(source)
    except DamagedFileError as error:
        error.remedy += " Open it with salvage=True for the members that are whole."
        raise
