"""The ZIP directory: members of an archive, found lazily, checked strictly, mapped where stored.

After PKWARE's ``APPNOTE.TXT`` 6.3.10 (end of central directory, ZIP64, data
descriptors, bit 11 for UTF-8 names) and CPython's ``Lib/zipfile`` for what
readers of old files rely on: a comment after the end, bytes before the archive,
cp437 names, the last of two members of one name winning, and (gh-109858) that
no two members overlap. torch pads local headers with an extra field ``FB`` to
align the data; any extra field is passed over by its length.

The directory is parsed once, in one pass. The local header of a member is
compared with its directory entry when the member is opened.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from persist._wire.base.source import Source
from persist._wire.compression import streams
from persist._wire.compression.streams import Unpacking
from persist.errors import DamagedFileError, FormatError, MissingExtraError

__all__ = ["Member", "ZipDirectory"]

STORED, DEFLATED, BZIP2, LZMA, ZSTD = 0, 8, 12, 14, 93

_METHODS = {
    1: "shrunk", 6: "imploded", 9: "deflate64", 95: "xz", 96: "jpeg", 97: "wavpack",
    98: "ppmd", 99: "AES-encrypted",
}  # fmt: skip

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")  # ZIP64 end of central directory
_LOCATOR = struct.Struct("<4sLQL")  # ZIP64 end of central directory locator
_ENTRY = struct.Struct("<4s4x2H4x3L4H6xL")  # central directory entry, what is used of it
_LOCAL = struct.Struct("<4s5H3L2H")  # local file header
_DESCRIPTOR = struct.Struct("<4s3L")  # data descriptor, and that of ZIP64
_DESCRIPTOR64 = struct.Struct("<4sL2Q")

_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_IS_ENCRYPTED = 0x1 | 0x40 | 0x2000
_HAS_DESCRIPTOR = 0x8
_IS_UTF8 = 0x800

_CHUNK = 1 << 20
_DEFLATE_MOST = 1032  # the best that deflate can do: 258 bytes from two bits (zlib's technotes)
_COMMENT = 1 << 16


class Member(NamedTuple):
    """One entry of the directory.

    Attributes:
        name: as the archive states it, with ``/`` between steps.
        size: bytes of what is inside.
        compressed: bytes that it takes in the archive.
        method: 0 stored, 8 deflated, 12 bzip2, 14 LZMA, 93 Zstandard.
        crc: CRC-32 of what is inside, as the archive states it.
        offset: where its local header is in the source.
        flags: general purpose bits.
        raw: the name's bytes.
    """

    name: str
    size: int
    compressed: int
    method: int
    crc: int
    offset: int
    flags: int
    raw: bytes

    @property
    def is_folder(self) -> bool:
        """Whether the entry is only a folder's name."""
        return self.name.endswith("/")


