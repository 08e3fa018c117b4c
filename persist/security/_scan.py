"""Follow a file into all its parts, and judge what its loader would import."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from persist._api.layers import peel
from persist._runtime.lazy_regex import regex
from persist._wire.archives import tar
from persist._wire.archives.zip import Member, ZipDirectory
from persist._wire.base.source import Source, open_source
from persist._wire.compression import zfile
from persist.errors import LimitError, PersistError
from persist.security import _configs
from persist.security._names import Verdict, is_importable, judged
from persist.security._opcodes import NESTED, Import, Walk
from persist.security._report import Finding, ScanReport, sorted_findings

__all__ = ["scan"]

_DEPTH = 16  # parts inside parts
_PICKLES = 100_000  # pickles one after the other
_CARVED = 10_000  # places of a database at which a pickle may begin
_COPIED = 64 << 20  # bytes of a part that are copied
_STEPS = 1_000_000  # opcodes that are followed at those places, beyond two for each byte
_TEXT = 64 << 20  # bytes of a configuration that are parsed
_FILES = 200_000  # files of a folder
_FOUND = 100_000  # findings of one file

# Kinds that cannot be entered: by what they begin with.
_CLOSED = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"MSCF", "a cabinet archive"),
    (b"\x1f\x9d", "a file of compress(1)"),
    (b"LZIP", "an lzip file"),
    (b"\x89LZO\x00", "an lzop file"),
)
_STRONG = regex(rb"\x80[\x00-\x05]")
_CARVE = regex(
    rb"\x80[\x02-\x05][\x95\x63\x58\x28\x7d\x5d\x8c\x4b\x4a\x4d\x29\x4e\x47\x68\x43\x42]"
)
_SQLITE = b"SQLite format 3\0"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def scan(source: Any, *, limits: Any = None) -> ScanReport:
    """Return what ``pickle.load``, ``torch.load``, ``joblib.load``, ``numpy.load`` with
    ``allow_pickle``, or Keras would import and call if they loaded a file.

    Nothing is imported or called, and no object is built. The content decides how a part is
    looked at, never its name: pickles are followed opcode by opcode, several in one file too;
    members of ZIP and tar archives, compressed layers, object arrays, and files in the bytes of a
    pickle are entered. A pickle that breaks off is reported with all names before that place.

    Args:
        source: a path, ``bytes``, an open binary file or an fsspec URL; of a folder all files in
            it are looked at.
        limits: as for `persist.open`; what would exceed them is reported as a part that could
            not be looked at.

    Returns:
        The report; `ScanReport.verdict` is the most severe of its findings.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    if isinstance(source, str | os.PathLike) and os.path.isdir(source):
        return _folder(os.fspath(source), limits)
    looked = _Looked()
    name = "<bytes>"
    try:
        opened = open_source(source, limits=limits)
        name = opened.name
        try:
            looked.part(opened, "", 0)
        finally:
            opened.close()
    except PersistError as error:
        looked.closed(error.what, "")
    return ScanReport(name, sorted_findings(looked.findings.values()))


def _folder(path: str, limits: object) -> ScanReport:
    """All files of a folder in one report; links are not followed out of it."""
    found: list[Finding] = []
    for count, name in enumerate(_files(path)):
        own = os.path.relpath(name, path)
        if count >= _FILES:
            why = f"more than {_FILES:,} files are in the folder"
            found.append(Finding("could not look", "", why, own))
            break
        try:
            report = scan(name, limits=limits)
        except OSError as error:
            why = f"it cannot be read: {error.strerror or error}"
            found.append(Finding("could not look", "", why, own))
            continue
        found += [
            Finding(one.verdict, one.name, one.why, " > ".join(filter(None, (own, one.place))), one.offset)
            for one in report.findings
        ]  # fmt: skip
    return ScanReport(path, sorted_findings(found))


def _files(path: str) -> Iterator[str]:
    for folder, names, files in os.walk(path):
        names.sort()
        for name in sorted(files):
            whole = os.path.join(folder, name)
            if os.path.isfile(whole):
                yield whole


