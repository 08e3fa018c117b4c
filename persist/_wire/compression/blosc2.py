"""Blosc2: a frame of chunks, each of blocks that went through filters, then perhaps a codec.

After c-blosc2's ``README_CFRAME_FORMAT.rst``, ``README_CHUNK_FORMAT.rst`` and
``README_B2ND_METALAYER.rst``, and files that PyTables 3.11 and hdf5plugin wrote; the frame's numbers
are big-endian, as msgpack has them, and the chunks' little-endian.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from persist._wire.compression.blosc import OWN, Unpack, bits_back, unshuffled

__all__ = ["undo"]

_MAGIC = b"\xa8b2frame\0"
_HEADER, _CHUNK = 87, 32  # bytes of a frame's header and of a chunk's, at least
_COPIED, _WHOLE, _LONG = 2, 16, 5  # flags of a chunk
_CODECS = {0: "BloscLZ", 1: "LZ4", 3: "zlib", 4: "Zstandard"}
_SPECIALS = {0: "", 1: "zeros", 2: "NaN", 3: "a value", 4: "anything"}
_SHUFFLE, _BITS, _TRUNCATE = 1, 2, 4  # filters; what truncation took away stays away
_AXES = 16
_LAYER = b"\xa4b2nd\xd2"  # the name of a metalayer, and the mark of where it is


def undo(data: bytes, most: int, unpackers: dict[str, Unpack]) -> bytes:
    """Return what a chunk of HDF5 was before Blosc2.

    Args:
        data: a contiguous frame.
        most: bytes that may come out.
        unpackers: of "LZ4" and "Zstandard": (bytes, size of what comes out) -> bytes.

    Raises:
        ValueError: the bytes are not what Blosc2 makes, or they went through a filter or codec
            that is not known here.
    """
    if len(data) < _HEADER or data[1:10] != _MAGIC:
        raise ValueError("no frame begins here")
    head, size, packed = struct.unpack_from(">i15xqxq", data, 11)
    (step,) = struct.unpack_from(">i", data, 58)
    if not (_HEADER <= head <= len(data) and 0 <= packed <= len(data) - head):
        raise ValueError(f"a header of {head:,} bytes and chunks of {packed:,} are claimed")
    if not (0 <= size <= most and (0 < step <= most or not size)):
        raise ValueError(f"{size:,} bytes in chunks of {step:,} are claimed")
    if not size:
        return b""
    width = struct.unpack_from(">i", data, 48)[0]
    count = -(-size // step)
    index = _chunk(data, head + packed, 8 * count, unpackers)
    if len(index) != 8 * count:
        raise ValueError(f"{len(index):,} bytes state where {count:,} chunks stand")
    made = []
    for number, offset in enumerate(struct.unpack(f"<{count}q", index)):
        whole = min(step, size - number * step)
        if offset < 0:
            made.append(_special(offset >> 56 & 0x7F, width, whole, b""))
        else:
            made.append(_chunk(data, head + offset, step, unpackers)[:whole])
    return _in_order(data[:head], b"".join(made), count)


def _special(kind: int, width: int, size: int, value: bytes) -> bytes:
    """A chunk whose bytes are all one value."""
    if kind in (1, 4):
        return bytes(size)
    if kind == 2 and width in (4, 8):
        return np.full(size // width, np.nan, f"<f{width}").tobytes()
    if kind == 3 and value:
        return value * (size // len(value))
    raise ValueError(f"a chunk is of the special kind {kind}")


def _chunk(data: bytes, at: int, most: int, unpackers: dict[str, Unpack]) -> bytes:
    """One chunk."""
    if not 0 <= at <= len(data) - _CHUNK:
        raise ValueError(f"a chunk is said to stand at {at:,}")
    flags, width = data[at + 2], data[at + 3]
    size, step, stored = struct.unpack_from("<3i", data, at + 4)
    if flags & _LONG != _LONG or not 0 <= size <= most or not width:
        raise ValueError(f"a chunk has flags {flags:#x} and {size:,} bytes")
    chunk = data[at : at + max(stored, 0)]
    if stored < _CHUNK or len(chunk) != stored:
        raise ValueError(f"{stored:,} bytes of a chunk are claimed at {at:,}")
    kind = chunk[31] >> 4 & 7
    if kind:
        return _special(kind, width, size, chunk[_CHUNK : _CHUNK + width])
    if flags & _COPIED:
        return _whole(chunk[_CHUNK : _CHUNK + size], size)
    if not size:
        return b""
    if chunk[31] & 1:
        raise ValueError("its blocks need a dictionary, which is not read here")
    codec = _CODECS.get(flags >> 5)
    if codec is None or step < 1 or _CHUNK + 4 * -(-size // step) > stored:
        raise ValueError(f"codec {flags >> 5} and blocks of {step:,} bytes cannot be")
    unpack = {**OWN, **unpackers}[codec]
    made = []
    for number, start in enumerate(struct.unpack_from(f"<{-(-size // step)}i", chunk, _CHUNK)):
        whole = min(step, size - number * step)
        streams = 1 if flags & _WHOLE or whole < step else width
        block = _block(chunk, start, whole, streams, unpack)
        made.append(_unfiltered(block, chunk, width))
    return b"".join(made)


def _block(chunk: bytes, at: int, size: int, streams: int, unpack: Unpack) -> bytes:
    """One block: streams of equal size, each behind the count of its bytes."""
    pieces, part = [], size // streams
    for _ in range(streams):
        if not _CHUNK <= at <= len(chunk) - 4:
            raise ValueError(f"a stream is said to stand at {at:,}")
        (length,) = struct.unpack_from("<i", chunk, at)
        at += 4
        if length < 0:  # one byte again and again
            if at >= len(chunk) or not chunk[at] & 1 or length < -255:
                raise ValueError(f"a stream has {length:,} bytes")
            pieces.append(bytes((-length,)) * part)
            at += 1
            continue
        piece = _whole(chunk[at : at + length], length)
        at += length
        if not length:
            pieces.append(bytes(part))
        else:
            try:
                pieces.append(_whole(piece if length == part else unpack(piece, part), part))
            except IndexError as error:  # of the decompressor in Python
                raise ValueError("a stream breaks off") from error
    return b"".join(pieces)


def _unfiltered(block: bytes, chunk: bytes, width: int) -> bytes:
    for place in range(5, -1, -1):
        code, typesize = chunk[16 + place], chunk[24 + place]
        if code == _SHUFFLE:
            block = unshuffled(block, typesize or width)
        elif code == _BITS:
            whole = len(block) // width // 8 * 8 * width
            block = bits_back(block[:whole], width) + block[whole:]
        elif code not in (0, _TRUNCATE):
            raise ValueError(f"its filter {code} is not undone here")
    return block


def _whole(piece: bytes, size: int) -> bytes:
    if len(piece) != size:
        raise ValueError(f"{len(piece):,} bytes are there, not {size:,}")
    return piece


# Arrays of several axes.


def _in_order(head: bytes, made: bytes, count: int) -> bytes:
    """The elements of an array in the order of C, whose chunk is laid out block by block."""
    place = head.find(_LAYER, _HEADER)
    if place < 0:
        return made
    (at,) = struct.unpack_from(">i", head, place + len(_LAYER))
    if not 0 < at <= len(head) - 8 or head[at] != 0xC6:
        raise ValueError("the shape of its blocks is not where it is said to be")
    layer = head[at + 5 : at + 5 + int.from_bytes(head[at + 1 : at + 5], "big")]
    axes = layer[2] if len(layer) > 2 else 0
    if not 0 < axes <= _AXES or len(layer) < 6 + 19 * axes:
        raise ValueError(f"its chunk has {axes} axes")
    shape = struct.unpack_from(f">{'xq' * axes}", layer, 4)
    chunk = struct.unpack_from(f">{'xi' * axes}", layer, 5 + 9 * axes)
    block = struct.unpack_from(f">{'xi' * axes}", layer, 6 + 14 * axes)
    if min(*chunk, *block, *shape) < 1 or count != 1:
        raise ValueError(f"an array of the shape {shape} has {count:,} chunks of {chunk}")
    grid = [-(-extent // part) for extent, part in zip(chunk, block, strict=True)]
    elements = math.prod(grid) * math.prod(block)
    if elements > len(made) or len(made) % elements:
        raise ValueError(f"{len(made):,} bytes hold no {elements:,} elements")
    blocks = np.frombuffer(made, f"V{len(made) // elements}").reshape(*grid, *block)
    order = [axis for pair in zip(range(axes), range(axes, 2 * axes), strict=True) for axis in pair]
    padded = blocks.transpose(order).reshape(
        [extent * part for extent, part in zip(grid, block, strict=True)]
    )
    return padded[tuple(slice(extent) for extent in chunk)].tobytes()
