"""CRC-32C (Castagnoli), plain and masked, over any bytes.

The extra ``crc32c`` uses the processor's own instruction and is taken where it
is installed. Without it NumPy shortens the data first, at gigabytes a second: a
multiple of the polynomial that has four terms stays one when its exponents are
multiplied by 8 or 64 (in characteristic 2), so that whole words are folded onto
later ones by exclusive or, and the sum of what is left is that of the data.

Sources: RFC 3720, appendix B.4 (the polynomial and its examples); the mask of
LevelDB's ``util/crc32c.h``: a sum that is stored next to the bytes it covers is
rotated and shifted, so that a sum over sums stays a sum.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from persist.typing import Array

__all__ = ["crc32c", "mask", "unmask"]

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8
_FULL = 0xFFFFFFFF
# x**5685 + x**1362 + x**426 + 1 is a multiple of the polynomial: among those of four terms (the
# first has degree 5275) one of the few whose highest terms lie far apart. The distances by which
# a word is folded, in words; found by trying all, and divided in the tests.
_DISTANCES = (5685 - 1362, 5685 - 426, 5685)
_STEP, _DEGREE = _DISTANCES[0], _DISTANCES[-1]
_PIECE = 32 * _STEP  # words that are copied at a time

Buffer = bytes | bytearray | memoryview


def mask(value: int) -> int:
    """Return a sum as it is stored: rotated right by 15 bits, plus a constant."""
    return (((value >> 15) | (value << 17 & _FULL)) + _MASK_DELTA) & _FULL


def unmask(value: int) -> int:
    """Return the sum that is stored as ``value``."""
    rotated = (value - _MASK_DELTA) & _FULL
    return ((rotated >> 17) | (rotated << 15)) & _FULL


def crc32c(data: Buffer, value: int = 0) -> int:
    """Return the sum of ``data``, continuing from that of what came before it."""
    return _implementation()(data, value)


@functools.cache
def _implementation() -> Callable[[Buffer, int], int]:
    try:
        import crc32c as compiled
    except ImportError:
        return portable
    if hasattr(compiled, "crc32c"):
        return compiled.crc32c
    return portable  # another project's module of that name


def portable(data: Buffer, value: int = 0) -> int:
    """Return the same sum as `crc32c`, by NumPy alone."""
    rest = memoryview(data).cast("B")
    start = value ^ _FULL  # what the first four bytes are summed with
    for width in (8, 1):
        whole = len(rest) // width * width
        if whole > 2 * _DEGREE * width:
            words = np.frombuffer(rest[:whole], f"<u{width}")
            folded = _folded(words, start).tobytes()
            rest, start = memoryview(folded + rest[whole:]), 0
    return _serial(rest, start ^ _FULL)


def _folded(words: Array, start: int) -> Array:
    """The last words, with all those before them folded into them."""
    carry = np.zeros(_DEGREE, words.dtype)
    carry.view(np.uint8)[:4] = np.frombuffer(start.to_bytes(4, "little"), np.uint8)
    room = np.empty(_PIECE + _DEGREE, words.dtype)
    stop = len(words) - _DEGREE
    for begin in range(0, stop, _PIECE):
        count = min(_PIECE, stop - begin)
        room[:count] = words[begin : begin + count]
        room[count : count + _DEGREE] = 0
        room[:_DEGREE] ^= carry
        for at in range(0, count, _STEP):
            block = room[at : min(at + _STEP, count)]
            for distance in _DISTANCES:
                later = room[at + distance : at + distance + len(block)]
                np.bitwise_xor(later, block, out=later)
        carry = room[count : count + _DEGREE].copy()
    return words[stop:] ^ carry


def _serial(view: memoryview, value: int) -> int:
    table = _list()
    value ^= _FULL
    for byte in view:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ _FULL


@functools.cache
def _list() -> list[int]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return [int(entry) for entry in table]
