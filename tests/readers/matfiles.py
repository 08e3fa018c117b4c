"""MAT-files of level 5, laid out by hand."""

from __future__ import annotations

import struct
import zlib

DOUBLE, CHAR, CELL, STRUCT, SPARSE, OPAQUE = 6, 4, 1, 2, 5, 17


def part(kind: int, data: bytes, order: str = "<") -> bytes:
    """An element: its tag, its data, and padding."""
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(
    kind: int,
    shape: tuple[int, ...],
    *rest: bytes,
    name: bytes = b"a",
    flags: int = 0,
    order: str = "<",
) -> bytes:
    """A matrix: its flags, axes and name, then the parts that depend on its class."""
    axes = struct.pack(f"{order}{len(shape)}I", *shape)
    head = part(6, struct.pack(f"{order}II", kind | flags, 0), order) + part(5, axes, order)
    return part(14, head + part(1, name, order) + b"".join(rest), order)


def packed(element: bytes) -> bytes:
    """A compressed element, which is not padded."""
    data = zlib.compress(element)
    return struct.pack("<II", 15, len(data)) + data


def file(*elements: bytes, order: str = "<", subsystem: int = 0) -> bytes:
    """A file of these variables."""
    private = struct.pack(f"{order}Q", subsystem) if subsystem else b" " * 8
    ends = b"\0\1IM" if order == "<" else b"\1\0MI"
    return (
        b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(116) + private + ends + b"".join(elements)
    )


def cells(depth: int) -> bytes:
    """Cells in cells around an empty array."""
    heads = [matrix(CELL, (1, 1))[8:]] * depth
    made = part(14, b"")
    inner = len(made)
    tags = []
    for head in heads:
        tags.append(struct.pack("<II", 14, len(head) + inner) + head)
        inner += len(head) + 8
    return b"".join(reversed(tags)) + made


def level4(
    kind: int,
    shape: tuple[int, int],
    data: bytes,
    name: bytes = b"x",
    order: str = "<",
    imaginary: int = 0,
) -> bytes:
    """A matrix of level 4."""
    return struct.pack(f"{order}5i", kind, *shape, imaginary, len(name) + 1) + name + b"\0" + data
