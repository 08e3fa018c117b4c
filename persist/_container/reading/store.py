"""Reads a container: finds, checks and maps its members; parses no directory to find one.

Specified in ``docs/container.md``. Every header that is touched is made again
from what it says and compared byte by byte.
"""

from __future__ import annotations

import functools
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from persist._container.checksums import CHUNK, Digest, crc32, digest_named
from persist._container.dtypes import is_long_double
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
from persist._container.names import member_name
from persist._container.reading import long_double
from persist._container.reading.bulk import whole_arrays
from persist._container.reading.lookup import Lookup
from persist._container.reading.tables import row_of
from persist._container.reading.unpack import unpacked, unpacked_begin
from persist._runtime.progress import current
from persist._wire.base.source import Source
from persist._wire.npy.npy import Header, read_header
from persist.errors import (
    DamagedFileError,
    FormatError,
    FutureVersionError,
    MissingExtraError,
    PersistError,
)
from persist.tree import LazyArray
from persist.typing import Array, DType, StoredArray

__all__ = ["Entry", "Store"]

_STATED = ("metadata", "schemas", "globals", "writer")  # what every manifest has
_EMPTY = 1 << 24  # items without bytes, whose number costs a file nothing
_REMEDY = "Copy the file again from where it came from."
_MOST = 100_000  # entries of older generations
_MANY = 32  # members from which on all are made together
# A mapped file of up to so many bytes is checked as a whole by default, of a longer one members
# of up to so many: a mapped load of a long file shall not read all of it.
_SHORT = 64 << 20
_SMALL = 1 << 20
_AT_ONCE = 16 << 20  # bytes of a member behind a URL that is fetched together with its headers
_HEADERS = 128  # bytes of an NPY header by which like ones are known


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


class _Place(NamedTuple):
    """Where an array's data are, and what they mean.

    Attributes:
        entry: of the member.
        offset: of the member's bytes in the file.
        header: of the NPY.
    """

    entry: Entry
    offset: int
    header: Header