class ZipDirectory:
    """The members of a ZIP archive.

    Attributes:
        source: the archive.
        members: in the order of the directory; names may be there twice.
        prefix: bytes before the archive (a program, say), 0 as a rule.
        comment: the archive's comment.
        lost: names of members that are not whole, as far as they are known; of `whole` and `salvage`.
        cut: name of the stored member within which the file ends, and its bytes that are there; likewise.
    """

    def __init__(
        self,
        source: Source,
        members: list[Member],
        limits: dict[int, int],
        prefix: int = 0,
        comment: bytes = b"",
    ) -> None:
        self.source = source
        self.members = members
        self.prefix = prefix
        self.comment = comment
        self.lost: list[str] = []
        self.cut: tuple[str, Source] | None = None
        self._limits = limits  # where a member begins -> where the next or the directory does

    @classmethod
    def of(cls, source: Source) -> ZipDirectory | None:
        """Return the directory, or None where the source is no ZIP archive that can be read.

        Never raises, and parses a source only once: made for ``claims()``.
        """
        known = source.memo.get("zip", source)
        if known is source:
            try:
                known = cls.read(source) if _looks_like(source) else None
            except FormatError:
                known = None
            source.memo["zip"] = known
        return known  # type: ignore[no-any-return]

    @classmethod
    def read(cls, source: Source) -> ZipDirectory:
        """Return the directory.

        Raises:
            DamagedFileError: it is no archive, is cut off, or contradicts itself.
        """
        end = _find_end(source)
        if end is None:
            _refuse(
                source,
                source.size,
                "the archive has no directory at its end.",
                "The file is truncated, or no ZIP archive.",
            )
        where, comment = end
        count, size, offset, position = _totals(source, where)
        start = position - size
        prefix = start - offset
        if start < 0 or prefix < 0:
            _refuse(
                source,
                where,
                f"a directory of {size:,} bytes at offset {offset:,} is claimed, "
                f"but it ends at {position:,}.",
            )
        if prefix and source.head(4) == b"PK\3\4":
            # What is before is no program but an archive, too: this directory is that of a
            # member, of an archive in an archive whose own directory is lost.
            _refuse(
                source,
                source.size,
                "the archive has no directory of its own at its end: the last one in it, for "
                f"{count:,} members, belongs to an archive that begins at offset {prefix:,}.",
                "The file is truncated.",
            )
        members = _members(source, source.read(start, size), start, prefix)
        if len(members) != count:
            _refuse(
                source,
                where,
                f"{count:,} members are claimed, but the directory holds {len(members):,}.",
            )
        return cls(source, members, _limits(source, members, start), prefix, comment)

    @classmethod
    def salvage(cls, source: Source) -> ZipDirectory:
        """Return the members of an archive whose directory is missing or broken, unchecked.

        Local headers are followed from the first on, as far as they state sizes; behind
        the first that cannot be followed, members are found through the entries of the directory that
        can be read. No other signature is believed: it may be that of an archive inside a member.
        """
        result, at = cls._by_headers(source)
        members, limits, lost = result.members, result._limits, result.lost
        by_offset = {member.offset: member for member in members}
        for member in _loose_entries(source, at):
            if member.offset in limits:
                known = by_offset.get(member.offset)
                # An entry of an archive inside a member may lead here, too, with another CRC.
                if known is not None and known.crc == member.crc and known.raw != member.raw:
                    members.remove(by_offset.pop(member.offset))
                    lost.append(member.name)
            elif _names_it(source, member):
                lost = [name for name in lost if name != member.name]
                members.append(member)
                limits[member.offset] = source.size
        result.lost = lost
        return result

    @classmethod
    def headers(cls, source: Source) -> ZipDirectory:
        """Return the members that local headers alone state, from the first on, unchecked.

        Programs that stream an archive see these, whatever its directory says.
        """
        return cls._by_headers(source)[0]

    @classmethod
    def _by_headers(cls, source: Source) -> tuple[ZipDirectory, int]:
        """The members by local headers, and where the first header that cannot be followed is."""
        members: list[Member] = []
        limits: dict[int, int] = {}
        at, lost, cut = 0, [], None
        while at + _LOCAL.size <= source.size:
            member, end = _from_local(source, at)
            if member is None or end > source.size:
                lost += [] if member is None else [member.name]
                if member is not None and member.method == STORED:
                    start = max(end - member.compressed, at)
                    if start < source.size:
                        rest = source.window(start, source.size - start, f"member {member.name!r}")
                        cut = member.name, rest
                break
            members.append(member)
            limits[at] = at = end
        result = cls(source, members, limits)
        result.lost, result.cut = lost, cut
        return result, at

    @classmethod
    def whole(cls, source: Source, damage: list[str]) -> ZipDirectory:
        """Return the members of a damaged archive whose bytes have the CRC that the archive states.

        Args:
            source: the archive.
            damage: takes what is wrong, with the names of the members that are lost.
        """
        stated: list[Member] = []
        try:
            directory = cls.read(source)
        except DamagedFileError as error:
            directory = cls.salvage(source)
            found, lost = directory._checked(damage=None)
            lost = [*lost, *(name for name in directory.lost if name not in lost)]
            names = f"; lost: {', '.join(map(repr, lost))}" if lost else ""
            damage.append(
                f"{error.what.rstrip('.')}; {len(found):,} members are whole and given{names}"
            )
        else:
            stated = directory.members
            found, lost = directory._checked(damage)
            if lost:  # an entry of the directory may be wrong where the local header is right
                local = cls.salvage(source)
                again = [one for one in local._checked(damage=None)[0] if one.name in lost]
                directory._limits = {**local._limits, **directory._limits}
                for member in again:
                    damage.append(f"member {member.name!r}: whole, by its local header")
                found += again
        order = {member.name: number for number, member in enumerate(stated)}
        found.sort(key=lambda member: order.get(member.name, -1) if order else member.offset)
        kept = {member.name for member in found}
        result = cls(source, found, directory._limits, directory.prefix, directory.comment)
        result.lost = [name for name in lost if name not in kept]
        result.cut = directory.cut if directory.cut and directory.cut[0] in result.lost else None
        return result

    def _checked(self, damage: list[str] | None) -> tuple[list[Member], list[str]]:
        """Return the members that are whole, and the names of the others."""
        found, lost = [], []
        for member in self.members:
            try:
                self.verify(member)
            except DamagedFileError as error:
                lost.append(member.name)
                if damage is not None:
                    damage.append(str(error))
            except (
                FormatError,
                MissingExtraError,
            ):  # a method or a key that is not here: no damage
                found.append(member)
            else:
                found.append(member)
        return found, lost

    @functools.cached_property
    def _by_name(self) -> dict[str, Member]:
        return {member.name: member for member in self.members}

    @property
    def names(self) -> list[str]:
        """Names in the order of the directory, each once."""
        return list(self._by_name)

    def find(self, name: str) -> Member | None:
        """Return the member of that name, the last where there are several, or None."""
        return self._by_name.get(name)

    def open(self, member: Member, verify: bool = False) -> Source:
        """Return a member's bytes as a `Source`: a window where stored, else decompressed.

        Args:
            member: one of ``members``.
            verify: compare the CRC of a stored member; of others it always is.

        Raises:
            DamagedFileError: the two headers differ, or the data does not fit them.
            LimitError: decompressing it would pass the limits.
        """
        start = self._data_of(member)
        name = f"member {member.name!r}"
        if member.method == STORED:
            window = self.source.window(start, member.size, name)
            if verify:
                self._check(member, _crc_of(window))
            return window
        data = self._unpacked(member, start)
        self._check(member, zlib.crc32(data))
        return self.source.nested(data, name)

    def peek(self, member: Member, length: int) -> bytes:
        """Return at most the first ``length`` bytes of a member, without reading all of it."""
        start = self._data_of(member)
        length = min(length, member.size)
        if member.method == STORED:
            return self.source.read(start, length)
        self.source.spend(length)
        return b"".join(_unpacking(self.source, member, start).pieces(length))

    def verify(self, member: Member) -> None:
        """Compare a member with its CRC.

        Raises:
            DamagedFileError: they differ.
        """
        self.open(member, verify=True)

    # Inside.

    def _data_of(self, member: Member) -> int:
        """Compare both headers of a member, and return where its data begins."""
        source = self.source
        head = source.view(member.offset, _LOCAL.size + len(member.raw))  # no less, by `_limits`
        magic, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack_from(head)
        if magic != b"PK\3\4":
            self._damaged(member, f"its local header begins with {magic!r}.")
        if (flags | member.flags) & _IS_ENCRYPTED:
            raise FormatError(
                "it is encrypted.",
                file=source.name,
                where=f"member {member.name!r}",
                remedy="Unpack it with its password, and open what is inside.",
            )
        start: int = member.offset + _LOCAL.size + names + extras
        if start + member.compressed > self._limits[member.offset]:
            self._damaged(member, "it overlaps the next member.")
        if names != len(member.raw) or head[_LOCAL.size :] != member.raw:
            raw = source.read(member.offset + _LOCAL.size, names)
            self._damaged(member, f"its local header names it {raw!r}.")
        if method != member.method:
            self._damaged(member, f"its local header states method {method}.")
        if _FULL32 in (packed, size) and extras:
            extra = source.read(member.offset + _LOCAL.size + names, extras)
            size, packed = _wide(extra, [size, packed])
        if (size, packed, crc) != (member.size, member.compressed, member.crc):
            for what, local, central in (
                ("size", size, member.size),
                ("compressed size", packed, member.compressed),
                ("CRC", crc, member.crc),
            ):
                # With a descriptor behind the data, the local header may leave all of them 0.
                if local != central and not (flags & _HAS_DESCRIPTOR and local in (0, _FULL32)):
                    self._damaged(
                        member, f"its local header states {what} {local:,}, not {central:,}."
                    )
        if member.method == STORED and member.size != member.compressed:
            self._damaged(member, f"it is stored, but takes {member.compressed:,} bytes.")
        return start

    def _unpacked(self, member: Member, start: int) -> bytes:
        source = self.source
        if member.method == DEFLATED and member.size > _DEFLATE_MOST * (member.compressed + 1):
            self._damaged(
                member, f"{member.size:,} bytes cannot come of {member.compressed:,} deflated ones."
            )
        source.spend(member.size)
        unpacking = _unpacking(source, member, start)
        parts = list(unpacking.pieces(member.size + 1))
        if unpacking.made != member.size:
            found = "more" if unpacking.made > member.size else f"{unpacking.made:,}"
            self._damaged(member, f"{found} bytes are inside, not {member.size:,}.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check(self, member: Member, crc: int) -> None:
        if crc != member.crc:
            self._damaged(
                member, f"its bytes have CRC {crc:08x}, the archive states {member.crc:08x}."
            )

    def _damaged(self, member: Member, what: str) -> NoReturn:
        raise DamagedFileError(
            what,
            file=self.source.name,
            where=f"member {member.name!r} at offset {member.offset}",
            remedy=f"The directory states {member.size:,} bytes. Copy the file again from where "
            "it came from.",
        )

    def __repr__(self) -> str:
        return f"<ZIP directory of {self.source.name}, {len(self.members):,} members>"


# The end, and the directory.


def _refuse(source: Source, where: int, what: str, remedy: str = "") -> NoReturn:
    raise DamagedFileError(
        what,
        file=source.name,
        where=f"offset {where}",
        remedy=remedy or "The archive is damaged; copy it again from where it came from.",
    )


def _looks_like(source: Source) -> bool:
    """Whether an archive may end here: by a few bytes at either end."""
    if source.kind != "file" or source.size < _END.size:
        return False
    return source.head(4) in (b"PK\3\4", b"PK\5\6") or _find_end(source) is not None


def _find_end(source: Source) -> tuple[int, bytes] | None:
    """Return where the end record is, and the comment behind it."""
    if source.kind != "file" or source.size < _END.size:
        return None
    last = source.size - _END.size
    tail = source.tail(_END.size)
    if tail[:4] == b"PK\5\6" and tail[-2:] == b"\0\0":
        return last, b""
    begin = max(0, last - _COMMENT)
    tail = source.read(begin, source.size - begin)
    at = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    loose = None
    while at >= 0:
        length = int.from_bytes(tail[at + 20 : at + 22], "little")
        comment = tail[at + _END.size : at + _END.size + length]
        if at + _END.size + length == len(tail):
            return begin + at, comment
        loose = (begin + at, comment) if loose is None else loose
        at = tail.rfind(b"PK\5\6", 0, at)
    # Bytes behind the archive are let pass where it begins as one.
    return loose if loose is not None and source.head(4) == b"PK\3\4" else None


def _totals(source: Source, where: int) -> tuple[int, int, int, int]:
    """Return (members, bytes of the directory, its claimed offset, where it ends)."""
    _, disk, disk_of, here, count, size, offset, _ = _END.unpack(source.view(where, _END.size))
    position = where
    found = _find_end64(source, where)
    if found is not None:
        position, fields = found
        wide = fields[6:]
        given = (here, count, size, offset)
        for value, full, by64 in zip(
            given, (_FULL16, _FULL16, _FULL32, _FULL32), wide, strict=True
        ):
            if value not in (full, by64):
                _refuse(source, where, f"its two ends disagree: {value:,} and {by64:,}.")
        disk, disk_of = fields[4:6]
        here, count, size, offset = wide
    if disk or disk_of or here != count:
        _refuse(
            source,
            where,
            "it is one part of an archive in several files.",
            "Join the parts first (zip -s 0).",
        )
    if size > position:
        _refuse(source, where, f"a directory of {size:,} bytes is claimed, {position:,} are left.")
    return count, size, offset, position


def _find_end64(source: Source, where: int) -> tuple[int, tuple[object, ...]] | None:
    """Return where the ZIP64 end record is and its fields, or None without one."""
    at = where - _LOCATOR.size
    if at < 0:
        return None
    magic, _, claimed, disks = _LOCATOR.unpack(source.view(at, _LOCATOR.size))
    if magic != b"PK\6\7":
        return None
    if disks > 1:
        _refuse(source, at, f"it is spread over {disks} files.", "Join the parts first.")
    # Where bytes stand before the archive, the record is just before its locator.
    for place in (claimed, at - _END64.size):
        if 0 <= place <= at - _END64.size:
            fields = _END64.unpack(source.view(place, _END64.size))
            if fields[0] == b"PK\6\6":
                return place, fields
    _refuse(source, at, "the ZIP64 end record is not where its locator points.")


def _members(source: Source, data: bytes, start: int, prefix: int) -> list[Member]:
    """Parse the whole directory in one pass."""
    members: list[Member] = []
    unpack, at, end = _ENTRY.unpack_from, 0, len(data)
    step = _ENTRY.size
    while at < end:
        if at + step > end:
            _refuse(source, start + at, "the directory breaks off inside an entry.")
        (magic, flags, method, crc, packed, size, names, extras, notes, disk, offset) = unpack(
            data, at
        )
        if magic != b"PK\1\2":
            _refuse(source, start + at, f"a directory entry begins with {magic!r}.")
        body = at + step
        at = body + names + extras + notes
        if at > end:
            _refuse(source, start + body, "the directory breaks off inside an entry.")
        raw = data[body : body + names]
        if extras or disk:
            extra = data[body + names : body + names + extras]
            if _FULL32 in (size, packed, offset) or disk == _FULL16:
                size, packed, offset, disk = _wide(extra, [size, packed, offset, disk])
            if disk and disk != _FULL16:
                _refuse(source, start + body, f"member {raw!r} is said to be in another file.")
        else:
            extra = b""
        if raw.isascii() and b"\0" not in raw:
            name = raw.decode("ascii")
        else:
            name = _name_of(source, raw, flags, extra, start + body)
        members.append(Member(name, size, packed, method, crc, prefix + offset, flags, raw))
    return members


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """Take from the ZIP64 extra field, in order, the 64-bit values that 32 bits could not hold."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == 1:
            field = extra[at : at + length]
            place = 0
            for index, value in enumerate(values):
                width = 4 if index == 3 else 8
                if value == (_FULL16 if index == 3 else _FULL32) and place + width <= len(field):
                    values[index] = int.from_bytes(field[place : place + width], "little")
                    place += width
            break
        at += length
    return values


def _name_of(source: Source, raw: bytes, flags: int, extra: bytes, where: int) -> str:
    if b"\0" in raw:
        _refuse(source, where, f"a member's name holds a zero byte: {raw[:80]!r}.")
    if raw.isascii():
        return raw.decode("ascii")
    try:
        if flags & _IS_UTF8:
            return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(source, where, f"a member's name is no UTF-8 ({error}): {raw[:80]!r}.")
    return _unicode_name(extra, raw) or raw.decode("cp437")


def _unicode_name(extra: bytes, raw: bytes) -> str | None:
    """Info-ZIP's Unicode Path field (0x7075): a version, the CRC of the name it is for, UTF-8."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        field = extra[at + 4 : at + 4 + length]
        if kind == 0x7075 and field[:1] == b"\1" and len(field) > 5:
            if int.from_bytes(field[1:5], "little") != zlib.crc32(raw):
                return None
            try:
                return field[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
        at += 4 + length
    return None


def _from_local(source: Source, at: int) -> tuple[Member | None, int]:
    """The member whose local header is at ``at``, and its end; None if it states no size."""
    magic, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack(
        source.view(at, _LOCAL.size)
    )
    start = at + _LOCAL.size
    if magic != b"PK\3\4" or start + names + extras > source.size:
        return None, 0
    raw = source.read(start, names)
    extra = source.read(start + names, extras)
    if _FULL32 in (packed, size):
        size, packed = _wide(extra, [size, packed])
    behind = 0
    if flags & _HAS_DESCRIPTOR and not packed:
        descriptor = _described(source, start + names + extras) if method == STORED else None
        if descriptor is None:
            return None, 0
        crc, packed, size, behind = descriptor
    try:
        name = _name_of(source, raw, flags, extra, at)
    except DamagedFileError:
        return None, 0
    member = Member(name, size, packed, method, crc, at, flags, raw)
    return member, start + names + extras + packed + behind


def _loose_entries(source: Source, start: int) -> list[Member]:
    """The entries of a directory that can be read, from an offset on."""
    found: list[Member] = []
    at = start
    while at + _ENTRY.size <= source.size:
        part = source.read(at, min(_CHUNK, source.size - at))
        place = part.find(b"PK\1\2")
        if place < 0:
            at += max(len(part) - 3, 1)
            continue
        at += place
        member, end = _entry_at(source, at)
        if member is not None:
            found.append(member)
            at = end
        else:
            at += 4
    return found


def _entry_at(source: Source, at: int) -> tuple[Member | None, int]:
    """The entry of a directory at an offset, and its end; None where it is none."""
    if at + _ENTRY.size > source.size:
        return None, at
    fields = _ENTRY.unpack(source.read(at, _ENTRY.size))
    end = at + _ENTRY.size + sum(fields[6:9])
    if end > source.size:
        return None, at
    try:
        (member,) = _members(source, source.read(at, end - at), at, 0)
    except (DamagedFileError, ValueError):
        return None, at
    return member, end


def _names_it(source: Source, member: Member) -> bool:
    """Whether a member's local header is where its entry says, and has its name."""
    start = member.offset + _LOCAL.size
    if start + len(member.raw) + member.compressed > source.size:
        return False
    return (
        source.read(member.offset, 4) == b"PK\3\4"
        and source.read(start, len(member.raw)) == member.raw
    )


def _described(source: Source, start: int) -> tuple[int, int, int, int] | None:
    """What the descriptor behind a stored member states: CRC, both sizes, its own length.

    It is searched for, and believed where it states the very size at which it was found, and the
    CRC of what is before it.
    """
    at = start
    while at < source.size:
        part = source.read(at, min(_CHUNK, source.size - at))
        found = part.find(b"PK\x07\x08")
        while found >= 0:
            place = at + found
            for layout in (_DESCRIPTOR64, _DESCRIPTOR):
                if place + layout.size > source.size:
                    continue
                _, crc, packed, size = layout.unpack(source.read(place, layout.size))
                if packed == size == place - start:
                    window = source.window(start, size, "a member")
                    if _crc_of(window) == crc:
                        return crc, packed, size, layout.size
            found = part.find(b"PK\x07\x08", found + 1)
        if len(part) < _CHUNK:
            return None
        at += len(part) - 3  # a signature may lie across two parts
    return None


def _limits(source: Source, members: list[Member], start: int) -> dict[int, int]:
    """Return for each place where a member begins where the next does; refuse those that overlap."""
    limits: dict[int, int] = {}
    limit = start
    for member in sorted(members, key=lambda member: member.offset, reverse=True):
        offset = member.offset
        if offset + _LOCAL.size + len(member.raw) + member.compressed > limit:
            raise DamagedFileError(
                f"a member of {member.compressed:,} bytes at offset {offset:,} overlaps "
                f"what begins at {limit:,}.",
                file=source.name,
                where=f"member {member.name!r}",
                remedy="The archive is damaged, or made to explode when it is unpacked.",
            )
        limits[offset] = limit
        limit = offset
    return limits


# Decompression.


def _unpacking(source: Source, member: Member, start: int) -> Unpacking:
    """Return what unpacks a member from its first byte on."""
    where = f"member {member.name!r} at offset {member.offset}"
    make = _STREAMS.get(member.method)
    if make is None:
        raise FormatError(
            f"it is compressed by method {member.method} "
            f"({_METHODS.get(member.method, 'unknown')}).",
            file=source.name,
            where=where,
            remedy="Stored, deflated, bzip2, LZMA and Zstandard members are read; unpack it first.",
        )
    return Unpacking(source, start, start + member.compressed, make(source), where)


_STREAMS: dict[int, Callable[[Source], streams.Stream]] = {
    DEFLATED: lambda source: streams.deflate(-15),
    BZIP2: lambda source: streams.bzip2(),
    LZMA: lambda source: streams.lzma_zip(),
    ZSTD: streams.zstd,
}


def _crc_of(source: Source) -> int:
    crc = 0
    for start in range(0, source.size, _CHUNK):
        crc = zlib.crc32(source.view(start, min(_CHUNK, source.size - start)), crc)
    return crc
