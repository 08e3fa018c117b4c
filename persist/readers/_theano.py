"""Read and write Theano's ``pkl`` archives, which `persist.readers.theano` describes."""

from __future__ import annotations

import posixpath
import zipfile
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from persist._runtime.free_names import free_name
from persist._runtime.lazy_regex import regex
from persist._wire.archives.stored_zip import StoredZip
from persist._wire.archives.zip import STORED, Member, ZipDirectory
from persist._wire.base.source import Cursor, Source
from persist._wire.npy.npy import MAGIC, dtype_of, header_bytes, read_array, read_header
from persist._wire.pickle import numpy_rebuild, stdlib_rebuild
from persist._wire.pickle.machine import Machine
from persist._wire.pickle.writer import PickleWriter
from persist.errors import DamagedFileError, FormatError, LimitError
from persist.readers.base import Content, Options
from persist.tree import ABSENT, LazyArray, PersistentRef, Record
from persist.typing import Array, DType

__all__ = ["read_zip", "write_zip"]

REBUILD = {**stdlib_rebuild.REBUILD, **numpy_rebuild.REBUILD}

FINISH = {**stdlib_rebuild.FINISH, **numpy_rebuild.FINISH}

_PICKLE = "pkl"
_PEEKED = 4096  # bytes of a member in which the header of its array usually is whole

_CHUNK = 1 << 24


def write_zip(tree: Any, target: IO[bytes], **options: Any) -> None:
    """Write an archive; see `TheanoZipReader.write`."""
    protocol, compress = options.pop("protocol", 2), options.pop("compress", None)
    reducer = options.pop("reducer", None)
    if options or compress not in (None, "deflate"):
        wrong = sorted(options)[0] if options else f"compress={compress!r}"
        raise FormatError(
            f"theano-zip has no option {wrong}.",
            remedy='There are protocol= and compress="deflate".',
        )
    parts: list[bytes] = []
    writer = _Writer(parts.append, protocol, reducer, _paths(tree))
    writer.dump(tree)
    data = b"".join(parts)
    if compress:
        _deflated(target, writer.members, data)
        return
    archive = StoredZip(target.write)
    for name, array in writer.members.items():
        head = _header(array)
        size = len(head) + array.nbytes
        archive.add_chunks(name, size, lambda head=head, array=array: _chunks(head, array))  # type: ignore[misc]
    archive.add(_PICKLE, data)
    archive.finish()


def read_zip(source: Source, options: Options) -> Content:
    """Read an archive: the pickle, and the arrays that it names."""
    directory = ZipDirectory.of(source)
    member = directory.find(_PICKLE) if directory is not None else None
    if directory is None or member is None:
        raise DamagedFileError(f"no member {_PICKLE!r} is in it.", file=source.name)
    pickle = directory.open(member, options.verify == "always")
    arrays = _Arrays(directory, options)
    machine = Machine(
        pickle,
        py2_str=options.py2_str,
        persistent=arrays.resolve,
        rebuild=REBUILD,
        finish=FINISH,
    )
    arrays.machine = machine
    cursor = pickle.cursor()
    try:
        tree = machine.load(cursor)
    except DamagedFileError as error:
        if not options.salvage:
            raise
        arrays.damage.append(str(error))
        tree, cursor.offset = machine.unfinished(), pickle.size
    if cursor.left:
        arrays.damage.append(f"{cursor.left:,} bytes follow the pickle in its member")
    structure = {
        "protocol": machine.protocol,
        "members": [other.name for other in directory.members],
        "persistent_ids": list(arrays.known),
        "globals": sorted(f"{ref.module} {ref.name}" for ref in machine.globals.values()),
    }
    if arrays.contexts:
        structure["contexts"] = arrays.contexts
    return Content(
        tree,
        structure=structure,
        writer={"python": "2"} if machine.has_py2_str else {},
        damage=arrays.damage,
        globals=set(machine.globals),
    )


