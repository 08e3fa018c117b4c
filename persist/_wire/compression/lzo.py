"""LZO1X: literals and matches, distinguished by the first bits of each instruction and by what came before.

After "LZO stream format as understood by Linux's LZO decompressor" (the kernel's
``Documentation/staging/lzo.rst``), and PyTables' ``H5Zlzo.c`` for what follows the stream.
"""

from __future__ import annotations

import zlib

__all__ = ["undo"]

_FAR = 0x4000  # added to the distances of the longest form, but for the one that ends the stream
_NEAR = 0x801  # the least distance of a match of three bytes after a run of literals
_CHECKSUM = 4


def undo(data: bytes, most: int) -> bytes:
    """Return what a chunk was before PyTables' LZO filter.

    Args:
        data: the stream, behind which an Adler-32 of what comes out may stand.
        most: bytes that may come out.

    Raises:
        ValueError: the bytes are not what LZO makes, or the checksum is another.
    """
    try:
        made, end = _unpacked(data, most)
    except IndexError as error:
        raise ValueError("the stream breaks off") from error
    rest = data[end:]
    if len(rest) not in (0, _CHECKSUM):
        raise ValueError(f"{len(rest):,} bytes follow the end of the stream")
    found = zlib.adler32(made)
    if rest and found not in (int.from_bytes(rest, "little"), int.from_bytes(rest, "big")):
        raise ValueError(f"the checksum is {found:08x}, not {rest[::-1].hex()}")
    return bytes(made)


def _unpacked(data: bytes, most: int) -> tuple[bytearray, int]:
    """What comes out, and where the stream ends."""
    made = bytearray()
    at = 0
    after = 0  # literals that the last instruction brought: 0 to 3, 4 of a run of them
    if data[0] > 17:
        count = data[0] - 17
        made += _literals(data, 1, count)
        at, after = 1 + count, min(count, 4)
    while True:
        code = data[at]
        at += 1
        if code < 16 and not after:
            count, at = _length(data, at, code, 15)
            made += _literals(data, at, count + 3)
            at, after = at + count + 3, 4
            continue
        if code < 16:
            distance = (code >> 2) + (data[at] << 2) + (_NEAR if after == 4 else 1)
            length, after = (3 if after == 4 else 2), code & 3
            at += 1
        elif code >= 64:
            distance = (code >> 2 & 7) + (data[at] << 3) + 1
            length, after = (code >> 5) + 1, code & 3
            at += 1
        else:
            is_far = code < 32
            mask, base = (7, 7) if is_far else (31, 31)
            length, at = _length(data, at, code & mask, base)
            length += 2
            word = data[at] | data[at + 1] << 8
            at += 2
            distance, after = (word >> 2) + 1, word & 3
            if is_far:
                distance += ((code & 8) << 11) - 1
                if not distance:
                    return made, at
                distance += _FAR
        start = len(made) - distance
        if start < 0 or len(made) + length + after > most:
            raise ValueError("a distance or a length leads outside")
        piece = made[start : start + length]
        while len(piece) < length:  # what it repeats is itself still being made
            piece += piece[: length - len(piece)]
        made += piece
        if after:
            made += _literals(data, at, after)
            at += after


def _length(data: bytes, at: int, short: int, base: int) -> tuple[int, int]:
    """A length that goes on in bytes of its own where its bits are zero."""
    if short:
        return short, at
    start = at
    while not data[at]:
        at += 1
    return 255 * (at - start) + base + data[at], at + 1


def _literals(data: bytes, at: int, count: int) -> bytes:
    piece = data[at : at + count]
    if len(piece) < count:
        raise ValueError(f"{count:,} bytes are claimed at {at:,}, {len(piece):,} are there")
    return piece
