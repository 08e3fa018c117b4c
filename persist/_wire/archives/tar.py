"""Tar archives: a header of 512 bytes, then the file, padded to as many.

Source: POSIX.1-1988 and 2001 (``ustar`` and ``pax``), ``tar.5`` of GNU and of libarchive, "Sparse
Formats" of GNU tar's manual. A size is octal digits, or since that did not suffice a number in base
256 with the first bit set; a long name is a file of its own before the one that it names, of type
``L`` (``K`` for a link's target; GNU), or a record ``path=`` in one of type ``x`` (pax).

A sparse file holds only what is not zero: of GNU's own type ``S``, with blocks of extents behind the
header where four do not suffice, or by pax records ``GNU.sparse.*`` in three versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from persist._wire.base.source import Source

__all__ = ["TarMember", "is_tar", "members", "whole"]

_BLOCK = 512
_FILES = (b"0", b"\0", b"7", b"S")
_LINKS = {b"1": "hard", b"2": "symbolic"}
_BESIDE = (b"L", b"K", b"x", b"X")  # what describes the member behind it
_NO_FILES = (b"3", b"4", b"5", b"6", b"D", b"V", b"g")  # devices, folders, labels
_LONGEST = 1 << 20  # bytes of a name, or of what pax states about it
_EXTENTS = 1 << 16  # of a sparse file
_SCANNED = 1 << 16  # blocks behind a broken header in which the next one is looked for
_BEHIND = 64  # blocks behind the end in which another archive is looked for


class TarMember(NamedTuple):
    """A file in a tar, or a link to one.

    Attributes:
        name: its path, without ``./`` in front.
        offset: where its bytes begin.
        size: how many of them are stored.
        is_whole: whether all of them are there.
        link: "hard" or "symbolic" of a link, else "".
        target: what a link names, as it is written.
        extents: of a sparse file (offset in the file, bytes) of what is stored, in order; else None.
        real_size: bytes of the file when it is expanded.
    """

    name: str
    offset: int
    size: int
    is_whole: bool
    link: str = ""
    target: str = ""
    extents: tuple[tuple[int, int], ...] | None = None
    real_size: int = 0


class _Odd(Exception):
    """A member that cannot be placed, with the reason."""


def is_tar(source: Source) -> bool:
    """Whether it begins with the header of a file in a tar."""
    return (
        source.kind == "file"
        and source.size >= _BLOCK
        and source.head(263)[257:262] == b"ustar"
        and _size(source.head(_BLOCK)) is not None
    )


def members(source: Source, most: int, damage: list[str]) -> Iterator[TarMember]:
    """Yield the files and links in a tar, at most so many headers' worth.

    Args:
        source: the archive.
        most: headers that are looked at.
        damage: takes what is broken: a header whose sum is wrong, behind which the next one is
            looked for; a sparse file whose parts do not fit; what follows the end.
    """
    at = 0
    pax: dict[str, list[str]] = {}
    name = target = b""
    for _ in range(most):
        header = source.read(at, _BLOCK) if at + _BLOCK <= source.size else b""
        if not header.strip(b"\0"):
            if not header and at == source.size:
                damage.append("the tar has no mark of its end: it may be cut short")
            _look_behind(source, at, damage)
            return
        size = _size(header)
        if size is None:
            found = _next(source, at + _BLOCK)
            more = "nothing behind it is read" if found is None else "what follows it is read again"
            damage.append(
                f"the tar's header at offset {at:,} is damaged (its sum is wrong); {more}"
            )
            if found is None:
                return
            at, name, target, pax = found, b"", b"", {}
            continue
        start, kind = at + _BLOCK, header[156:157]
        if pax.get("size") and kind not in _BESIDE:
            size = _decimal(pax["size"][-1], size)
        is_whole = start + size <= source.size
        if kind in _BESIDE:
            payload = source.read(start, min(size, _LONGEST)) if is_whole else b""
            if kind == b"L":
                name = payload.rstrip(b"\0")
            elif kind == b"K":
                target = payload.rstrip(b"\0")
            else:
                pax = _records(payload)
        elif kind not in _NO_FILES:
            try:
                member = _member(source, header, start, size, name, target, pax)
                start = member.offset if kind == b"S" else start
                if not member.name.endswith("/"):  # a folder, as version 7 of Unix wrote it
                    yield member
            except _Odd as error:
                damage.append(f"{_named(header, name)} in the tar cannot be read: {error}")
                start = _behind_extents(source, header, start) if kind == b"S" else start
        if kind not in _BESIDE:
            name, target, pax = b"", b"", {}
        at = start + -(-size // _BLOCK) * _BLOCK
    damage.append(f"more than {most:,} headers are in the tar; the rest is not read")


def whole(source: Source, member: TarMember) -> Source:
    """Return the bytes of a member; of a sparse one with its zeros.

    Raises:
        LimitError: expanded it is larger than may be made.
    """
    label = f"member {member.name!r}"
    if member.extents is None:
        return source.window(member.offset, member.size, label)
    source.spend(member.real_size)
    data = bytearray(member.real_size)
    at = member.offset
    for offset, count in member.extents:
        data[offset : offset + count] = source.view(at, count)
        at += count
    return source.nested(data, label)


def _member(
    source: Source,
    header: bytes,
    start: int,
    size: int,
    name: bytes,
    target: bytes,
    pax: dict[str, list[str]],
) -> TarMember:
    own = pax["path"][-1] if pax.get("path") else _named(header, name)
    own = own.removeprefix("./")
    kind = header[156:157]
    if kind in _LINKS:
        text = _decoded(target or header[157:257].split(b"\0")[0])
        text = pax["linkpath"][-1] if pax.get("linkpath") else text
        return TarMember(own, start, 0, True, _LINKS[kind], text)
    is_whole = start + size <= source.size
    if kind == b"S":
        start, extents, real = _old_sparse(source, header, start)
    elif "GNU.sparse.major" in pax or "GNU.sparse.map" in pax or "GNU.sparse.offset" in pax:
        own = pax.get("GNU.sparse.name", [own])[-1].removeprefix("./")
        start, size, extents, real = _pax_sparse(source, start, size, pax)
    else:
        return TarMember(own, start, size, is_whole)
    end = 0
    for offset, count in extents:
        if offset < end or count < 0:
            raise _Odd("the parts of the sparse file overlap")
        end = offset + count
    if end > real or sum(count for _, count in extents) != size:
        raise _Odd("the parts of the sparse file are not those that are stored")
    is_whole = start + size <= source.size
    return TarMember(own, start, size, is_whole, extents=extents, real_size=real)


# Sparse files.

Extents = tuple[tuple[int, int], ...]


def _old_sparse(source: Source, header: bytes, start: int) -> tuple[int, Extents, int]:
    """Type S: four extents in the header, 21 in each block behind it while a byte says so."""
    extents = list(_pairs(header[386:482]))
    is_more = header[482]
    while is_more:
        if start + _BLOCK > source.size or len(extents) > _EXTENTS:
            raise _Odd("the list of the sparse file's parts has no end")
        block = source.read(start, _BLOCK)
        extents += _pairs(block[:504])
        is_more, start = block[504], start + _BLOCK
    real = _number(header[483:495])
    if real is None:
        raise _Odd("the size of the sparse file is no number")
    return start, tuple(extents), real


def _behind_extents(source: Source, header: bytes, start: int) -> int:
    is_more = header[482]
    while is_more and start + _BLOCK <= source.size:
        is_more, start = source.read(start, _BLOCK)[504], start + _BLOCK
    return start


def _pairs(data: bytes) -> Iterator[tuple[int, int]]:
    for at in range(0, len(data), 24):
        offset, count = _number(data[at : at + 12]), _number(data[at + 12 : at + 24])
        if offset is not None and count is not None:
            yield offset, count


def _pax_sparse(
    source: Source, start: int, size: int, pax: dict[str, list[str]]
) -> tuple[int, int, Extents, int]:
    real = _decimal((pax.get("GNU.sparse.realsize") or pax.get("GNU.sparse.size") or [""])[-1], -1)
    if real < 0:
        raise _Odd("the size of the sparse file is no number")
    if pax.get("GNU.sparse.major", ["0"])[-1] != "0":  # 1.0: a list in lines before the data
        return _listed_sparse(source, start, size, real)
    if "GNU.sparse.map" in pax:  # 0.1
        numbers = [_decimal(part, -1) for part in pax["GNU.sparse.map"][-1].split(",")]
    else:  # 0.0
        offsets, counts = pax.get("GNU.sparse.offset", []), pax.get("GNU.sparse.numbytes", [])
        if len(offsets) != len(counts):
            raise _Odd("the parts of the sparse file are not pairs")
        pairs = zip(offsets, counts, strict=True)
        numbers = [_decimal(part, -1) for pair in pairs for part in pair]
    return start, size, _paired(numbers), real


def _listed_sparse(
    source: Source, start: int, size: int, real: int
) -> tuple[int, int, Extents, int]:
    data = b""
    numbers: list[int] = []
    most, blocks = 1, 0
    while len(numbers) < most:
        place = start + blocks * _BLOCK
        if (blocks + 1) * _BLOCK > size or place + _BLOCK > source.size or blocks > _EXTENTS:
            raise _Odd("the list of the sparse file's parts has no end")
        data += source.read(place, _BLOCK)
        blocks += 1
        *lines, data = data.split(b"\n")
        numbers += [_decimal(line.decode("latin-1"), -1) for line in lines]
        if numbers:
            if not 0 <= numbers[0] <= _EXTENTS:
                raise _Odd("the sparse file has too many parts")
            most = 1 + 2 * numbers[0]
    taken = blocks * _BLOCK
    return start + taken, size - taken, _paired(numbers[1:most]), real


def _paired(numbers: list[int]) -> Extents:
    if len(numbers) % 2 or len(numbers) > 2 * _EXTENTS or any(number < 0 for number in numbers):
        raise _Odd("the parts of the sparse file are not pairs of numbers")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


# Headers.


def _next(source: Source, at: int) -> int | None:
    """The next header behind a broken one."""
    for _ in range(_SCANNED):
        if at + _BLOCK > source.size:
            return None
        header = source.read(at, _BLOCK)
        if header[257:262] == b"ustar" and _size(header) is not None:
            return at
        at += _BLOCK
    return None


def _look_behind(source: Source, at: int, damage: list[str]) -> None:
    """Report another archive behind the end of this one, as ``cat a.tar b.tar`` leaves it."""
    for block in range(_BEHIND):
        place = at + block * _BLOCK
        if place + _BLOCK > source.size:
            return
        header = source.read(place, _BLOCK)
        if header[257:262] == b"ustar" and _size(header) is not None:
            damage.append(
                f"another tar follows the end of this one, at offset {place:,}, and is not "
                "read; tar --ignore-zeros unpacks both"
            )
            return


def _records(data: bytes) -> dict[str, list[str]]:
    """The records of pax: ``length key=value`` and a line's end."""
    records: dict[str, list[str]] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        if length < 5 or at + length > len(data):
            break
        key, mark, value = data[space + 1 : at + length - 1].partition(b"=")
        if mark:
            text = value.decode("utf-8", "surrogateescape")
            records.setdefault(key.decode("utf-8", "replace"), []).append(text)
        at += length
    return records


def _named(header: bytes, long: bytes) -> str:
    name = long
    if not name:
        name = header[:100].split(b"\0")[0]
        prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
        name = prefix + b"/" + name if prefix else name
    return _decoded(name).removeprefix("./")


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _size(header: bytes) -> int | None:
    """The size that a header states; None if it is no header, by its sum."""
    total = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
    stored_sum = _octal(header[148:156])
    if stored_sum != total:  # early ones summed signed bytes
        negative = sum(byte > 127 for byte in header[:148] + header[156:])
        if not negative or stored_sum != total - 256 * negative:
            return None
    return _number(header[124:136])


def _number(digits: bytes) -> int | None:
    if digits and digits[0] & 0x80:
        return int.from_bytes(bytes((digits[0] & 0x7F, *digits[1:])), "big")
    return _octal(digits)


def _octal(digits: bytes) -> int | None:
    digits = digits.strip(b"\0 ")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else None


def _decimal(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else otherwise
