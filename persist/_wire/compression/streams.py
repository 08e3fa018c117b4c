"""Decompressors behind one door: fed in pieces, bounded in what one call may make.

The door is that of ``bz2.BZ2Decompressor`` (PEP 3116's kin): ``decompress(data,
most)``, ``needs_input``, ``eof``, ``unused_data``. `Unpacking` walks one over a
range of a `Source`, and turns what goes wrong into errors with a place.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from persist._runtime.progress import current
from persist._wire.base.source import Source
from persist.errors import DamagedFileError, LimitError, MissingExtraError

if TYPE_CHECKING:
    import lzma

__all__ = ["Stream", "Unpacking", "bzip2", "deflate", "lz4", "lzma_of", "lzma_zip", "zstd"]

CHUNK = 1 << 20
_LZMA_MEMORY = 1 << 30  # a dictionary that a decoder may ask for; xz -9 wants 65 MiB


class Stream(Protocol):
    """One compressed stream on its way."""

    @property
    def eof(self) -> bool:
        """Whether its end was reached."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Input behind its end."""
        ...

    def decompress(self, data: Any, most: int) -> bytes:
        """Take ``data``, and return at most ``most`` bytes of what it gives."""
        ...


def bzip2() -> Stream:
    """Return a decompressor of one bzip2 stream."""
    import bz2

    return bz2.BZ2Decompressor()


def lzma_of(form: int) -> Stream:
    """Return a decompressor of one xz stream (``lzma.FORMAT_XZ``), or the older LZMA alone."""
    import lzma

    return lzma.LZMADecompressor(form, memlimit=_LZMA_MEMORY)


class _Deflate:
    """zlib's own decompressor, or that of isal, which is faster, behind the common door."""

    def __init__(self, bits: int) -> None:
        self._inner = _zlib().decompressobj(bits)
        self._tail = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return not self._tail

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    def decompress(self, data: object, most: int) -> bytes:
        part = self._inner.decompress(data if not self._tail else self._tail, most)
        self._tail = self._inner.unconsumed_tail
        return bytes(part)


def deflate(bits: int) -> Stream:
    """Return a decompressor of deflated data: ``bits`` -15 raw, 15 zlib, 31 gzip."""
    return _Deflate(bits)


def _zlib() -> Any:
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def lz4(source: Source) -> Stream:
    """Return a decompressor of one LZ4 frame.

    Raises:
        MissingExtraError: the library lz4 is not installed.
    """
    try:
        frame = importlib.import_module("lz4.frame")
    except ImportError as error:
        raise _missing(source, "LZ4", "lz4") from error
    stream: Stream = frame.LZ4FrameDecompressor()
    return stream


class _Zstd:
    """The library zstandard, which has no bound on what one call makes: it is fed in small bites.

    A block of four bytes can make 128 KiB (RFC 8878, RLE blocks), so 1 KiB makes 32 MiB at most.
    """

    BITE = 1024

    def __init__(self, library: Any) -> None:
        self._inner = library.ZstdDecompressor().decompressobj()
        self._input = memoryview(b"")
        self._output = memoryview(b"")

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof) and not self._output

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._output

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data) + bytes(self._input)

    def decompress(self, data: Any, most: int) -> bytes:
        if len(data):
            self._input = memoryview(bytes(data))
        while not self._output and self._input and not self._inner.eof:
            bite, self._input = self._input[: self.BITE], self._input[self.BITE :]
            self._output = memoryview(self._inner.decompress(bite))
        part, self._output = self._output[:most], self._output[most:]
        return bytes(part)


def zstd(source: Source) -> Stream:
    """Return a decompressor of one Zstandard frame: Python's own (3.14), or the library's.

    Raises:
        MissingExtraError: there is neither.
    """
    try:
        own = importlib.import_module("compression.zstd")
    except ImportError:
        pass
    else:
        stream: Stream = own.ZstdDecompressor()
        return stream
    try:
        return _Zstd(importlib.import_module("zstandard"))
    except ImportError as error:
        raise _missing(source, "Zstandard", "zstd") from error


def _missing(source: Source, what: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"it is compressed by {what}, and the library for that is not installed.",
        file=source.name,
        remedy=f"Install it with: pip install 'persist-state[{extra}]'",
    )


