"""Write arrays as a tensor bundle: what ``tf.train.Saver`` (V2) and ``tf.train.load_checkpoint`` read.

Sources: those of `bundle` and `sstable`. All entries of a table are restarts, so that no key shares
bytes with the one before it, which every reader takes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from persist._wire.base import ml_dtypes
from persist._wire.compression.crc32c import crc32c, mask
from persist._wire.databases.sstable import FOOTER, MAGIC
from persist._wire.tensorflow.bundle import shard_name
from persist._wire.tensorflow.schemas import DTYPES, dtype_name
from persist.errors import FormatError

__all__ = ["write_bundle"]

_BLOCK = 1 << 18  # bytes of a block of the table, about
_NUMBERS = {dtype_name(number): number for number in DTYPES}


def write_bundle(arrays: Mapping[str, object], prefix: str) -> list[str]:
    """Write ``<prefix>.data-00000-of-00001`` and ``<prefix>.index``, and return their paths.

    The index is put in its place last, so that a checkpoint that is there is whole.

    Raises:
        FormatError: TensorFlow has no such type.
    """
    folder, name = os.path.split(prefix)
    paths = [os.path.join(folder, shard_name(name, 0, 1)), f"{prefix}.index"]
    parts = [f"{path}.part" for path in paths]
    try:
        rows = [(b"", _field(1, 1) + _message(3, _field(1, 1)))]  # one shard, version 1
        with open(parts[0], "wb") as data:
            at = 0
            for key, value in sorted(arrays.items(), key=lambda item: _key(item[0])):
                raw, number, shape = _encoded(value, key)
                rows.append((_key(key), _entry(number, shape, at, raw)))
                data.write(raw)
                at += len(raw)
        with open(parts[1], "wb") as index:
            index.write(_table(rows))
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)
    finally:
        for part in parts:
            if os.path.exists(part):
                os.unlink(part)
    return paths


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _encoded(array: Any, name: str) -> tuple[bytes, int, tuple[int, ...]]:
    kind = ml_dtypes.dtype_name(array.dtype)
    data = ml_dtypes.encoded(array) if kind == "bfloat16" else np.asarray(array)
    number = _NUMBERS.get(kind if kind == "bfloat16" else data.dtype.name)
    if number is None or data.dtype.hasobject or data.dtype.kind not in "biufcV":
        raise FormatError(
            f"TensorFlow's checkpoints have no arrays of {data.dtype}.",
            where=f"at {name!r}",
            remedy="Convert the array, or save it in another format.",
        )
    little = data if data.dtype.kind == "V" else data.astype(data.dtype.newbyteorder("<"))
    return little.tobytes(), number, tuple(data.shape)


# Protocol buffers, and the table.


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _entry(number: int, shape: tuple[int, ...], offset: int, raw: bytes) -> bytes:
    """A ``BundleEntryProto``: dtype, shape, offset, size, masked sum."""
    extents = b"".join(_message(2, _field(1, extent)) for extent in shape)
    total = struct.pack("<I", mask(crc32c(raw)))
    return (
        _field(1, number)
        + _message(2, extents)
        + _field(4, offset)
        + _field(5, len(raw))
        + _varint(6 << 3 | 5)
        + total
    )


def _table(rows: list[tuple[bytes, bytes]]) -> bytes:
    made = bytearray()
    index = []
    for last, block in _blocks(rows):
        index.append((last, _placed(made, block)))
    meta = _placed(made, _block([]))
    top = _placed(made, _block(index))
    footer = meta + top
    made += footer + bytes(FOOTER - len(MAGIC) - len(footer)) + MAGIC
    return bytes(made)


def _placed(made: bytearray, block: bytes) -> bytes:
    """Append a block with its trailer, and return its handle."""
    handle = _varint(len(made)) + _varint(len(block))
    stored = block + b"\0"  # not compressed
    made += stored + struct.pack("<I", mask(crc32c(stored)))
    return handle


def _blocks(rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    own: list[tuple[bytes, bytes]] = []
    size = 0
    for row in rows:
        own.append(row)
        size += len(row[0]) + len(row[1])
        if size > _BLOCK:
            yield own[-1][0], _block(own)
            own, size = [], 0
    if own:
        yield own[-1][0], _block(own)


def _block(rows: list[tuple[bytes, bytes]]) -> bytes:
    made = bytearray()
    restarts = []
    for key, value in rows:
        restarts.append(len(made))
        made += _varint(0) + _varint(len(key)) + _varint(len(value)) + key + value
    restarts = restarts or [0]
    return bytes(made) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
