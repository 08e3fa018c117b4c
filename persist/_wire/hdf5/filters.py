"""HDF5's filters: what was done to a chunk's bytes before they were stored, undone.

After the format specification, section IV.A.2.l, and the filters' sources:
``H5Zdeflate.c``, ``H5Zshuffle.c``, ``H5Zfletcher32.c``, ``H5Znbit.c`` and
``H5Zscaleoffset.c`` (see `hdf5_bits`); LZF after Marc Lehmann's ``lzf_d.c``, as
h5py ships it; LZ4 and Zstandard after The HDF Group's ``hdf5_plugins``; SZIP, Blosc
and bitshuffle in modules of their own. Numbers of filters: the group's list of
registered filters. Nothing is loaded for a filter that is not named here.
"""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Callable
from typing import Any, NoReturn

import attrs
import numpy as np

from persist._wire.compression import blosc, blosc2, lzo, szip
from persist._wire.hdf5 import bit_filters
from persist._wire.hdf5.cursor import Fields, Frame
from persist.errors import DamagedFileError, FormatError, MissingExtraError

__all__ = ["Filter", "Pipeline"]

_MOST = 32  # filters of one pipeline (H5Z_MAX_NFILTERS)
_SLACK = 4096

# Filters that are named and not undone: number -> name.
_NAMED = {
    306: "UCL", 32002: "MAFISC", 32003: "Snappy",
    32005: "APAX", 32006: "CBF", 32007: "JPEG-XR", 32009: "SPDP", 32010: "LPC-Rice", 32011: "CCSDS-123", 32012: "JPEG-LS", 32013: "ZFP", 32014: "FPZIP",
    32016: "B3D", 32017: "SZ", 32018: "FCIDECOMP", 32019: "JPEG", 32022: "Granular BitRound",
    32023: "Quantize", 32024: "SZ3", 32025: "Delta-Rice", 32028: "SPERR",
}  # fmt: skip


@attrs.frozen
class Filter:
    """One filter of a pipeline.

    Attributes:
        number: as registered with The HDF Group.
        name: its name in the file, or empty.
        values: its parameters.
    """

    number: int
    name: str
    values: tuple[int, ...]

    @property
    def title(self) -> str:
        """What people call it."""
        known = _UNDO.get(self.number)
        return known[0] if known else _NAMED.get(self.number, self.name or "an unregistered filter")


@attrs.frozen
class Pipeline:
    """The filters of a dataset, in the order in which they were applied."""

    filters: tuple[Filter, ...]

    @classmethod
    def of(cls, fields: Fields) -> Pipeline:
        """Read a filter pipeline message."""
        version = fields.version(1, 2)
        count = fields.byte()
        if count > _MOST:
            fields.damaged(f"{count} filters are claimed, there are {_MOST} at most")
        fields.skip(6 if version == 1 else 0)
        found = []
        for _ in range(count):
            number = fields.number(2)
            length = fields.number(2) if version == 1 or number >= 256 else 0
            fields.skip(2)
            values = fields.number(2)
            name = fields.take(length + (-length % 8 if version == 1 else 0))
            title = name.partition(b"\0")[0].decode("utf-8", "replace")
            read = tuple(fields.number(4) for _ in range(values))
            fields.skip(4 if version == 1 and values % 2 and fields.left >= 4 else 0)
            found.append(Filter(number, title, read))
        return cls(tuple(found))

    @property
    def unknown(self) -> list[Filter]:
        """The filters that cannot be undone here."""
        return [one for one in self.filters if one.number not in _UNDO]

    def undo(
        self, frame: Frame, data: memoryview | bytes, size: int, mask: int, where: str
    ) -> bytes | memoryview:
        """Return the bytes as they were before the filters.

        Args:
            frame: the file.
            data: the stored bytes.
            size: bytes that must come out.
            mask: bit ``i`` says that filter ``i`` was left out.
            where: for errors.

        Raises:
            FormatError: a filter is unknown.
            DamagedFileError: the bytes are not what the filters make.
        """
        for number in range(len(self.filters) - 1, -1, -1):
            if mask >> number & 1:
                continue
            one = self.filters[number]
            if one.number not in _UNDO:
                _refuse(frame, one, where)
            try:
                data = _UNDO[one.number][1](data, one.values, 2 * size + _SLACK)
            except (FormatError, MissingExtraError) as error:
                raise error.at(frame.source.name, where) from error.__cause__
            except Exception as error:  # what the decompressors raise
                raise DamagedFileError(
                    f"its bytes are not what {one.title} makes ({str(error)[:120]}).",
                    file=frame.source.name,
                    where=where,
                    remedy="The file is damaged; copy it again from where it came from.",
                ) from error
        if len(data) != size:
            frame.damaged(f"{len(data):,} bytes come out of its filters, not {size:,}", where)
        return data


