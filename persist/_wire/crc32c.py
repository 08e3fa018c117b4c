"""CRC-32C (Castagnoli), plain and masked, over any bytes.

The extra ``crc32c`` uses the processor's own instruction and is taken where it
is installed; without it NumPy runs over many stretches at once and puts their
sums together, since appending zeros is a linear map of the sum.

Sources: RFC 3720, appendix B.4 (the polynomial and its examples); the mask of
LevelDB's ``util/crc32c.h``: a sum that is stored beside the bytes it covers is
rotated and shifted, so that a sum over sums stays a sum.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["crc32c", "mask", "unmask"]

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8
_FULL = 0xFFFFFFFF
_LANES = 4096  # stretches that NumPy takes at once
_SHORT = 16 * _LANES  # below this, stretches are not worth it
_PIECE = 64 << 20  # bytes that are taken at once, which bounds the memory

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
    view = memoryview(data).cast("B")
    for start in range(0, len(view), _PIECE):
        value = _piece(view[start : start + _PIECE], value)
    return value


def _piece(view: memoryview, value: int) -> int:
    if len(view) < _SHORT:
        return _serial(view, value)
    length = len(view) // _LANES
    whole = length * _LANES
    lanes = np.frombuffer(view[:whole], np.uint8).reshape(_LANES, length)
    sums = _lanes(lanes)
    # Neighbours are joined, then the pairs, ...: sum(a + b) = sum(a) over len(b) zeros ^ sum(b).
    while len(sums) > 1:
        sums = _apply(_zeros(length), sums[0::2]) ^ sums[1::2]
        length *= 2
    start = _apply(_zeros(whole), np.array([value], np.uint32))
    return _serial(view[whole:], int((start ^ sums)[0]))


def _lanes(lanes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The sums of all rows, two columns (16 bits) at a step."""
    table = _wide_table()
    sums = np.full(len(lanes), _FULL, np.uint32)
    even = lanes.shape[1] // 2 * 2
    pairs = np.ascontiguousarray(lanes[:, :even]).view("<u2").T
    for step in range(0, len(pairs), 256):
        for column in np.ascontiguousarray(pairs[step : step + 256]):
            sums = table[(sums & 0xFFFF) ^ column] ^ (sums >> 16)
    if even < lanes.shape[1]:
        sums = _table()[(sums ^ lanes[:, -1]) & 0xFF] ^ (sums >> 8)
    return sums ^ np.uint32(_FULL)


def _serial(view: memoryview, value: int) -> int:
    table = _list()
    value ^= _FULL
    for byte in view:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ _FULL


@functools.cache
def _table() -> np.ndarray[Any, Any]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


@functools.cache
def _list() -> list[int]:
    return [int(entry) for entry in _table()]


@functools.cache
def _wide_table() -> np.ndarray[Any, Any]:
    """The same for two bytes at once."""
    table = np.arange(65_536, dtype=np.uint32)
    for _ in range(2):
        table = _table()[table & 0xFF] ^ (table >> 8)
    return table


@functools.lru_cache(maxsize=256)
def _zeros(count: int) -> np.ndarray[Any, Any]:
    """What ``count`` zero bytes make of a sum: a linear map, by the images of its 32 bits."""
    images = (np.uint32(1) << np.arange(32, dtype=np.uint32)).astype(np.uint32)
    step = _table()[images & 0xFF] ^ (images >> 8)  # one zero byte
    while count:
        if count & 1:
            images = _apply(step, images)
        step = _apply(step, step)
        count >>= 1
    return images


def _apply(images: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result = np.zeros(len(values), np.uint32)
    for bit in range(32):
        result ^= np.where(values >> np.uint32(bit) & np.uint32(1), images[bit], np.uint32(0))
    return result
