"""Formats without a magic number, known by the form of their beginning: marshal.

Evidence: ``Python/marshal.c`` of CPython, versions 0 to 4.
"""

from __future__ import annotations

__all__ = ["by_structure"]


def by_structure(head: bytes, size: int) -> tuple[str, str] | None:
    """Return what a file is and what to do, or None.

    Args:
        head: its first bytes.
        size: bytes of the file.
    """
    if _is_marshal(head, size):
        return (
            "this is what Python's marshal wrote, as cProfile's statistics are.",
            "Read it with the Python that wrote it, if you trust it: marshal.load(file), or "
            "pstats.Stats(path).",
        )
    return None


# Bytes that follow the byte of a type: of a fixed number, or of a length that is written first.
_FIXED = {b"N": 0, b"T": 0, b"F": 0, b".": 0, b"S": 0, b"i": 4, b"I": 8, b"g": 8, b"y": 16,
          b"r": 4, b"R": 4}  # fmt: skip
_LENGTH = {b"s": 4, b"t": 4, b"u": 4, b"a": 4, b"A": 4, b"z": 1, b"Z": 1, b"f": 1}
_ITEMS = {b"(": 4, b"[": 4, b"<": 4, b">": 4, b")": 1}
_REFERENCE = 0x80  # set in the byte of a type where the value is referred to later
_ENOUGH = 4  # values after which it is no accident


def _is_marshal(head: bytes, size: int) -> bool:
    """Whether a file begins as a dict, list or tuple that `marshal` wrote.

    Args:
        head: its first bytes.
        size: of the file; where all of it is in ``head``, it must end with the value.
    """
    if not head or bytes([head[0] & ~_REFERENCE]) not in (b"{", b"(", b"[", b")"):
        return False
    at, seen = 0, 0
    left = [1]  # items that follow in each open container; a dict ends with a NUL
    while left:
        if not left[-1]:
            left.pop()
            continue
        if at >= len(head):
            return size > len(head) and seen >= _ENOUGH
        kind = bytes([head[at] & ~_REFERENCE])
        at += 1
        seen += 1
        left[-1] -= 1
        if kind == b"0" and left[-1] < 0:
            left.pop()
        elif kind == b"{":
            left.append(-1)
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind in _LENGTH or kind in _ITEMS:
            wide = _LENGTH.get(kind) or _ITEMS[kind]
            count = int.from_bytes(head[at : at + wide], "little")
            at += wide
            if count > size:
                return False
            if kind in _ITEMS:
                left.append(count)
            else:
                at += count
        else:
            return False
    return at == size and seen >= _ENOUGH
