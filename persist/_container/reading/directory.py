"""The ends of a container: its directory, manifest and control members, which say what it holds."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from persist._container.checksums import CHUNK, Digest, crc32, digest_named
from persist._container.layout import (
    CENTRAL,
    CENTRAL_MAGIC,
    DIGESTS,
    END,
    END64,
    END_MAGIC,
    FULL,
    GENERATION,
    GRAPH,
    INDEX,
    INDIRECT,
    LOCATOR,
    MANIFEST,
    METHODS,
    PATHS,
    READABLE,
    TAIL,
    VERSION,
    central_entry,
    end_of_directory,
    local_header,
    manifest_tail,
)
from persist._container.reading.lookup import Lookup
from persist._container.reading.unpack import unpacked
from persist._wire.base.source import Source
from persist._wire.npy.npy import Header, read_header
from persist.errors import (
    DamagedFileError,
    FutureVersionError,
    MissingExtraError,
    PersistError,
)
from persist.typing import DType

__all__ = ["EMPTY", "Directory", "Entry", "Place"]

_STATED = ("metadata", "schemas", "globals", "writer")  # what every manifest has
EMPTY = 1 << 24  # items without bytes, whose number costs a file nothing
_REMEDY = "Copy the file again from where it came from."
_MOST = 100_000  # entries of older generations
# A mapped file of up to so many bytes is checked as a whole by default, of a longer one members
# of up to so many: a mapped load of a long file shall not read all of it.
_SHORT = 64 << 20
_SMALL = 1 << 20


class Entry(NamedTuple):
    """One member, as the directory has it.

    Attributes:
        name: UTF-8.
        method: of compression.
        crc: of its bytes before compression.
        packed: bytes in the file.
        size: bytes before compression.
        offset: of its local header.
        length: of the entry itself, in the directory.
    """

    name: bytes
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    length: int

    @property
    def text(self) -> str:
        """Its name, as an error says it."""
        return self.name.decode("utf-8", "replace")


class Place(NamedTuple):
    """Where an array's data are, and what they mean.

    Attributes:
        entry: of the member.
        offset: of the member's bytes in the file.
        header: of the NPY.
    """

    entry: Entry
    offset: int
    header: Header


def _said(digest: Any, name: str) -> bytes:
    """What the manifest says of a member's digest; nothing where it says no such thing."""
    try:
        return bytes.fromhex(digest["members"][name])
    except (KeyError, TypeError, ValueError):
        return b""


def _width(digest: Any, algorithm: Digest | None) -> int:
    if algorithm is not None:
        return algorithm.width
    return 16 if digest.get("algorithm") == "xxh3-128" else 32


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "replace"))