class _LzmaZip:
    """LZMA in a ZIP: two bytes of version, the properties' length, the properties, a raw stream."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: lzma.LZMADecompressor | None = None

    @property
    def eof(self) -> bool:
        return self._inner is not None and self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._inner is None or self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        return b"" if self._inner is None else self._inner.unused_data

    def decompress(self, data: Any, most: int) -> bytes:
        if self._inner is None:
            self._head += bytes(data)
            length = int.from_bytes(self._head[2:4], "little")
            if len(self._head) < 4 + length or len(self._head) < 4:
                return b""
            filters = [_lzma_filter(self._head[4 : 4 + length])]
            import lzma

            self._inner = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
            data, self._head = self._head[4 + length :], b""
        return self._inner.decompress(data, most)


def lzma_zip() -> Stream:
    """Return a decompressor of a ZIP member of method 14."""
    return _LzmaZip()


def _lzma_filter(properties: bytes) -> dict[str, object]:
    """The filter that five bytes of LZMA properties mean (``lzma`` has no public way to decode)."""
    if len(properties) != 5 or properties[0] >= 225:
        raise ValueError(f"LZMA properties {properties.hex()}")
    size = int.from_bytes(properties[1:5], "little")
    if size > _LZMA_MEMORY:
        raise LimitError(f"an LZMA dictionary of {size:,} bytes is claimed.")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    import lzma

    return {"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096), "lc": lc, "lp": lp, "pb": pb}


class Unpacking:
    """Feeds a range of a source to one stream, and gives what comes out in pieces.

    Args:
        source: where the compressed bytes stand.
        start: the first of them.
        end: behind the last of them.
        stream: a fresh decompressor.
        where: the place, for errors.

    Attributes:
        at: input taken so far; behind the stream's end when it was reached.
        made: bytes that came out so far.
    """

    def __init__(self, source: Source, start: int, end: int, stream: Stream, where: str) -> None:
        self.source = source
        self.at = start
        self.end = end
        self.stream = stream
        self.where = where
        self.made = 0

    def pieces(self, most: int | None = None, chunk: int = CHUNK) -> Iterator[bytes]:
        """Give what comes out, to its end or to ``most`` bytes.

        Args:
            most: bytes that are wanted; None is all.
            chunk: bytes that go in, and come out, at a time; where the data is broken, what the
                last of them would have given is lost.

        Raises:
            DamagedFileError: the compressed data is broken. That it breaks off
                is reported by ``stream.eof``.
        """
        stream, faults = self.stream, _faults()
        meter = current()
        while not stream.eof and (most is None or self.made < most):
            wanted = chunk if most is None else min(chunk, most - self.made)
            piece: Any = b""
            if stream.needs_input and self.at < self.end:
                piece = self.source.view(self.at, min(chunk, self.end - self.at))
                self.at += len(piece)
                if meter is not None:
                    meter.at("decompress", self.at, self.source.size, "bytes", self.source.name)
            try:
                part = stream.decompress(piece, wanted)
            except faults as error:
                raise DamagedFileError(
                    f"its compressed data is broken after {self.made:,} whole bytes ({error}).",
                    file=self.source.name,
                    where=self.where,
                    remedy="Copy the file again from where it came from; salvage=True gives what is "
                    "whole.",
                ) from error
            self.made += len(part)
            if part:
                yield part
            elif not len(piece):
                break
        if stream.eof:
            self.at -= len(stream.unused_data or b"")  # lz4 says None where nothing is left


def _faults() -> tuple[type[BaseException], ...]:
    """What the decompressors raise for broken data, those of libraries that are in use too."""
    faults: list[type[BaseException]] = [
        zlib.error, OSError, EOFError, ValueError, RuntimeError, MemoryError,
    ]  # fmt: skip
    libraries = {
        "lzma": "LZMAError",
        "isal.isal_zlib": "error",
        "zstandard": "ZstdError",
        "compression.zstd": "ZstdError",
    }
    for module, name in libraries.items():
        loaded = sys.modules.get(module)
        if loaded is not None:
            faults.append(getattr(loaded, name))
    return tuple(faults)
