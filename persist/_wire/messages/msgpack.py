"""MessagePack: values of JSON's kinds, bytes and extensions, each behind a byte that states its type.

Evidence: ``spec.md`` of msgpack (github.com/msgpack/msgpack), versions of 2008 (without ``bin``, ``str 8`` and
extensions) and 2013; files of msgpack-python 0.5 to 1.2.

All numbers are big-endian. Text that is not UTF-8, as older writers store bytes, is given as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from persist._wire.base.source import Source
from persist.errors import DamagedFileError, LimitError

__all__ = ["Token", "damaged", "token", "unpacked"]

_COST = 16  # bytes that a value takes in memory, at least

_SCALARS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED = {
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
    0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
_FIXEXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class Token(NamedTuple):
    """One value, or the head of a container.

    Attributes:
        kind: "value", "str", "bin", "ext", "array" or "map".
        value: the value; the code of an extension.
        start: offset of the data of a str, bin or ext; else of what follows.
        size: bytes of data, or items of a container.
    """

    kind: str
    value: Any
    start: int
    size: int

    @property
    def end(self) -> int:
        """The offset of the next token."""
        return self.start + self.size if self.kind in ("str", "bin", "ext") else self.start


def token(source: Source, at: int) -> Token:
    """Return the token at an offset.

    Raises:
        DamagedFileError: there is none, or its data extends beyond the end.
    """
    first = source.view(at, 1)[0]
    at += 1
    if first < 0x80:
        return Token("value", first, at, 0)
    if first >= 0xE0:
        return Token("value", first - 256, at, 0)
    if first < 0xC0:
        kind, count = ("map", first & 15) if first < 0x90 else ("array", first & 15)
        if first >= 0xA0:
            kind, count = "str", first & 31
        return _sized(source, kind, at, count)
    if first in _CONSTANTS:
        return Token("value", _CONSTANTS[first], at, 0)
    if first in _SCALARS:
        form = _SCALARS[first]
        size = struct.calcsize(form)
        return Token("value", struct.unpack(form, source.view(at, size))[0], at + size, 0)
    if first in _FIXEXT:
        return _sized(source, "ext", at, _FIXEXT[first])
    if first == 0xC1:
        raise damaged(source, at - 1, "a value has the type 0xc1, which MessagePack never uses.")
    kind, form = _SIZED[first]
    size = struct.calcsize(form)
    count = struct.unpack(form, source.view(at, size))[0]
    return _sized(source, kind, at + size, count)


def _sized(source: Source, kind: str, at: int, count: int) -> Token:
    code = 0
    if kind == "ext":
        code = struct.unpack(">b", source.view(at, 1))[0]
        at += 1
    least = 2 * count if kind == "map" else count
    if least > source.size - at:
        source.view(at, least)  # raises with the place
    return Token(kind, code, at, count)


class _Open(NamedTuple):
    """A container that is not complete."""

    kind: str
    items: list[Any]
    wanted: int


def unpacked(
    source: Source,
    at: int,
    extension: Callable[[int, Source], Any],
    mapping: Callable[[list[Any], list[Any]], Any],
) -> tuple[Any, int]:
    """Return the value at an offset, and the offset behind it.

    Args:
        source: holds it.
        at: where it begins.
        extension: makes a value of an extension's code and data.
        mapping: makes a value of the keys and values of a map.

    Raises:
        DamagedFileError: the value is not complete, or a type is unknown.
        LimitError: containers are nested deeper than ``limits.depth``.
    """
    stack: list[_Open] = []
    charged = 0
    while True:
        charged += 1
        if not charged & 1023:
            source.spend(1024 * _COST)
        found = token(source, at)
        at = found.end
        if found.kind in ("array", "map") and found.size:
            if len(stack) >= source.limits.depth:
                raise LimitError(
                    f"values are nested more than {source.limits.depth:,} deep.",
                    file=source.name,
                    remedy='If the file is honest, raise limits={"depth": ...}.',
                )
            stack.append(_Open(found.kind, [], found.size * (2 if found.kind == "map" else 1)))
            continue
        value = _value(source, found, extension, mapping)
        while stack:
            top = stack[-1]
            top.items.append(value)
            if len(top.items) < top.wanted:
                break
            stack.pop()
            value = top.items if top.kind == "array" else mapping(top.items[::2], top.items[1::2])
        else:
            return value, at


def _value(
    source: Source,
    found: Token,
    extension: Callable[[int, Source], Any],
    mapping: Callable[[list[Any], list[Any]], object],
) -> object:
    if found.kind == "value":
        return found.value
    if found.kind == "array":
        return []
    if found.kind == "map":
        return mapping([], [])
    if found.kind == "ext":
        return extension(found.value, source.window(found.start, found.size))
    source.spend(found.size)
    data = source.read(found.start, found.size)
    if found.kind == "bin":
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def damaged(source: Source, at: int, what: str) -> DamagedFileError:
    """Return the error that says what is wrong at an offset."""
    return DamagedFileError(
        what,
        file=source.name,
        where=f"offset {at}",
        remedy="The file is damaged: copy it again from where it came from.",
    )
