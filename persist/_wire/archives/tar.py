"""Tar archives: a header of 512 bytes, then the file, padded to as many.

Source: POSIX.1-1988 and 2001 (``ustar`` and ``pax``), ``tar.5`` of GNU and of libarchive. A size is octal
digits, or since it did not suffice a number in base 256 with the first bit set; a long name is a
file of its own before the one that it names, of type ``L`` (GNU), or ``path=`` in one of type ``x``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source

__all__ = ["TarMember", "is_tar", "members"]

_BLOCK = 512
_FILES = (b"0", b"\0", b"7")
_LONGEST = 1 << 16  # bytes of a name, or of what pax tells beside it
_PATH = regex(rb"(?:^|\n)\d+ path=([^\n]*)\n")


class TarMember(NamedTuple):
    """A file in a tar.

    Attributes:
        name: its path, without ``./`` in front.
        offset: where its bytes begin.
        size: how many there are.
        is_whole: whether all of them are there.
    """

    name: str
    offset: int
    size: int
    is_whole: bool


def is_tar(source: Source) -> bool:
    """Whether it begins with the header of a file in a tar."""
    return (
        source.kind == "file"
        and source.size >= _BLOCK
        and source.head(263)[257:262] == b"ustar"
        and _size(source.head(_BLOCK)) is not None
    )


def members(source: Source, most: int) -> Iterator[TarMember]:
    """Yield the files in a tar, at most so many headers' worth, until it ends or is no tar any more."""
    at, name = 0, b""
    for _ in range(most):
        header = source.read(at, _BLOCK) if at + _BLOCK <= source.size else b""
        size = _size(header) if header.strip(b"\0") else None
        if size is None:
            return
        start = at + _BLOCK
        kind, is_whole = header[156:157], start + size <= source.size
        if kind in (b"L", b"x") and is_whole:
            told = source.read(start, min(size, _LONGEST))
            found = _PATH.search(told) if kind == b"x" else None
            name = told.rstrip(b"\0") if kind == b"L" else found[1] if found else name
        elif kind != b"g":
            if kind in _FILES:
                yield TarMember(_named(header, name), start, size, is_whole)
            name = b""
        at = start + -(-size // _BLOCK) * _BLOCK


def _named(header: bytes, long: bytes) -> str:
    name = long
    if not name:
        name = header[:100].split(b"\0")[0]
        prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
        name = prefix + b"/" + name if prefix else name
    return name.decode("utf-8", "replace").removeprefix("./")


def _size(header: bytes) -> int | None:
    """The size that a header tells; None if it is no header, by its sum."""
    total = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
    if _octal(header[148:156]) != total:
        return None
    digits = header[124:136]
    if digits[0] & 0x80:
        return int.from_bytes(bytes((digits[0] & 0x7F, *digits[1:])), "big")
    return _octal(digits)


def _octal(digits: bytes) -> int | None:
    digits = digits.strip(b"\0 ")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else None
