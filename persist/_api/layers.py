"""Compressed bytes around a file: gzip, bz2, xz, LZMA, zlib, lz4, zstd, a ZIP of one member.

What it is shows by content; the suffix often lies. zlib and LZMA alone have no
magic worth the name: a beginning must unpack. Sources: RFC 1950 and 1952, the
bzip2 and xz specifications, liblzma's ``alone_decoder.c`` (which header values
are plausible), LZ4's frame format, RFC 8878.

Layers inside layers are taken off one at a time by the caller. Every byte that
is made is counted against the source's limits before it is kept.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable

from persist._wire.archives.zip import Member, ZipDirectory
from persist._wire.base.source import Source
from persist._wire.compression import streams
from persist._wire.compression.streams import Stream, Unpacking
from persist.errors import DamagedFileError, FormatError, PersistError, UnknownFormatError

__all__ = ["peel"]

_TRIED = 4096  # compressed bytes that must unpack where there is no magic
_SKIPPED = 100_000  # frames that hold nothing, in a row
_BITE = 4096  # bytes at a time of a layer that may be broken
_NAMES = 8  # members that a message lists


def peel(source: Source, broken: list[str] | None = None) -> tuple[Source, str] | None:
    """Return what is inside one layer of compression, and the layer's name; None without one.

    Args:
        source: the file, or what was inside its outer layer.
        broken: a layer that breaks off, or is broken, gives what is whole before that, and this
            list is reported there; None makes it an error.

    Raises:
        DamagedFileError: the layer is truncated or broken; the error states how much was intact.
        LimitError: it would make more than the limits allow.
        MissingExtraError: the library for it is not installed.
        UnknownFormatError: it is a ZIP of several members, and nobody's.
    """
    if source.kind != "file" or not source.size:
        return None
    for name, is_one, make in _LAYERS:
        if is_one(source):
            return _unpacked(source, name, make, broken)
    return _single_member(source)


def _unpacked(
    source: Source, name: str, make: Callable[[Source], Stream], broken: list[str] | None
) -> tuple[Source, str]:
    """Unpack one stream after the other to the end of the source."""
    # No io.BytesIO: its getbuffer() makes CPython up to 3.12.1 crash in the garbage collector.
    made = bytearray()
    at, count = 0, 0
    note = ""
    while at < source.size:
        if count:
            at = _past_padding(source, at)
        if name in _SKIPPING:
            at = _past_skippable(source, at)
        if count and not _goes_on(source, at, name):
            left = source.size - at
            note = f" (and {left:,} stray bytes behind it)" if left > 0 else ""
            break
        unpacking = Unpacking(source, at, source.size, make(source), f"its {name} layer")
        try:
            _unpack(unpacking, made, streams.CHUNK if broken is None else _BITE)
        except DamagedFileError as error:
            if broken is None or not made:
                raise
            broken.append(str(error))
            break
        at, count = unpacking.at, count + 1
    view = memoryview(made)
    inner = source.nested(view if source.writable else view.toreadonly(), "", here=True)
    return inner, name + note


def _unpack(unpacking: Unpacking, made: bytearray, chunk: int) -> None:
    """Add all that a stream gives, to its end.

    Raises:
        DamagedFileError: it has none, or is broken.
    """
    source, start = unpacking.source, unpacking.at
    for part in unpacking.pieces(chunk=chunk):
        source.spend(len(part))
        made += part
    if not unpacking.stream.eof:
        raise DamagedFileError(
            f"the stream that begins at offset {start:,} breaks off: all {source.size:,} bytes "
            f"gave {len(made):,} whole ones, and its end is missing.",
            file=source.name,
            where=unpacking.where,
            remedy="The file is truncated; copy it again from where it came from, or open it with "
            "salvage=True for what is whole.",
            whole=len(made),
        )


def _past_padding(source: Source, at: int) -> int:
    """Zero bytes between and behind streams (tapes and xz pad so) are passed over."""
    while at < source.size:
        piece = source.read(at, min(1 << 16, source.size - at))
        rest = piece.lstrip(b"\0")
        at += len(piece) - len(rest)
        if rest:
            break
    return at


def _goes_on(source: Source, at: int, name: str) -> bool:
    """Whether another stream of the same kind begins at ``at``."""
    magic = _MAGICS.get(name)
    return magic is not None and source.read(at, min(8, source.size - at)).startswith(magic)


# Which layer it is.


_MAGICS = {
    "gzip": b"\x1f\x8b\x08",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "lz4": b"\x04\x22\x4d\x18",
    "zstd": b"\x28\xb5\x2f\xfd",
}
_SKIPPING = ("lz4", "zstd")


def _has_magic(name: str) -> Callable[[Source], bool]:
    def is_one(source: Source) -> bool:
        at = _past_skippable(source, 0) if name in _SKIPPING else 0
        return _goes_on(source, at, name)

    return is_one


def _past_skippable(source: Source, at: int) -> int:
    """Frames to be skipped, the same in LZ4 and Zstandard: 0x184D2A50 to 5F, a length, anything."""
    for _ in range(_SKIPPED):
        if at + 8 > source.size:
            break
        head = source.read(at, 8)
        length = int.from_bytes(head[4:8], "little")
        if not 0x50 <= head[0] <= 0x5F or head[1:4] != b"\x2a\x4d\x18":
            break
        if at + 8 + length > source.size:
            break
        at += 8 + length
    return at


def _is_bzip2(source: Source) -> bool:
    head = source.head(10)
    blocks = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")  # the first block, or the end of an empty one
    return head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in blocks


def _is_zlib(source: Source) -> bool:
    head = source.head(2)
    if len(head) < 2 or head[0] & 15 != 8 or head[0] >> 4 > 7 or head[1] & 0x20:
        return False
    return int.from_bytes(head, "big") % 31 == 0 and _begins(source, streams.deflate(15))


def _is_lzma_alone(source: Source) -> bool:
    """Properties, a dictionary of 2^n or 2^n + 2^(n-1), a size below 2^38 or unknown, then 0."""
    head = source.head(14)
    if len(head) < 14 or head[0] >= 225 or head[13] != 0:
        return False
    dictionary = int.from_bytes(head[1:5], "little")
    size = int.from_bytes(head[5:13], "little")
    step = dictionary & -dictionary
    if dictionary < 4096 or dictionary not in (step, 3 * step, 0xFFFFFFFF):
        return False
    if size >= 1 << 38 and size != 0xFFFFFFFFFFFFFFFF:
        return False
    return _begins(source, streams.lzma_of(lzma.FORMAT_ALONE))


def _begins(source: Source, stream: Stream) -> bool:
    """Whether the first bytes unpack to something."""
    trial = Unpacking(source, 0, min(source.size, _TRIED), stream, "")
    try:
        for _ in trial.pieces(1 << 16):
            pass
    except PersistError:
        return False
    return trial.made > 0 or stream.eof


_LAYERS: tuple[tuple[str, Callable[[Source], bool], Callable[[Source], Stream]], ...] = (
    ("gzip", _has_magic("gzip"), lambda source: streams.deflate(31)),
    ("bzip2", _is_bzip2, lambda source: streams.bzip2()),
    ("xz", _has_magic("xz"), lambda source: streams.lzma_of(lzma.FORMAT_XZ)),
    ("lz4", _has_magic("lz4"), streams.lz4),
    ("zstd", _has_magic("zstd"), streams.zstd),
    ("zlib", _is_zlib, lambda source: streams.deflate(15)),
    ("lzma", _is_lzma_alone, lambda source: streams.lzma_of(lzma.FORMAT_ALONE)),
)


# A ZIP of one member.


def _single_member(source: Source) -> tuple[Source, str] | None:
    directory = ZipDirectory.of(source)
    if directory is None:
        if source.head(4) == b"PK\3\4":
            ZipDirectory.read(source)  # raises with what is wrong
        return None
    files = [member for member in directory.members if not _is_side_file(member)]
    if len(files) != 1:
        raise _not_one(source, files)
    (member,) = files
    part = directory.open(member)
    if part.is_mapped:
        data = part.view(0, part.size)
    else:
        source.spend(part.size)
        data = memoryview(part.read(0, part.size))
    return source.nested(data, "", here=True), f"ZIP of {member.name!r}"


def _is_side_file(member: Member) -> bool:
    """Folders, and what macOS adds to every archive."""
    return member.is_folder or member.name.startswith("__MACOSX/") or _last(member) == ".DS_Store"


def _last(member: Member) -> str:
    return member.name.rpartition("/")[2]


def _not_one(source: Source, files: list[Member]) -> FormatError:
    names = ", ".join(repr(member.name) for member in files[:_NAMES])
    more = f" and {len(files) - _NAMES:,} more" if len(files) > _NAMES else ""
    held = f"of {len(files):,} members: {names}{more}" if files else "without members"
    return UnknownFormatError(
        f"this is a ZIP archive {held}; no reader knows such a one.",
        file=source.name,
        remedy="Unpack it, and open what is inside." if files else "",
    )
