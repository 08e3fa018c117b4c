"""Geometries as bytes (WKB), as shapely and GeoPandas keep them in pickles, shown as text (WKT).

Source: OGC 06-103r4, "Simple feature access", part 1, clauses 7 and 8; the marks of dimensions and of
the reference system in the type's highest bits are those of EWKB (PostGIS, GEOS).
"""

from __future__ import annotations

import struct

__all__ = ["wkt"]

_NAMES = {
    1: "POINT",
    2: "LINESTRING",
    3: "POLYGON",
    4: "MULTIPOINT",
    5: "MULTILINESTRING",
    6: "MULTIPOLYGON",
    7: "GEOMETRYCOLLECTION",
}
_Z, _M, _SRID = 1 << 31, 1 << 30, 1 << 29
_SHORTEST = 9  # bytes: order, type and a count
_LONGEST = 1 << 16  # bytes of what is shown; longer ones are bytes
_DEEPEST = 8  # collections in each other


def wkt(data: bytes | bytearray) -> str | None:
    """Return the text of a geometry, or None if these bytes are not exactly one."""
    if not _SHORTEST <= len(data) <= _LONGEST or data[0] > 1:
        return None
    try:
        text, end = _geometry(bytes(data), 0, 0)
    except (struct.error, ValueError):
        return None
    return text if end == len(data) else None


def _geometry(data: bytes, at: int, depth: int) -> tuple[str, int]:
    if data[at : at + 1] not in (b"\0", b"\1") or depth > _DEEPEST:
        raise ValueError("no byte order")
    order = "<" if data[at] else ">"
    (code,) = struct.unpack_from(f"{order}I", data, at + 1)
    at += 9 if code & _SRID else 5
    kind, dimensions, marks = _kind(code)
    name = f"{_NAMES[kind]}{marks}"
    if kind == 1:
        text, at = _points(data, at, order, dimensions, 1)
        return f"{name} EMPTY" if "nan" in text else f"{name} ({text})", at
    count, at = _count(data, at, order)
    if not count:
        return f"{name} EMPTY", at
    if kind == 2:
        text, at = _points(data, at, order, dimensions, count)
        return f"{name} ({text})", at
    parts = []
    for _ in range(count):
        if kind == 3:
            length, at = _count(data, at, order)
            text, at = _points(data, at, order, dimensions, length)
            parts.append(f"({text})")
            continue
        text, at = _geometry(data, at, depth + 1)
        if kind != 7:
            if text.partition(" ")[0] != _NAMES[kind - 3]:
                raise ValueError("another kind of geometry in a collection of one kind")
            text = text[text.index("(") :] if "(" in text else "EMPTY"
        parts.append(text)
    return f"{name} ({', '.join(parts)})", at


def _kind(code: int) -> tuple[int, int, str]:
    """The kind of a geometry, its coordinates a point, and their marks in the text."""
    flags, code = code & (_Z | _M), code & 0x0FFFFFFF
    thousands, kind = divmod(code, 1000)
    if kind not in _NAMES or thousands > 3 or (flags and thousands):
        raise ValueError("no type of a geometry")
    has_z = bool(flags & _Z) or thousands in (1, 3)
    has_m = bool(flags & _M) or thousands in (2, 3)
    marks = f" {'Z' * has_z}{'M' * has_m}" if has_z or has_m else ""
    return kind, 2 + has_z + has_m, marks


def _count(data: bytes, at: int, order: str) -> tuple[int, int]:
    (count,) = struct.unpack_from(f"{order}I", data, at)
    if count > len(data):
        raise ValueError("more parts than bytes")
    return count, at + 4


def _points(data: bytes, at: int, order: str, dimensions: int, count: int) -> tuple[str, int]:
    numbers = struct.unpack_from(f"{order}{count * dimensions}d", data, at)
    texts = [f"{number:.15g}" for number in numbers]
    points = [" ".join(texts[i : i + dimensions]) for i in range(0, len(texts), dimensions)]
    return ", ".join(points), at + 8 * len(numbers)