def _refuse(frame: Frame, one: Filter, where: str) -> NoReturn:
    title = f"filter {one.number}" if one.title == one.name else f"filter {one.number}, {one.title}"
    frame.refuse(
        f"it is stored with {title}, which is not supported.",
        where,
        "Everything else in the file can be read. Read this with h5py and hdf5plugin (or the "
        "PyTables of its time), and save it again without the filter.",
    )


@functools.cache
def _inflate_with() -> Any:
    """The fastest inflater that is here (extra ``fast``)."""
    try:
        return importlib.import_module("isal.isal_zlib").decompressobj
    except ImportError:
        return zlib.decompressobj


def _deflate(data: object, values: tuple[int, ...], most: int) -> bytes:
    stream = _inflate_with()()
    made: bytes = stream.decompress(data, most)
    if not stream.eof:
        raise ValueError("the stream has no end, or too much in it")
    return made


def _bzip2(data: Any, values: tuple[int, ...], most: int) -> bytes:
    import bz2

    stream = bz2.BZ2Decompressor()
    made = stream.decompress(data, most)
    if not stream.eof:
        raise ValueError("the stream has no end, or too much in it")
    return made


def _shuffle(data: Any, values: tuple[int, ...], most: int) -> bytes | memoryview:
    size = values[0] if values else 1
    if size <= 1 or size > len(data):
        return data  # type: ignore[no-any-return]
    count = len(data) // size
    planes = np.frombuffer(data, np.uint8, count * size).reshape(size, count)
    if size in (2, 4, 8) and count * size == len(data):  # shifting whole words is the fastest
        words = planes[-1].astype(f"<u{size}")
        for plane in planes[-2::-1]:
            words <<= 8
            words |= plane
        return memoryview(words.view(np.uint8))  # type: ignore[arg-type,unused-ignore]
    made = np.empty((count, size), np.uint8)
    for place, plane in enumerate(planes):
        made[:, place] = plane
    return made.tobytes() + bytes(data[count * size :])


def _fletcher32(data: Any, values: tuple[int, ...], most: int) -> memoryview:
    body, stored = memoryview(data)[:-4], bytes(memoryview(data)[-4:])
    made = _fletcher(body)
    # HDF5 1.6.2 and older wrote the two halves of the checksum in the opposite order.
    swapped = bytes((stored[1], stored[0], stored[3], stored[2])) if len(stored) == 4 else b""
    if made.to_bytes(4, "little") not in (stored, swapped):
        raise ValueError(f"the checksum is {made:08x}, not {stored[::-1].hex()}")
    return body