class Store:
    """An open container.

    Args:
        source: its bytes.
        verify: "lazy" (each member when it is first touched), "always" (every
            byte, now), "never" (graph and manifest only). None is "lazy" where
            members are copied; else a member is checked when its array is made,
            if the file has at most 64 MiB or is in memory already, or the member at
            most 1 MiB; a larger one of a long mapped file is not.

    Raises:
        DamagedFileError: it is truncated, altered or lying.
        FutureVersionError: its version is newer than this program.
    """

    def __init__(self, source: Source, verify: str | None = None) -> None:
        if verify not in (None, "lazy", "always", "never"):
            raise PersistError(
                f"there is no verify={verify!r}.", remedy='Choose "lazy", "always" or "never".'
            )
        self._begin(source, verify)
        self._end()
        self.manifest = self._manifest()
        self._check_control()
        if self.verify == "always":
            for fault in self.faults():
                raise fault

    def _begin(self, source: Source, verify: str | None) -> None:
        """Set what is known before anything is read."""
        self.source = source
        self.verify = verify
        if verify is None and (not source.is_mapped or source.is_copy):
            self.verify = "lazy"
        is_whole = source.is_in_memory or source.size <= _SHORT
        self._checked_at_once = math.inf if is_whole else _SMALL
        self._places: dict[int, _Place] = {}
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

    # From the end of the file to the members that say what it holds.

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

    def _manifest(self) -> dict[str, Any]:
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

    # One entry.

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

    # Arrays.

    def entry(self, number: int) -> Entry:
        """Return the entry of an array member."""
        return self._entry(int(self._index[0, number]) & ~INDIRECT)

    def find(self, path: str) -> int | None:
        """Return the number of the member that holds the array of a path, or None."""
        return self._lookup.find(path)

    def array(self, path: str) -> StoredArray | None:
        """Return the array at a natural path, where it shows without the graph; else None."""
        number = self.find(path)
        if number is not None and self.is_direct(number):
            return self.whole(number)
        at = self._packed(path)
        if at is None:
            return None
        for member, count in self._blocks_listed():
            if at < count:
                return row_of(self.whole(member), at)
            at -= count
        return None

    def _blocks_listed(self) -> list[tuple[int, int]]:
        """Member and count of the blocks whose arrays' paths are listed."""
        said = self.manifest.get("blocks", [])
        try:
            result = [(member, count) for member, count in said]
        except (TypeError, ValueError):
            result = [(-1, -1)]
        if any(type(one) is not int or not one >= 0 for pair in result for one in pair) or any(
            member >= self._count for member, _ in result
        ):
            raise self.damaged(f"its blocks are {str(said)[:200]}.", f"member {MANIFEST!r}")
        return result

    def _packed(self, path: str) -> int | None:
        """Which of the arrays in blocks has a path, by the list of their names."""
        if not self._has_paths:
            return None
        if self._paths is None:
            self._paths = self._text(PATHS)
        name = member_name(path).removesuffix(".npy").encode()
        at = self._paths.find(b"\0" + name + b"\0")
        return None if at < 0 else self._paths.count(b"\0", 0, at)

    def _text(self, name: str) -> bytes:
        """The bytes of a control member that is an NPY of them."""
        data = self._checked(name)
        cursor = self.source.nested(data, f"member {name!r}").cursor()
        header = read_header(cursor)
        if header.dtype != np.dtype("u1") or header.shape != (cursor.left,):
            raise self.damaged(
                f"it is an array of {header.dtype} {header.shape}.", f"member {name!r}"
            )
        return data[header.length :]

    def is_direct(self, number: int) -> bool:
        """Whether a member, as NPY says it, is the array at its path."""
        return not int(self._index[0, number]) & INDIRECT

    def path(self, number: int) -> str:
        """Return the natural path of an array member."""
        return self._lookup.path(self.entry(number).text)

    def place(self, number: int) -> _Place:
        """Return where an array's data are, from its headers."""
        known = self._places.get(number)
        if known is None:
            entry = self.entry(number)
            offset = self._body(entry)
            known = self._places[number] = _Place(
                entry, offset, self._header(number, entry, offset)
            )
        return known

    def _header(self, number: int, entry: Entry, offset: int) -> Header:
        if entry.method:
            begun = self._begin_of(number, entry, offset)
            source, at = self.source.nested(begun, f"member {entry.text!r}"), 0
        else:
            source, at = self.source, offset
        head = source.read(at, min(_HEADERS, entry.size, source.size - at))
        header = self._headers.get(head)
        if header is None:
            size = min(entry.size, source.size - at) if entry.method else entry.size
            window = source.window(at, size, f"member {entry.text!r}" if not entry.method else None)
            try:
                header = read_header(window.cursor())
            except FormatError as error:
                if entry.method and number not in self._blocks:
                    self._unpack(number, entry, offset)  # its checksum states whether it is damaged
                    return self._header(number, entry, offset)
                if self.foreign is None:
                    raise
                # 12 bytes of 32-bit x86, say: a dtype that NumPy has only there.
                where = f"member {entry.text!r}"
                raise self._not_here(where, error.what) from error
            if header.length == len(head):
                self._headers[head] = header
        if header.dtype.hasobject or header.length + header.nbytes != entry.size:
            raise self.damaged(
                f"{entry.size - header.length:,} bytes are stored for an array of "
                f"{header.dtype} {header.shape}.",
                f"member {entry.text!r}",
            )
        return header

    def _begin_of(self, number: int, entry: Entry, offset: int) -> Any:
        """The first bytes of a compressed member, with its NPY header; all where they are known."""
        known = self._blocks.get(number)
        if known is not None:
            return known
        begun = unpacked_begin(self.source, offset, entry.method, entry.packed, _HEADERS)
        return self._unpack(number, entry, offset) if begun is None else begun

    def _unpack(self, number: int, entry: Entry, offset: int) -> Any:
        """The bytes of a compressed member; verified, since they are copied."""
        known = self._blocks.get(number)
        if known is None:
            data = bytearray()
            crc = 0
            for piece in self._data(entry, offset):
                crc = crc32(piece, crc)
                data += piece
            self._compare(entry, crc)
            known = data if self.source.writable else bytes(data)
            self._blocks[number] = known
        return known

    def wholes(self) -> Sequence[StoredArray] | None:
        """Return all arrays at once where they are mapped, sound and small; else None."""
        if not self._is_mapped_now or self._count < _MANY or self.foreign is not None:
            return None
        source = self.source

        def header_at(start: int, length: int) -> Header:
            return read_header(source.window(start, length).cursor())

        data = source.view(0, source.size)
        return whole_arrays(
            data,
            self._directory,
            self._directory_size,
            self._index[0] & np.uint64(INDIRECT - 1),
            header_at,
            self._are_sound if self.verify is None else None,
        )

    @property
    def _is_mapped_now(self) -> bool:
        """Whether stored members become views of the map now, and not lazy arrays."""
        return self.source.is_mapped and self.verify in (None, "never")

    def _is_checked(self, entry: Entry) -> bool:
        """Whether a member's bytes are compared with its CRC or digest before they are used."""
        if self.verify is None:
            return entry.size <= self._checked_at_once
        return self.verify != "never"

    def _are_sound(self, starts: list[int], sizes: list[int], crcs: list[int]) -> bool:
        """Whether the bytes of all stored members that are checked by default are as written."""
        digest, digests = self._digest, self._digests
        for number, (start, size, crc) in enumerate(zip(starts, sizes, crcs, strict=True)):
            # What was checked before may have been written to since, where arrays are writable.
            if size > self._checked_at_once or number in self._blocks:
                continue
            block = self.source.view(start, size)
            if digest is not None and digests is not None:
                if digest.once(block) != digests[number].tobytes():
                    return False
            elif crc32(block) != crc:
                return False
            self._blocks[number] = block
        return True

    def whole(self, number: int) -> StoredArray:
        """Return the array of a member: a view of the map, or lazy where it is to be verified.

        Behind a URL its headers are read on first use, each of which is a request.
        """
        if self.source.is_mapped or number in self._places:
            whole: StoredArray = self.view(number, None, None, None, 0)
            return whole

        def settle(is_whole: bool) -> LazyArray:
            entry = self.entry(number)
            if is_whole and entry.packed <= _AT_ONCE:
                header = local_header(
                    entry.name, entry.method, entry.crc, entry.packed, entry.size, entry.offset
                )
                self.source.fill(entry.offset, len(header) + entry.packed)
            found: LazyArray = self.view(number, None, None, None, 0)
            return found

        return LazyArray._unsettled(settle)

    def rows(self, number: int, count: int) -> list[StoredArray]:
        """Return the arrays along the first axis of a member.

        Raises:
            ValueError: they are not so many.
        """
        block = self.whole(number)
        if not block.shape or block.shape[0] != count or not block.nbytes:
            raise ValueError(f"{count!r} arrays are an array of {block.dtype} {block.shape}")
        if type(block) is np.ndarray and block.ndim > 1:
            return list(block)
        return [row_of(block, at) for at in range(count)]

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

    def view(
        self,
        number: int,
        dtype: DType | None,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> Any:
        """Return an array upon the data of a member; see `whole`.

        ``long double`` of another machine becomes float64, which ``notes`` says.

        Raises:
            FormatError: it is in a format that is not known here, or inside a structured dtype.
        """
        place = self.place(number)
        header = place.header
        order = "C"
        if dtype is None:
            dtype = header.dtype
        if shape is None:
            shape, order = header.shape, header.order
        self._check_view(place, dtype, shape, strides, offset)

        if is_long_double(dtype) and self.foreign is not None:
            as_raw = np.dtype((np.void, dtype.itemsize))

            def fetch_double() -> Array:
                base = self._block(number, place)
                start = place.header.length + offset
                raw = np.ndarray(shape, as_raw, base, start, strides, order)  # type: ignore[arg-type,call-overload,unused-ignore]
                return self.double(raw, dtype)

            doubled = self._doubled(dtype, f"member {place.entry.text!r}")
            return LazyArray(doubled, shape, fetch_double)

        def make(base: Any, start: int) -> Array:
            if not dtype.itemsize or 0 in shape:
                return np.zeros(shape, dtype)
            return np.ndarray(shape, dtype, base, start + offset, strides, order)  # type: ignore[arg-type,call-overload,no-any-return,unused-ignore]

        if self._is_mapped_now and not place.entry.method:
            return make(self._block(number, place), header.length)

        def fetch() -> Array:
            return make(self._block(number, place), header.length)

        rows = None
        if self.verify == "never" and strides is None and order == "C" and shape and shape[0]:
            rows = self._rows_of(number, place, dtype, shape, offset)
        return LazyArray(dtype, shape, fetch, rows)

    @functools.cached_property
    def foreign(self) -> tuple[Any, Any] | None:
        """Bytes and bits of the mantissa of ``long double`` in the file; None if as here, or not stated."""
        said = self.manifest.get("platform")
        if not isinstance(said, dict) or "longdouble" not in said:
            return None if self.manifest else (None, None)
        stated = said["longdouble"]
        size, mantissa, _ = long_double.of_this_machine()
        if stated == [size, mantissa]:
            return None
        return tuple(stated) if type(stated) is list and len(stated) == 2 else (None, None)

    def _doubled(self, dtype: DType, where: str) -> DType:
        """The dtype that ``long double`` of another machine becomes.

        Raises:
            FormatError: it cannot be converted.
        """
        size, mantissa = self.foreign or (None, None)
        form = long_double.FORMATS.get(mantissa) if type(mantissa) is int else None
        is_odd = form == "x87" and dtype.str[0] == ">"
        if dtype.kind not in "fc" or size != 16 or form is None or is_odd:
            raise self._not_here(where, f"{dtype} of that format is not read here")
        if not self.notes:
            self.notes.append(
                f"long double of another machine ({form}) is given as float64, each number rounded "
                "to the nearest"
            )
        return np.dtype(np.complex128) if dtype.kind == "c" else np.dtype(np.float64)

    def _not_here(self, where: str, why: str) -> FormatError:
        size, mantissa = self.foreign or (None, None)
        return FormatError(
            f"it is long double of another machine ({size} bytes, {mantissa} bits of mantissa): "
            f"{why.rstrip('.')}.",
            file=self.source.name,
            where=where,
            remedy="Load it on such a machine, convert the array to float64 there, and save it.",
        )

    def double(self, raw: Array, dtype: DType) -> Array:
        """Return ``long double`` of another machine as float64 or complex128.

        Args:
            raw: its bytes, as a void of the item size.
            dtype: as this machine names it.
        """
        doubled = self._doubled(dtype, "an array")
        assert self.foreign is not None
        data = np.frombuffer(raw.tobytes(), np.uint8).reshape(-1, 16)
        order = "big" if dtype.str[0] == ">" else "little"
        made = long_double.to_double(data, self.foreign[1], order)
        return np.ascontiguousarray(made).view(doubled).reshape(raw.shape)

    def _rows_of(
        self, number: int, place: _Place, dtype: DType, shape: tuple[int, ...], offset: int
    ) -> Any:
        """Ranged reads of rows, where nothing is to be verified."""
        if place.entry.method or number in self._blocks:
            return None
        start = place.offset + place.header.length + offset
        array = self.source.array(start, dtype, shape)
        return None if not isinstance(array, LazyArray) else array._rows

    def _check_view(
        self,
        place: _Place,
        dtype: DType,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None,
        offset: int,
    ) -> None:
        """The array must lie within the member."""
        if dtype.hasobject:
            raise self.damaged("an array of objects has no bytes.", f"member {place.entry.text!r}")
        if not dtype.itemsize and math.prod(shape) > _EMPTY:
            raise self.damaged(f"{math.prod(shape):,} items of no bytes are claimed.")
        low, high = offset, offset + dtype.itemsize
        if strides is None:
            count = 1
            for extent in shape:
                count *= extent
            high = offset + count * dtype.itemsize
        else:
            for extent, stride in zip(shape, strides, strict=True):
                if stride < 0:
                    low += max(extent - 1, 0) * stride
                else:
                    high += max(extent - 1, 0) * stride
        if low < 0 or high > place.header.nbytes:
            raise self.damaged(
                f"an array upon it reaches from {low:,} to {high:,} of {place.header.nbytes:,} bytes.",
                f"member {place.entry.text!r}",
            )

    def _block(self, number: int, place: _Place) -> object:
        """The member's bytes, checked once: the map, or a copy that all views of it share."""
        known = self._blocks.get(number)
        if known is not None:
            return known
        source, entry = self.source, place.entry
        if entry.method:
            return self._unpack(number, entry, place.offset)
        if source.is_mapped:
            block: Any = source.view(place.offset, entry.size)
        else:
            source.spend(entry.size)
            block = bytearray(source.view(place.offset, entry.size))
            if not source.writable:
                block = memoryview(block).toreadonly()
        if self._is_checked(entry):
            self._verified(number, entry, block)
        self._blocks[number] = block
        return block

    def _verified(self, number: int, entry: Entry, block: Any) -> None:
        if self._digest is None or self._digests is None:
            self._compare(entry, crc32(block))
        else:  # which says all that the CRC would, and one look at the bytes is enough
            self._same(self._digest.once(block), self._digests[number].tobytes(), entry)

    def _same(self, found: bytes, said: bytes, entry: Entry) -> None:
        if found != said:
            raise self.damaged(
                f"its digest is {found.hex()}, the table of digests says {said.hex()}.",
                f"member {entry.text!r}",
            )

    # Everything.

    def faults(self) -> Iterator[DamagedFileError]:
        """Check every byte and yield what is wrong."""
        at, end = 0, 0
        meter = current()
        names: list[bytes] = []
        numbers = iter(range(self._count))
        control = iter([*self.older, *list(self._control)[1:], MANIFEST])
        while at < self._directory_size:
            number = next(numbers, None)
            name = None if number is not None else next(control, "")
            tail = manifest_tail(self._first, self.version) if name == MANIFEST else b""
            try:
                entry = self._entry(at, tail)
            except DamagedFileError as error:
                yield error
                return
            try:
                if number is not None and int(self._index[0, number]) & ~INDIRECT != at:
                    raise self.damaged("the index has it elsewhere.", f"member {entry.text!r}")
                if name is not None and entry.text != name:
                    raise self.damaged(f"{name!r} was expected.", f"member {entry.text!r}")
                if entry.offset != end:
                    raise self.damaged(
                        f"it begins at {entry.offset:,}, the one before it ends at {end:,}.",
                        f"member {entry.text!r}",
                    )
                self._check_member(number, entry)
                if meter is not None:
                    meter.at("verify", entry.offset, self._directory, "bytes", self.source.name)
            except DamagedFileError as error:
                yield error
            names.append(entry.name)
            end = self.end_of(entry)
            at += entry.length
        if meter is not None:
            meter.at("verify", self._directory, self._directory, "bytes", self.source.name)
        if end != self._directory:
            yield self.damaged(
                f"{self._directory - end:,} bytes belong to no member.", f"offset {end}"
            )
        if len(set(names)) != len(names):
            yield self.damaged("two members have one name.")
        expected = [crc32(name) << 32 | number for number, name in enumerate(names[: self._count])]
        if self._index[1].tolist() != sorted(expected):
            yield self.damaged(
                "the index's names are not those of the directory.", f"member {INDEX!r}"
            )

    def _local(self, entry: Entry) -> bytes:
        return local_header(
            entry.name, entry.method, entry.crc, entry.packed, entry.size, entry.offset
        )

    def _check_member(self, number: int | None, entry: Entry) -> None:
        offset = self._body(entry)
        crc = 0
        state = None if self._digest is None or number is None else self._digest.start()
        for piece in self._data(entry, offset):
            crc = crc32(piece, crc)
            if state is not None:
                state.update(piece)
        self._compare(entry, crc)
        if number is not None:
            self._header(number, entry, offset)
            if state is not None and self._digests is not None:
                self._same(state.digest(), self._digests[number].tobytes(), entry)


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
