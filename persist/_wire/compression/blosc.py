"""Blosc's chunks (version 1), and bitshuffle's: blocks that are shuffled, then packed each for itself.

After c-blosc's ``README_HEADER.rst``, ``blosc.c`` and ``blosclz.c`` (1.0 to 1.21),
and bitshuffle's ``bshuf_h5filter.c`` and ``bitshuffle_core.c``. LZ4 and Zstandard
come from the libraries that the caller hands in.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from persist._wire.base.source import open_source
from persist._wire.compression import snappy

__all__ = ["OWN", "Unpack", "bits_back", "bitshuffled", "undo", "unshuffled"]

Unpack = Callable[[bytes, int], bytes]

_HEADER = 16
_SHUFFLED, _COPIED, _BITS, _WHOLE = 1, 2, 4, 16  # flags
_SPLITS, _SMALL = 16, 128  # a block is split by bytes of an element up to so many; not when small
_NEAR = 8191  # the farthest distance of the short form
_KINDS = ("BloscLZ", "LZ4", "Snappy", "zlib", "Zstandard")


def undo(data: bytes, most: int, unpackers: dict[str, Unpack]) -> bytes:
    """Return what a chunk was before Blosc.

    Args:
        data: the chunk.
        most: bytes that may come out.
        unpackers: of "LZ4" and "Zstandard": (bytes, size of what comes out) -> bytes.

    Raises:
        ValueError: the bytes are not what Blosc makes.
    """
    if len(data) < _HEADER:
        raise ValueError(f"{len(data)} bytes hold no header")
    version, flags, width = data[0], data[2], data[3]
    size, step, stored = np.frombuffer(data, "<u4", 3, 4).tolist()
    if version not in (1, 2) or size > most or stored > len(data) or not width:
        raise ValueError(f"version {version}, {size:,} bytes of {stored:,} are claimed")
    if flags & _COPIED:
        if _HEADER + size > len(data):
            raise ValueError(f"{size:,} bytes are claimed, {len(data) - _HEADER:,} are there")
        return data[_HEADER : _HEADER + size]
    if not size:
        return b""
    kind = flags >> 5
    if kind >= len(_KINDS) or not step:
        raise ValueError(f"codec {kind} and blocks of {step:,} bytes cannot be")
    unpack = {**OWN, **unpackers}[_KINDS[kind]]
    count = -(-size // step)
    if _HEADER + 4 * count > len(data):
        raise ValueError(f"{count:,} blocks are claimed")
    made = []
    for number, start in enumerate(np.frombuffer(data, "<u4", count, _HEADER).tolist()):
        whole = min(step, size - number * step)
        is_split = (
            not flags & _WHOLE and width <= _SPLITS and step // width >= _SMALL and whole == step
        )
        block = _block(data, start, whole, width if is_split else 1, unpack)
        if flags & _SHUFFLED and width > 1:
            block = unshuffled(block, width)
        elif flags & _BITS:
            block = bits_back(block, width) if whole // width % 8 == 0 else block
        made.append(block)
    return b"".join(made)


def _block(data: bytes, at: int, size: int, splits: int, unpack: Unpack) -> bytes:
    """One block: parts of equal size, each behind the count of its bytes."""
    pieces, part = [], size // splits
    for _ in range(splits):
        length = int.from_bytes(data[at : at + 4], "little")
        piece = data[at + 4 : at + 4 + length]
        if len(piece) < length or not length:
            raise ValueError(f"{length:,} bytes are claimed at {at:,}, {len(piece):,} are there")
        try:
            piece = piece if length == part else unpack(piece, part)
        except IndexError as error:  # of the decompressor in Python
            raise ValueError(f"the block at {at:,} breaks off") from error
        if len(piece) != part:
            raise ValueError(f"{len(piece):,} bytes come out of a block, not {part:,}")
        pieces.append(piece)
        at += 4 + length
    return b"".join(pieces)


def unshuffled(block: bytes, width: int) -> bytes:
    """Planes of bytes as elements of ``width`` bytes; the bytes that make no element stay."""
    count = len(block) // width
    planes = np.frombuffer(block, np.uint8, count * width).reshape(width, count)
    return planes.T.tobytes() + block[count * width :]


def bits_back(block: bytes, width: int) -> bytes:
    """Planes of bits as elements of ``width`` bytes; the bytes that make no element stay."""
    count = len(block) // width
    planes = np.frombuffer(block, np.uint8, count * width).reshape(8 * width, count // 8)
    bits = np.unpackbits(planes, axis=1, bitorder="little")
    return np.packbits(bits.T, bitorder="little").tobytes() + block[count * width :]


def _blosclz(data: bytes, size: int) -> bytes:
    """A byte below 32 leads literals; else its top bits are a length, the rest a distance."""
    made = bytearray()
    at, end = 0, len(data)
    control = data[0] & 31
    while True:
        at += 1
        if control < 32:
            made += data[at : at + control + 1]
            at += control + 1
        else:
            length, distance = (control >> 5) + 2, (control & 31) << 8
            if control >> 5 == 7:
                while data[at] == 255:
                    length += 255
                    at += 1
                length += data[at]
                at += 1
            low = data[at]
            at += 1
            if low == 255 and distance == 31 << 8:
                distance = int.from_bytes(data[at : at + 2], "big") + _NEAR
                at += 2
            else:
                distance += low
            start = len(made) - distance - 1
            if start < 0 or len(made) + length > size:
                raise ValueError("a distance or a length leads outside")
            piece = made[start : start + length]
            while len(piece) < length:  # what it repeats is itself still being made
                piece += piece[: length - len(piece)]
            made += piece
        if at >= end:
            return bytes(made)
        control = data[at]


def _inflated(data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _snappy(data: bytes, size: int) -> bytes:
    return snappy.decompress(memoryview(data), open_source(data), "a block")[: size + 1]


OWN: dict[str, Unpack] = {"BloscLZ": _blosclz, "zlib": _inflated, "Snappy": _snappy}


def bitshuffled(
    data: bytes, values: tuple[int, ...], most: int, unpackers: dict[str, Unpack]
) -> bytes:
    """Return what a chunk was before bitshuffle's own filter.

    Args:
        data: the chunk.
        values: release (two numbers), bytes of an element, elements of a block or 0, codec.
        most: bytes that may come out.
        unpackers: as of `undo`.

    Raises:
        ValueError: the bytes are not what it makes.
    """
    width = values[2] if len(values) > 2 else 0
    codec = values[4] if len(values) > 4 else 0
    kind = {0: "", 2: "LZ4", 3: "Zstandard"}.get(codec)
    if kind is None or not 0 < width <= most:
        raise ValueError(f"codec {codec} and elements of {width} bytes cannot be")
    step = values[3] if len(values) > 3 and values[3] else max(8192 // width // 8 * 8, 128)
    size, at = len(data), 0
    if kind:
        size, step = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big") // width
        at = 12
    if size > most or not step or step % 8:
        raise ValueError(f"{size:,} bytes in blocks of {step:,} elements are claimed")
    elements = size // width
    made = []
    for first in range(0, elements // 8 * 8, step):
        part = min(step, (elements - first) // 8 * 8) * width
        length = int.from_bytes(data[at : at + 4], "big") if kind else part
        at += 4 if kind else 0
        piece = data[at : at + length]
        if len(piece) < length or not length:
            raise ValueError(f"{length:,} bytes are claimed at {at:,}, {len(piece):,} are there")
        piece = unpackers[kind](piece, part) if kind else piece
        if len(piece) != part:
            raise ValueError(f"{len(piece):,} bytes come out of a block, not {part:,}")
        made.append(bits_back(piece, width))
        at += length
    return b"".join([*made, data[at : at + size - sum(map(len, made))]])