class _Looked:
    """Collects the findings of one file."""

    def __init__(self) -> None:
        self.findings: dict[tuple[str, str, str], Finding] = {}
        self.limits: set[tuple[str, str]] = set()  # (why, place) of what a limit closed

    def add(
        self, verdict: Verdict, name: str, why: str, place: str, offset: int | None = None
    ) -> None:
        """Keep a finding; a name is kept once for each place."""
        key = (name or why, place, verdict)
        if key not in self.findings and len(self.findings) < _FOUND:
            self.findings[key] = Finding(verdict, name, why, place, offset)

    def closed(
        self, why: str, place: str, offset: int | None = None, *, is_limit: bool = False
    ) -> None:
        """Keep that a part could not be looked at."""
        why = why.rstrip(".")
        self.add("could not look", "", why, place, offset)
        if is_limit:
            self.limits.add((why, place))

    def part(self, source: Source, place: str, depth: int) -> None:
        """Look at a file, or at a part of one."""
        if depth > _DEPTH:
            self.closed(f"more than {_DEPTH} parts are inside each other", place, is_limit=True)
            return
        if source.kind != "file" or not source.size:
            return
        try:
            self._entered(source, place, depth)
        except PersistError as error:
            self.closed(error.what, place, is_limit=isinstance(error, LimitError))
        except (RecursionError, MemoryError, ValueError, OSError) as error:
            self.closed(f"it cannot be parsed ({type(error).__name__})", place)

    def _entered(self, source: Source, place: str, depth: int) -> None:
        head = source.head(512)
        for magic, what in _CLOSED:
            if head.startswith(magic):
                self.closed(f"it is {what}, which is not entered", place)
                return
        is_zip = self._zip(source, place, depth)
        if is_zip and head.startswith(b"PK"):
            return
        if zfile.is_packed(source):
            self.part(zfile.unpacked(source), _step(place, "zlib"), depth + 1)
            return
        if not is_zip and self._layer(source, place, depth):
            return
        if tar.is_tar(source) or _is_old_tar(source):
            self._tar(source, place, depth)
            return
        if head.startswith(b"\x93NUMPY"):
            self._npy(source, place)
            return
        if head.startswith((_HDF5, _SQLITE)) or _HDF5 in head:
            self._database(source, place, depth)
            return
        if _is_safetensors(source):
            return
        self._text_or_graph(source, place)
        self._pickles(source, 0, place, depth)

    # Archives and layers.

    def _zip(self, source: Source, place: str, depth: int) -> bool:
        """Enter all members of a ZIP, those that its directory leaves out too."""
        head = source.head(4)
        if not head.startswith(b"PK") and b"PK\x05\x06" not in source.tail(1 << 16):
            return False
        opened: set[int] = set()  # where the members that could be read begin
        closed: dict[int, tuple[str, str]] = {}
        directories: list[ZipDirectory] = []
        faults: list[str] = []
        for read in (ZipDirectory.read, ZipDirectory.headers, ZipDirectory.salvage):
            try:
                directory = read(source)
            except PersistError as error:
                faults.append(error.what)
                continue
            directories.append(directory)
            for member in directory.members:
                if member.is_folder or member.offset in opened:
                    continue
                try:
                    self._member(directory, member, place, depth)
                except PersistError as error:
                    closed[member.offset] = error.what, _step(place, member.name)
                else:
                    opened.add(member.offset)
        for offset, (why, own) in closed.items():
            if offset not in opened:
                self.closed(why, own)
        if head.startswith(b"PK\x03\x04") and not directories:
            self.closed(f"the archive cannot be read: {faults[0]}", place)
        return bool(directories) or head.startswith(b"PK\x03\x04")

    def _member(self, directory: ZipDirectory, member: Member, place: str, depth: int) -> None:
        """Look at a member.

        Raises:
            PersistError: it cannot be opened.
        """
        own = _step(place, member.name)
        if member.name.endswith(".py") and "/code/" in f"/{member.name}":
            why = "TorchScript code, which torch.jit.load compiles and the model runs"
            self.add("unknown", member.name, why, own)
            return
        self.part(directory.open(member), own, depth + 1)

    def _layer(self, source: Source, place: str, depth: int) -> bool:
        """Take off one layer of compression; what is whole of a broken one is looked at."""
        broken: list[str] = []
        found = peel(source, broken)
        if found is None:
            return False
        inner, name = found
        own = _step(place, name.partition(" ")[0])
        for why in broken:
            self.closed(why, own)
        self.part(inner, own, depth + 1)
        return True

    def _tar(self, source: Source, place: str, depth: int) -> None:
        damage: list[str] = []
        for member in tar.members(source, 1_000_000, damage):
            if not member.link:
                self.part(tar.whole(source, member), _step(place, member.name), depth + 1)
        for what in damage:
            self.closed(what, place)

    # Arrays, databases, configurations.

    def _npy(self, source: Source, place: str) -> None:
        from persist._wire.npy.npy import read_header

        cursor = source.cursor()
        header = read_header(cursor)
        if header.dtype.hasobject:
            self._pickles(source, cursor.offset, place, 0, strong=True)

    def _database(self, source: Source, place: str, depth: int) -> None:
        """HDF5 and SQLite: look at the stored bytes, and at the values that a reader gives."""
        data = source.view(0, source.size)
        self._carve(source, place, depth)
        for match in _configs.LAMBDA_TEXT.finditer(data):
            name = bytes(match[1]).decode()
            self.add("dangerous", name, _configs._RUNS_LAMBDA, place, match.start())
        from persist._api.open import open as opened

        local = None if source._base else source.path
        with opened(source.read(0, source.size) if local is None else local) as file:
            for path, value in _leaves(file):
                data_of = value.encode() if isinstance(value, str) else bytes(value)
                if data_of[:1] in (b"{", b"["):
                    self._json(data_of, _step(place, path))
                elif NESTED.match(data_of):
                    self._nested(data_of, source, _step(place, path), depth)

    def _carve(self, source: Source, place: str, depth: int) -> None:
        """Try every place at which a pickle may begin; what is whole, or dangerous, is kept."""
        data = _bytes_of(source)
        end, steps = 0, 0
        for count, match in enumerate(_CARVE.finditer(data)):
            if count >= _CARVED or steps > 2 * source.size + _STEPS:
                self.closed("a pickle may begin at too many places", place, is_limit=True)
                return
            if match.start() < end:
                continue
            walk = Walk(data, match.start())
            steps += walk.steps
            if not walk.fault:
                end = walk.end
            self._walked(walk, source, place, depth, is_sure=not walk.fault)

    def _text_or_graph(self, source: Source, place: str) -> None:
        """Configurations of Keras, YAML with tags, graphs of TensorFlow."""
        head = source.head(512)
        text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        is_text = not any(byte < 9 for byte in head)
        if is_text and text[:1] in (b"{", b"[") and source.size <= _TEXT:
            self._json(source.read(0, source.size), place)
        elif is_text and source.size <= _TEXT:
            for found in _configs.found_in_yaml(source.read(0, source.size)):
                self.add(found[0], found[1], found[2], place, found[3])
        elif head[:1] in (b"\x0a", b"\x08", b"\x12") and source.size <= 4 * _TEXT:
            data = source.read(0, source.size)
            for found in _configs.found_in_graph(data):
                self.add(found[0], found[1], found[2], place, found[3])
            for match in _configs.LAMBDA_TEXT.finditer(data):  # keras_metadata.pb
                name = match[1].decode()
                self.add("dangerous", name, _configs._RUNS_LAMBDA, place, match.start())

    def _json(self, data: bytes, place: str) -> None:
        try:
            for verdict, name, why, offset in _configs.found_in_json(data):
                self.add(verdict, name, why, place, offset)
        except ValueError:  # text that begins like JSON
            for match in _configs.LAMBDA_TEXT.finditer(data):
                name = match[1].decode()
                self.add("dangerous", name, _configs._RUNS_LAMBDA, place, match.start())
        except RecursionError:
            self.closed("its JSON is nested too deep to be looked at", place)

    # Pickles.

    def _pickles(
        self, source: Source, at: int, place: str, depth: int, *, strong: bool = False
    ) -> None:
        """Walk through the pickles one after the other, and what each makes of raw arrays."""
        data = _bytes_of(source)
        strong = strong or bool(_STRONG.match(data[at : at + 2]))
        for number in range(_PICKLES):
            walk = Walk(data, at)
            is_whole = not walk.fault
            is_sure = is_whole or (strong and not number)
            self._walked(walk, source, place, depth, is_sure=is_sure)
            if walk.has_wrappers and not number:
                # pickle.load reads the raw arrays as opcodes, where joblib skips them
                self._walked(Walk(data, at, with_arrays=False), source, place, depth, is_sure=False)
            if not is_whole:
                if strong and not number:
                    self.closed(f"the pickle breaks off: {walk.fault}", place, walk.end)
                return
            at = _past_zeros(data, walk.end)
            if at >= len(data):
                return
        self.closed(f"more than {_PICKLES:,} pickles are in it", place)

    def _walked(self, walk: Walk, source: Source, place: str, depth: int, *, is_sure: bool) -> None:
        """Judge the names of a walk.

        Args:
            walk: the walk.
            source: what holds the pickle, whose limits count for what is in its bytes.
            place: of the pickle.
            depth: parts around it.
            is_sure: whether the bytes are a pickle; of what only may be one, the names that are
                dangerous or suspicious count.
        """
        for one in walk.imports.values():
            self._import(one, place, is_sure)
        for nested in walk.nested:
            own = _step(place, f"bytes at offset {nested.offset}")
            self._nested(nested.data, source, own, depth)
        if walk.is_cut and is_sure:
            self.closed("more names or embedded files are in it than are kept", place)

    def _import(self, one: Import, place: str, is_sure: bool) -> None:
        if one.how == "global" and not is_importable(one.module, one.name):
            if is_sure:
                why = "no module has such a name, so that loading fails here"
                self.add("unknown", f"{one.module}.{one.name}"[:200], why, place, one.offset)
            return
        if one.how in ("extension", "computed") and not is_sure and place:
            return  # raw numbers of a member that begin like this opcode
        verdict, why = judged(one.module, one.name, one.how)
        if is_sure or verdict in ("dangerous", "suspicious"):
            self.add(verdict, f"{one.module}.{one.name}", why, place, one.offset)

    def _nested(self, data: bytes, source: Source, place: str, depth: int) -> None:
        """Look at bytes in a pickle that begin like a file; most are only data that do.

        So what cannot be looked at in them counts only where a limit was the reason.
        """
        inner = _Looked()
        try:
            inner.part(source.nested(data, "bytes in it"), place, depth + 1)
        except LimitError as error:
            self.closed(error.what, place, is_limit=True)
            return
        for one in inner.findings.values():
            if one.verdict != "could not look" or (one.why, one.place) in inner.limits:
                self.add(one.verdict, one.name, one.why, one.place, one.offset)
        self.limits |= inner.limits