class Directory:
    """What a container says that it holds, read from its end and compared with itself."""

    manifest: dict[str, Any]

    def _begin(self, source: Source, verify: str | None) -> None:
        """Set what is known before anything is read."""
        self.source = source
        self.verify = verify
        if verify is None and (not source.is_mapped or source.is_copy):
            self.verify = "lazy"
        is_whole = source.is_in_memory or source.size <= _SHORT
        self._checked_at_once = math.inf if is_whole else _SMALL
        self._places: dict[int, Place] = {}
        self._headers: dict[bytes, Header] = {}
        self._blocks: dict[int, Any] = {}
        self._touched: set[int] = set()
        self._control: dict[str, Entry] = {}
        self._paths: bytes | None = None
        self.notes: list[str] = []

    def __len__(self) -> int:
        return int(self._count)

    def damaged(self, what: str, where: str | None = None) -> DamagedFileError:
        """Return the error that says what is wrong, and where."""
        return DamagedFileError(what, file=self.source.name, where=where, remedy=_REMEDY)

    def _end(self) -> None:
        source = self.source
        if source.size < END.size:
            raise self.damaged(f"{source.size} bytes are no container.")
        tail = source.tail(END.size + END64.size + LOCATOR.size)
        end = tail[-END.size :]
        if not end.startswith(END_MAGIC):
            raise self.damaged(
                "the file does not end with a ZIP's end of directory: it is truncated, or bytes follow."
            )
        _, _, _, _, count, size, offset, _ = END.unpack(end)
        length = END.size
        # ZIP64: one of the numbers does not fit the classic end, which holds its largest value then.
        if count == 0xFFFF or size == FULL or offset == FULL:
            length = len(tail)
            fields = END64.unpack(tail[: END64.size]) if len(tail) > 76 else (b"", *[0] * 9)
            count, size, offset = fields[7:10]
        # Rebuilt from its own numbers and compared: fields that no reader uses cannot hide anything.
        if tail[len(tail) - length :] != end_of_directory(count, size, offset) or (
            offset + size + length != source.size
        ):
            raise self.damaged("the end of the directory is not what its own numbers ask for.")
        self._entries = count
        self._directory = offset
        self._directory_size = size

    def _manifest(self) -> dict[str, object]:
        # The manifest's entry is the last one. It is 12 bytes longer if the member begins behind
        # 4 GiB: an extra field of ZIP64 with the offset.
        least = CENTRAL.size + len(MANIFEST) + TAIL.size
        for length in (least, least + 12):
            if length > self._directory_size:
                break
            at = self._directory_size - length
            data = self.source.read(self._directory + at, length)
            if data[:4] == CENTRAL_MAGIC and data[CENTRAL.size :].startswith(MANIFEST.encode()):
                break
        else:
            at = 0
        tail = self.source.read(self._directory + self._directory_size - TAIL.size, TAIL.size)
        _, _, mark, version, first = TAIL.unpack(tail)
        if mark == b"persist" and version not in READABLE:
            raise self._alien(version, at, tail)
        entry = self._entry(at, manifest_tail(first, version))
        if entry.name != MANIFEST.encode() or at + entry.length != self._directory_size:
            raise self.damaged("the directory does not end with its manifest.")
        self._first = first
        self.version = version
        manifest = self._json(entry, MANIFEST)
        stated = manifest.get("version") if isinstance(manifest, dict) else None
        if type(stated) is int and stated > VERSION and manifest.get("format") == "persist":
            raise self._future(stated)
        if (
            not isinstance(manifest, dict)
            or stated != version
            or type(manifest.get("arrays")) is not int
        ):
            raise self.damaged(f"the version is {stated!r}.", f"member {MANIFEST!r}")
        lacking = [name for name in _STATED if name not in manifest]
        if lacking:
            raise self.damaged(f"it does not state {', '.join(lacking)}.", f"member {MANIFEST!r}")
        self._count = manifest["arrays"]
        self._control[MANIFEST] = entry
        self._last = entry.length
        return manifest

    def _alien(self, version: int, at: int, tail: bytes) -> PersistError:
        """The error for a version in the directory that is not ours: newer, or damaged."""
        # A flipped bit in the number must not send the user to look for a newer release. The manifest
        # has a checksum, so where it can be read it decides.
        try:
            manifest = self._json(self._entry(at, tail), MANIFEST)
            stated = manifest.get("version") if isinstance(manifest, dict) else None
        except DamagedFileError:  # laid out otherwise: take it at its word
            stated = version
        if stated == version and version > VERSION:
            return self._future(version)
        return self.damaged(f"its directory says version {version}, its manifest {stated}.")

    def _future(self, version: object) -> FutureVersionError:
        return FutureVersionError(
            f"the container is of version {version}.",
            file=self.source.name,
            remedy=f"This program reads versions 1 to {VERSION}. Install a newer persist.",
        )

    def _check_control(self) -> None:
        """Read the entries of graph, index and digests; they follow the arrays' in the directory."""
        found = self._entries_from(self._first, self._directory_size - self._last)
        self._control = {MANIFEST: self._control[MANIFEST], **found}
        digest = self.manifest.get("digest")
        self._has_paths = PATHS in found and self.version > 1
        expected = [
            GRAPH,
            INDEX,
            *([PATHS] if self._has_paths else []),
            *([DIGESTS] if digest else []),
        ]
        # What is neither an array nor one of these must be a member of an older generation.
        older = self._entries - self._count - len(found) - 1
        if list(found) != expected or older < 0 or (older and self.version < 2):
            raise self.damaged(
                f"the directory has {self._entries} entries, of them {list(self._control)}; "
                f"{self._count} arrays and {[*expected, MANIFEST]} were expected."
            )
        self._digest, self.unchecked = self._algorithm(digest)
        self._index = self._npy(INDEX, np.dtype("<u8"), (2, self._count))
        paths = self.manifest.get("paths", {})
        if type(paths) is not dict or not all(type(path) is str for path in paths.values()):
            raise self.damaged("its paths are not text.", f"member {MANIFEST!r}")
        self._lookup = Lookup(self._index, lambda number: self.entry(number).name, paths)
        self._digests = None
        if digest:
            width = _width(digest, self._digest)
            self._digests = self._npy(DIGESTS, np.dtype("u1"), (self._count, width))
        self.older = self._generations(older)

    def _entries_from(self, at: int, end: int) -> dict[str, Entry]:
        """The entries in a part of the directory, by name."""
        found: dict[str, Entry] = {}
        while at < end:
            entry = self._entry(at)
            found[entry.text] = entry
            at += entry.length
            if len(found) > _MOST:
                raise self.damaged("the directory has entries that the manifest does not know of.")
        return found

    def _generations(self, count: int) -> dict[str, Entry]:
        """The members of older generations, between the arrays and the graph in the directory."""
        if not count:
            return {}
        found = self._entries_from(self.arrays_end, self._first)
        if len(found) != count or not all(map(GENERATION.fullmatch, found)):
            raise self.damaged(f"it has unknown members: {list(found)[:8]}.")
        return found

    @property
    def arrays_end(self) -> int:
        """Where the entries of the arrays end in the directory."""
        if not self._count:
            return 0
        at = int(self._index[0, self._count - 1]) & ~INDIRECT
        return at + self._entry(at).length

    def _algorithm(self, digest: Any) -> tuple[Digest | None, str | None]:
        """The digest's algorithm, and why it is not checked."""
        if not digest:
            return None, "the file has no digests"
        try:
            name = digest["algorithm"]
            return digest_named(name), None
        except MissingExtraError:
            return None, f"the library for {name} is not installed"
        except (PersistError, KeyError, TypeError):
            raise self.damaged("its digest is of no known kind.", f"member {MANIFEST!r}") from None

    def _npy(self, name: str, dtype: DType, shape: tuple[int, ...]) -> Any:
        """A control member that is an NPY of known shape."""
        data = self._checked(name)
        source = self.source.nested(data, f"member {name!r}")
        cursor = source.cursor()
        header = read_header(cursor)
        if (header.dtype, header.shape, header.is_fortran) != (dtype, shape, False):
            raise self.damaged(
                f"it is an array of {header.dtype} {header.shape}.", f"member {name!r}"
            )
        if cursor.left != header.nbytes:
            raise self.damaged(
                f"it has {cursor.left} bytes of data instead of {header.nbytes}.",
                f"member {name!r}",
            )
        return np.frombuffer(data, dtype, offset=header.length).reshape(shape)

    def _checked(self, name: str) -> bytes:
        """All bytes of a control member, with CRC and digest checked."""
        entry = self._control[name]
        data = b"".join(self._data(entry, self._body(entry)))
        self._compare(entry, crc32(data))
        digest = self.manifest.get("digest")
        if digest and self._digest is not None:
            self._same(self._digest.once(data), _said(digest, name), entry)
        return data

    def _json(self, entry: Entry, name: str) -> Any:
        self._control[name] = entry
        if name == MANIFEST:
            data = b"".join(self._data(entry, self._body(entry)))
            self._compare(entry, crc32(data))
            del self._control[name]
        else:
            data = self._checked(name)
        return self.parsed(data, name)

    def graph(self) -> Any:
        """Return ``graph.json``, parsed."""
        return self._json(self._control[GRAPH], GRAPH)

    def _entry(self, at: int, tail: bytes = b"") -> Entry:
        """Read the entry at an offset in the directory, and check its every byte."""
        left = self._directory_size - at
        if at < 0 or left < CENTRAL.size:
            raise self.damaged(f"an entry at {at} is outside of the directory.")
        head = self.source.read(self._directory + at, CENTRAL.size)
        fields = CENTRAL.unpack(head)
        length, extra = fields[10], fields[11]
        whole = CENTRAL.size + length + extra
        if fields[0] != CENTRAL_MAGIC or whole > left:
            raise self.damaged(f"no entry of the directory begins at {at}.")
        rest = self.source.read(self._directory + at + CENTRAL.size, length + extra)
        name, more = rest[:length], rest[length:]
        method, crc = fields[4], fields[7]
        numbers = [fields[9], fields[8], fields[16]]  # size, packed, offset
        taken = 4
        for index, number in enumerate(numbers):
            if number == FULL and len(more) >= taken + 8:
                numbers[index] = int.from_bytes(more[taken : taken + 8], "little")
                taken += 8
        size, packed, offset = numbers
        if head + rest != central_entry(name, method, crc, packed, size, offset, tail):
            raise self.damaged(
                "its entry in the directory is not as persist writes it.", f"member {_shown(name)}"
            )
        if method not in METHODS.values() or (method == 0 and packed != size):
            raise self.damaged(f"its method is {method}, its size odd.", f"member {_shown(name)}")
        return Entry(name, method, crc, packed, size, offset, whole)

    def _body(self, entry: Entry) -> int:
        """Check the local header and return where the member's bytes begin."""
        expected = local_header(
            entry.name, entry.method, entry.crc, entry.packed, entry.size, entry.offset
        )
        end = entry.offset + len(expected) + entry.packed
        if end > self._directory:
            raise self.damaged(
                f"it ends at {end:,}, the directory begins at {self._directory:,}.",
                f"member {entry.text!r}",
            )
        if self.source.view(entry.offset, len(expected)) != expected:
            raise self.damaged(
                "its local header differs from the directory.", f"member {entry.text!r}"
            )
        return entry.offset + len(expected)

    def _data(self, entry: Entry, offset: int) -> Iterator[Any]:
        """The bytes of a member, unpacked, piece by piece."""
        if entry.method == 0:
            for at in range(0, entry.packed, CHUNK):
                yield self.source.view(offset + at, min(CHUNK, entry.packed - at))
            return
        self.source.spend(entry.size)
        made = 0
        try:
            for piece in unpacked(self.source, offset, entry.method, entry.packed):
                made += len(piece)
                if made > entry.size:
                    break
                yield piece
        except (zlib.error, ValueError, EOFError) as error:
            raise self.damaged(
                f"it cannot be unpacked ({error}).", f"member {entry.text!r}"
            ) from error
        if made != entry.size:
            raise self.damaged(
                f"it unpacks to other than {entry.size:,} bytes.", f"member {entry.text!r}"
            )

    def _compare(self, entry: Entry, crc: int) -> None:
        if crc != entry.crc:
            raise self.damaged(
                f"its CRC-32 is {crc:08x}, the directory says {entry.crc:08x}.",
                f"member {entry.text!r}",
            )

    def entry(self, number: int) -> Entry:
        """Return the entry of an array member."""
        return self._entry(int(self._index[0, number]) & ~INDIRECT)

    def end_of(self, entry: Entry) -> int:
        """Where a member ends in the file."""
        return entry.offset + len(self._local(entry)) + entry.packed

    def control(self, name: str) -> bytes:
        """Return the bytes of a member that is no array, checked."""
        entry = self._control[name] if name == MANIFEST else self.older.get(name)
        if entry is None:
            return self._checked(name)
        data = b"".join(self._data(entry, self._body(entry)))
        self._compare(entry, crc32(data))
        return data

    def parsed(self, data: bytes, name: str) -> Any:
        """Return the JSON in a member's bytes."""
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self.damaged(f"it is no JSON ({error}).", f"member {name!r}") from error

    @property
    def digests(self) -> Any:
        """The table of digests, or None."""
        return self._digests

    @property
    def algorithm(self) -> Digest | None:
        """The algorithm of its digests, None where it has none.

        Raises:
            MissingExtraError: its library is not installed.
        """
        if self._digests is None:
            return None
        return self._digest or digest_named(self.manifest["digest"]["algorithm"])

    @property
    def controls(self) -> list[str]:
        """The names of the members that are no arrays, in order; without older generations."""
        return [*list(self._control)[1:], MANIFEST]

    def directory(self, end: int) -> bytes:
        """Return the beginning of the directory."""
        return self.source.read(self._directory, end)

    def _same(self, found: bytes, said: bytes, entry: Entry) -> None:
        if found != said:
            raise self.damaged(
                f"its digest is {found.hex()}, the table of digests says {said.hex()}.",
                f"member {entry.text!r}",
            )

    def _local(self, entry: Entry) -> bytes:
        return local_header(
            entry.name, entry.method, entry.crc, entry.packed, entry.size, entry.offset
        )