def _fletcher(data: memoryview) -> int:
    """``H5_checksum_fletcher32``: big-endian 16-bit words, sums modulo 65535."""
    words = np.frombuffer(data, ">u2", len(data) // 2).astype(np.int64)
    if len(data) % 2:
        words = np.append(words, data[-1] << 8)
    first = second = 0
    for at in range(0, len(words), 1 << 16):
        part = words[at : at + (1 << 16)]
        count = len(part)
        weights = np.arange(count, 0, -1, dtype=np.int64)
        second = (second + count * first + int((part * weights).sum())) % 65535
        first = (first + int(part.sum())) % 65535
    # The library folds instead of dividing, so that a sum is 0 only where all words are.
    if words.any():
        first, second = first or 65535, second or 65535
    return second << 16 | first


def _lzf(data: Any, values: tuple[int, ...], most: int) -> bytes:
    """LZF: a byte below 32 leads literals; else its top bits are a length, the rest a distance."""
    packed = bytes(data)
    made = bytearray()
    at, end = 0, len(packed)
    while at < end:
        control = packed[at]
        at += 1
        if control < 32:
            made += packed[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += packed[at]
            at += 1
        start = len(made) - ((control & 31) << 8) - packed[at] - 1
        at += 1
        length += 2
        if start < 0:
            raise ValueError("a distance leads before the beginning")
        piece = made[start : start + length]
        while len(piece) < length:  # what it repeats is itself still being made
            piece += piece[: length - len(piece)]
        made += piece
        if len(made) > most:
            raise ValueError("too much is in it")
    return bytes(made)


def _lz4(data: Any, values: tuple[int, ...], most: int) -> bytes:
    packed = bytes(data)
    size, piece = int.from_bytes(packed[:8], "big"), int.from_bytes(packed[8:12], "big")
    if size > most or not 0 < piece <= most:
        raise ValueError(f"{size:,} bytes are claimed")
    made, at = bytearray(), 12
    while len(made) < size:
        length = int.from_bytes(packed[at : at + 4], "big")
        part = packed[at + 4 : at + 4 + length]
        wanted = min(piece, size - len(made))
        made += part if length == wanted else _unlz4(part, wanted)
        at += 4 + length
        if not length:
            raise ValueError("an empty block")
    return bytes(made)


def _zstd(data: Any, values: tuple[int, ...], most: int) -> bytes:
    made = _unzstd(bytes(data), most)
    if len(made) > most:
        raise ValueError("too much is in it")
    return made


def _unlz4(data: bytes, size: int) -> bytes:
    made: bytes = _extra("lz4.block", "lz4", "lz4").decompress(data, uncompressed_size=size)
    return made


def _unzstd(data: bytes, size: int) -> bytes:
    """What is in it, but no more than one byte above ``size``."""
    library = _extra("zstandard", "zstd", "zstandard")
    made: bytes = library.ZstdDecompressor().stream_reader(data).read(size + 1)
    return made


def _blosc(data: Any, values: tuple[int, ...], most: int) -> bytes:
    return blosc.undo(bytes(data), most, _UNPACKERS)


def _blosc2(data: Any, values: tuple[int, ...], most: int) -> bytes:
    return blosc2.undo(bytes(data), most, _UNPACKERS)


def _lzo(data: Any, values: tuple[int, ...], most: int) -> bytes:
    return lzo.undo(bytes(data), most)


def _bitshuffle(data: Any, values: tuple[int, ...], most: int) -> bytes:
    return blosc.bitshuffled(bytes(data), values, most, _UNPACKERS)


def _extra(module: str, extra: str, library: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"its filter needs the library {library}.",
            remedy=f"Install it with: pip install 'persist-state[{extra}]'",
        ) from error


_UNPACKERS: dict[str, blosc.Unpack] = {"LZ4": _unlz4, "Zstandard": _unzstd}

_Undo = Callable[[Any, tuple[int, ...], int], Any]
_UNDO: dict[int, tuple[str, _Undo]] = {
    1: ("deflate", _deflate),
    2: ("shuffle", _shuffle),
    3: ("Fletcher32", _fletcher32),
    4: ("SZIP", szip.undo),
    5: ("N-bit", bit_filters.nbit),
    6: ("scale-offset", bit_filters.scaleoffset),
    305: ("LZO", _lzo),
    307: ("bzip2", _bzip2),
    32000: ("LZF", _lzf),
    32001: ("Blosc", _blosc),
    32004: ("LZ4", _lz4),
    32008: ("bitshuffle", _bitshuffle),
    32015: ("Zstandard", _zstd),
    32026: ("Blosc2", _blosc2),
}
