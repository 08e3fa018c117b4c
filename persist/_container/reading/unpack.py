"""Unpacking the bytes of compressed members: all of them, or the beginning.

Methods are ZIP's (``docs/container.md``, section 1): 8 is deflate, 93 Zstandard.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from persist._container.checksums import CHUNK
from persist._container.layout import METHODS
from persist._wire.base.source import Source
from persist.errors import MissingExtraError

__all__ = ["unpacked", "unpacked_begin"]

_PEEK = {METHODS["deflate"]: 1 << 12, METHODS["zstd"]: 1 << 18}  # packed bytes of a beginning


def unpacked_begin(
    source: Source, offset: int, method: int, packed: int, count: int
) -> bytes | None:
    """Return the first bytes of a packed member, or None if more than a beginning is needed for them.

    Args:
        source: of the container.
        offset: where the packed bytes begin.
        method: of ZIP.
        packed: the number of packed bytes.
        count: how many bytes are wanted; fewer where the member has no more.
    """
    data: Any = source.view(offset, min(_PEEK[method], packed))
    is_all = packed <= _PEEK[method]
    try:
        if method == METHODS["deflate"]:
            begun = zlib.decompressobj(-15).decompress(data, count)
        else:
            with _zstandard(source).stream_reader(bytes(data)) as stream:
                begun = stream.read(count)
    except Exception:  # damaged, or cut: unpacking all of it reports which
        return None
    return bytes(begun) if len(begun) == count or is_all else None


def _zstandard(source: Source) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError(
            "a member is compressed with zstd, whose library is not installed.",
            file=source.name,
            remedy="Install it with: pip install 'persist-state[zstd]'",
        ) from error
    return zstandard.ZstdDecompressor(max_window_size=1 << 27)


def unpacked(source: Source, offset: int, method: int, packed: int) -> Iterator[bytes]:
    """Inflate a member piece by piece, never more at a time than a chunk."""
    if method == METHODS["deflate"]:
        unpacker = zlib.decompressobj(-15)
        for at in range(0, packed, CHUNK):
            data: Any = source.view(offset + at, min(CHUNK, packed - at))
            while data:
                yield unpacker.decompress(data, CHUNK)
                data = unpacker.unconsumed_tail
        while not unpacker.eof:
            piece = unpacker.decompress(b"", CHUNK)
            if not piece:
                raise ValueError("it breaks off")
            yield piece
        if unpacker.unused_data:
            raise ValueError("bytes follow its end")
        return
    reader = _zstandard(source)
    import zstandard

    try:
        with reader.stream_reader(bytes(source.view(offset, packed))) as stream:
            while piece := stream.read(CHUNK):
                yield piece
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