def _step(place: str, name: str) -> str:
    return f"{place} > {name}" if place else name


def _bytes_of(source: Source) -> bytes | memoryview:
    """All of a part; a copy of what is not large, since bytes are faster than a view."""
    return source.read(0, source.size) if source.size <= _COPIED else source.view(0, source.size)


def _past_zeros(data: bytes | memoryview, at: int) -> int:
    """Skip zero bytes: databases of Python align their values with them."""
    while at < len(data):
        chunk = bytes(data[at : at + 4096])
        rest = chunk.lstrip(b"\0")
        if rest:
            return at + len(chunk) - len(rest)
        at += len(chunk)
    return at


def _is_old_tar(source: Source) -> bool:
    """Whether it begins with a header of Unix version 7, which has no magic but a sum."""
    return source.size >= 1024 and tar._size(source.head(512)) is not None


def _is_safetensors(source: Source) -> bool:
    """Whether it begins with the length of a JSON header, and that header."""
    head = source.head(16)
    if len(head) < 10 or head[8:9] != b"{":
        return False
    return int.from_bytes(head[:8], "little") + 8 <= source.size


def _leaves(file: Any) -> Iterator[tuple[str, Any]]:
    """The texts and bytes of a file of HDF5 or SQLite, with their paths."""
    small: Callable[[Any], bool] = lambda value: isinstance(value, str | bytes | bytearray)  # noqa: E731
    for path, value in file.scalars.items():
        items = value if isinstance(value, list | tuple) else (value,)
        yield from ((path, item) for item in items if small(item) and len(item) >= 8)
    for path in file.arrays:
        array = file.arrays[path]
        kind = array.dtype.kind
        if kind in "SVO" and array.size <= 1_000_000:
            for item in array[...].ravel().tolist():
                if small(item) and len(item) >= 8:
                    yield path, item
        elif kind in "iu" and array.dtype.itemsize == 1 and array.size >= 8:
            yield path, array[...].tobytes()