class _Arrays:
    """The members that persistent ids name, each read once."""

    machine: Machine

    def __init__(self, directory: ZipDirectory, options: Options) -> None:
        self.directory = directory
        self.options = options
        self.known: dict[str, Any] = {}
        self.contexts: dict[str, object] = {}
        self.damage: list[str] = []
        self._by_bytes = {member.raw: member for member in directory.members}

    def resolve(self, pid: object) -> Any:
        """Return the array of a persistent id, or ABSENT where there is none."""
        if isinstance(pid, bytes):
            pid = pid.decode("utf-8", "surrogateescape")
        if not isinstance(pid, str):
            return ABSENT
        if pid not in self.known:
            self.known[pid] = self._read(pid)
        return self.known[pid]

    def _read(self, pid: str) -> object:
        kind, _, name = pid.partition(".")
        read = _KINDS.get(kind)
        if read is None:
            return ABSENT
        member = self._find(name)
        if member is None:
            self.damage.append(f"the array of {pid!r} is missing: there is no member {name!r}")
            return ABSENT
        try:
            return read(self, member)
        except LimitError:
            raise
        except FormatError as error:
            if not self.options.salvage:
                raise error.at(
                    file=self.directory.source.name, where=f"member {member.name!r}"
                ) from error.__cause__
            self.damage.append(str(error))
            return ABSENT

    def _find(self, name: str) -> Member | None:
        """The member of a name, or of what ``zipfile`` made of it when it was written."""
        raw = name.encode("utf-8", "surrogateescape")
        if name == _PICKLE:  # a variable of that name, which Theano writes and cannot read again
            same = [member for member in self.directory.members if member.name == name]
            return same[-2] if len(same) > 1 else None
        found = self._by_bytes.get(raw) or self.directory.find(name)
        if found is None:
            written = _as_member(name)
            found = self._by_bytes.get(written.encode("utf-8", "surrogateescape"))
        return found

    def array(self, member: Member) -> Any:
        """The array of a member, mapped where it is stored, else unpacked when it is asked for."""
        is_large = member.size > _PEEKED
        if is_large and member.method != STORED and self.options.verify != "always":
            head = self.directory.source.nested(
                self.directory.peek(member, _PEEKED), f"member {member.name!r}"
            )
            lazy = self._lazy(head, member)
            if lazy is not None:
                return lazy
        part = self.directory.open(member, self.options.verify == "always")
        return self._npy(Cursor(part))

    def _lazy(self, head: Source, member: Member) -> LazyArray | None:
        """An array whose header is whole in what was peeked; None where it must be read at once."""
        if head.head(len(MAGIC)) != MAGIC:
            return None
        try:
            header = read_header(Cursor(head))
        except FormatError:
            return None
        if header.dtype.hasobject or not header.nbytes:
            return None
        if header.length + header.nbytes > member.size:
            return None

        def fetch() -> Array:
            part = self.directory.open(member)
            return np.asarray(part.array(header.length, header.dtype, header.shape, header.order))

        return LazyArray(header.dtype, header.shape, fetch)

    def _npy(self, cursor: Cursor) -> Any:
        """Return an array; one of objects is a pickle, which holds no persistent ids."""
        made: list[Machine] = []

        def factory(source: Source) -> Machine:
            made.append(self._plain(source))
            return made[0]

        value = read_array(cursor, factory)
        for machine in made:
            self._account(machine)
        return value

    def _plain(self, source: Source) -> Machine:
        return Machine(source, py2_str=self.options.py2_str, rebuild=REBUILD, finish=FINISH)

    def _account(self, machine: Machine) -> None:
        for name, ref in machine.globals.items():
            self.machine.globals.setdefault(name, ref)

    def gpu_array(self, member: Member) -> object:
        """A pickle of the context's name, then the NPY."""
        part = self.directory.open(member, self.options.verify == "always")
        cursor = part.cursor()
        machine = self._plain(part)
        context = machine.load(cursor)
        self._account(machine)
        self.contexts[member.name] = context if isinstance(context, str) else None
        return self._npy(cursor)


_KINDS: dict[str, Callable[[_Arrays, Member], Any]] = {
    "ndarray": _Arrays.array,
    "gpuarray": _Arrays.gpu_array,
    "cuda_ndarray": _Arrays.array,
}


def _as_member(name: str) -> str:
    """What ``zipfile`` makes of a name when a file is added (``ZipInfo.from_file``)."""
    name = name.partition("\0")[0]
    return posixpath.normpath(name).lstrip("/") if name else name


class _Writer(PickleWriter):
    """Writes the pickle, and puts arrays among the members.

    Attributes:
        members: the arrays by the names of their members, in the order of the pickle.
    """

    def __init__(
        self,
        write: Callable[[Any], Any],
        protocol: int,
        reducer: Callable[[Any], Any] | None,
        paths: dict[int, str],
    ) -> None:
        super().__init__(write, protocol, reducer)
        self.members: dict[str, Array] = {}
        self._paths = paths
        self._given: dict[int, tuple[object, PersistentRef]] = {}

    def _save(self, value: Any) -> Iterator[object] | None:
        if type(value) in (np.ndarray, np.memmap, LazyArray) and _fits(value.dtype):
            return super()._save(self._reference_to(value))
        self._note(value)
        return super()._save(value)

    def _global(self, module: str, name: str) -> None:
        """NumPy's names of before 2.0: it still knows them, and Theano has no newer one."""
        super()._global(module.replace("numpy._core", "numpy.core", 1), name)

    def _note(self, value: object) -> None:
        """Remember the name of a shared variable for the array in it."""
        name, storage = _shared(value)
        if isinstance(name, str) and name and storage and id(storage[0]) not in self._given:
            self._paths[id(storage[0])] = name

    def _reference_to(self, value: object) -> PersistentRef:
        known = self._given.get(id(value))
        if known is None:
            name = self._free(self._paths.get(id(value), ""))
            self.members[name] = np.asarray(value)
            known = self._given[id(value)] = (value, PersistentRef(f"ndarray.{name}"))
        return known[1]

    def _free(self, path: str) -> str:
        """A name that no member has, and that the loaders of all ages take: without dots."""
        name = _as_member(_UNFIT.sub("_", path))
        if not self._protocol:
            name = name.encode("ascii", "replace").decode("ascii").replace("?", "_")
        taken = ChainMap[str, Any](self.members, {_PICKLE: None})
        if not name.strip("_/"):
            number = 0
            while f"array_{number}" in taken:
                number += 1
            return f"array_{number}"
        made: str = free_name(name, taken, "_")
        return made


# What would end a persistent id, or lead out of the archive, or mean another member elsewhere.
_UNFIT = regex(r"[.\\:\x00-\x1f\x7f]|[\ud800-\udfff]")


def _fits(dtype: DType) -> bool:
    """Return whether an NPY header can express exactly this dtype."""
    if dtype.hasobject:
        return False
    try:
        return dtype_of(np.lib.format.dtype_to_descr(dtype)) == dtype
    except (TypeError, ValueError):
        return False


def _shared(value: object) -> tuple[object, list[object] | None]:
    """The name and the storage of a shared variable, whether a record or alive; else no storage."""
    if isinstance(value, Record):
        fields = value.fields()
    elif type(value).__module__.partition(".")[0] in ("theano", "aesara", "pytensor"):
        fields = {name: getattr(value, name, None) for name in ("container", "name")}
    else:
        return None, None
    container = fields.get("container")
    if isinstance(container, Record):
        storage = container.fields().get("storage")
    else:
        storage = getattr(container, "storage", None)
    is_one = isinstance(storage, list) and len(storage) == 1
    return fields.get("name"), storage if is_one else None


def _paths(tree: object) -> dict[int, str]:
    """By identity of each array, the keys, attributes and indices that first lead to it."""
    paths: dict[int, str] = {}
    seen: set[int] = set()
    todo: list[tuple[str, object]] = [("", tree)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, np.ndarray | LazyArray):
            paths.setdefault(id(value), path)
            continue
        name, storage = _shared(value)
        if storage is not None:
            todo.append((name if isinstance(name, str) and name else path, storage[0]))
            continue
        if isinstance(value, Record):
            items: Any = value.fields().items()
        elif isinstance(value, dict):
            items = value.items()
        elif isinstance(value, list | tuple):
            items = enumerate(value)
        else:
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        prefix = f"{path}/" if path else ""
        below = [(f"{prefix}{key}", item) for key, item in items if isinstance(key, str | int)]
        todo += reversed(below)
    return paths


def _header(array: Array) -> bytes:
    return header_bytes(array.dtype, array.shape, _is_fortran(array))


def _is_fortran(array: Array) -> bool:
    return array.flags.f_contiguous and not array.flags.c_contiguous


def _chunks(head: bytes, array: Array) -> Iterator[bytes]:
    """The NPY of an array, in parts that take little memory."""
    yield head
    flat = (array.T if _is_fortran(array) else np.ascontiguousarray(array)).reshape(-1)
    rows = max(1, _CHUNK // max(1, array.itemsize))
    for start in range(0, len(flat), rows):
        yield flat[start : start + rows].tobytes()


def _deflated(target: IO[bytes], members: dict[str, Array], data: bytes) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for name, array in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                for chunk in _chunks(_header(array), array):
                    member.write(chunk)
        archive.writestr(_PICKLE, data)
