"""SZIP, LZO, both Bloscs and bitshuffle: what is torn or lies is a `ValueError`, in little time and memory."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

import persist
from persist._wire.compression import blosc, blosc2, lzo, szip
from persist.errors import PersistError

CASE = Path(__file__).parents[2] / "corpus" / "hdf5" / "h5py-3.16-filters" / "filters.h5"
MOST = 1 << 20


def header(flags: int, width: int, size: int, step: int, stored: int = 0) -> bytes:
    return bytes([2, 1, flags, width]) + np.array([size, step, stored], "<u4").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header(0, 4, 1 << 31, 1 << 16),
        header(0, 4, 4096, 0),
        header(0, 4, 4096, 1) + bytes(400),
        header(7 << 5, 4, 4096, 4096) + bytes(400),
        header(2, 4, 4096, 4096) + bytes(400),
        header(16, 4, 4096, 4096) + np.array([20, 5], "<u4").tobytes() + b"\x00\x00\xff\xff\xff",
        header(16, 4, 4096, 4096) + np.array([1 << 31], "<u4").tobytes(),
    ],
)
def test_a_blosc_chunk_that_lies_is_reported(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        blosc.undo(data, MOST, {})


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"", (0, 0, 4, 0, 2)),
        (bytes(12), (0, 3, 0)),
        (bytes(12), (0, 3, 4, 0, 9)),
        ((1 << 40).to_bytes(8, "big") + bytes(40), (0, 3, 4, 0, 2)),
        ((4096).to_bytes(8, "big") + (12).to_bytes(4, "big") + bytes(40), (0, 3, 4, 0, 2)),
    ],
)
def test_a_bitshuffled_chunk_that_lies_is_reported(data: bytes, values: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, KeyError)):
        blosc.bitshuffled(data, values, MOST, {})


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"\xff\xff\xff\x7f" + bytes(9), (32, 8, 8, 16)),
        (b"\x40\0\0\0", (32, 8, 8, 16)),
        (b"\x40\0\0\0" + bytes(40), (32, 7, 8, 16)),
        (b"\x40\0\0\0" + bytes(40), (32, 8, 99, 16)),
        (b"\x40\0\0\0" + bytes(40), (32, 8, 8, 1 << 30)),
        (b"\x40\0\0\0" + bytes(40), (32, 8)),
    ],
)
def test_an_szip_chunk_that_lies_is_reported(data: bytes, values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        szip.undo(data, values, MOST)


def test_zero_bytes_of_szip_are_a_run_and_end() -> None:
    """The shortest code there is: a line of nothing takes few bits."""
    lines = np.packbits(np.tile([0, 0, 0, 0, 0, 0, 0, 0, 1], 128)).tobytes()
    made = szip.undo((1 << 16).to_bytes(4, "little") + lines, (0, 8, 8, 1024), MOST)
    assert len(made) == 1 << 16


def test_flipped_bits_give_values_or_an_error_of_ours() -> None:
    chance, data = random.Random(4), CASE.read_bytes()
    tracemalloc.start()
    for _ in range(12):
        torn = bytearray(data)
        for _ in range(400):
            torn[chance.randrange(4096, len(torn))] ^= 1 << chance.randrange(8)
        try:
            with persist.open(bytes(torn), verify="never", salvage=True) as file:
                for array in file.arrays.values():
                    try:
                        np.asarray(array)
                    except PersistError as error:
                        assert str(error)
        except PersistError:
            continue
    assert tracemalloc.get_traced_memory()[1] < 300 << 20
    tracemalloc.stop()


# LZO.

END = b"\x11\x00\x00"


@pytest.mark.parametrize(
    ("data", "made"),
    [
        (b"\x15abcd" + END, b"abcd"),  # literals at the beginning
        (b"\x13ab" + b"\x00\x00" + END, b"abbb"),  # two of them, then a match of two
        (b"\x01abcd" + END, b"abcd"),  # a run of literals
        (b"\x00\x00\x05" + bytes(range(100)) * 3 + END, None),  # a long one: too few are there
        (b"\x15abcd" + b"\x6c\x00" + END, b"abcd" + b"abcd"),  # up to 8 bytes, distance 4
        (b"\x15abcd" + b"\x23\x0c\x00" + END, b"abcd" + b"abcda"),  # more of them
        (b"\x15abcd" + b"\x20\x01\x0c\x00" + END, b"abcd" + b"abcd" * 8 + b"ab"),
        (b"\x15abcd" + b"\x6d\x00x" + END, b"abcd" + b"abcd" + b"x"),  # with a literal behind
        (END, b""),
    ],
)
def test_every_form_of_lzo(data: bytes, made: bytes | None) -> None:
    if made is None:
        with pytest.raises((ValueError, IndexError)):
            lzo.undo(data, MOST)
    else:
        assert lzo.undo(data, MOST) == made
        checksum = zlib.adler32(made).to_bytes(4, "little")
        assert lzo.undo(data + checksum, MOST) == made
        with pytest.raises(ValueError, match="checksum"):
            lzo.undo(data + bytes(4), MOST)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x15ab", b"\x15abcd", b"\x15abcd\x6c\x09" + END, b"\x15abcd" + b"\x20" + bytes(9000) + b"\x01\x0c\x00" + END],
)  # fmt: skip
def test_a_stream_of_lzo_that_lies_is_reported(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        lzo.undo(data, MOST)


@pytest.mark.parametrize("case", ["3.5.2-py27-lzo", "3.11.1-py311-blosc2"])
def test_torn_files_of_pytables_are_reported(case: str) -> None:
    data = (CASE.parents[1] / f"pytables-{case}" / "run.h5").read_bytes()
    chance = random.Random(5)
    places = [at for mark in (b"b2frame", b"LZO", b"lzo") for at in _places(data, mark)] or [0]
    for _ in range(120):
        torn = bytearray(data)
        at = chance.choice(places) + chance.randrange(0, 400)
        torn[at : at + 4] = chance.randbytes(4)
        try:
            with persist.open(bytes(torn)) as file:
                for name in file.arrays:
                    np.asarray(file.arrays[name])
        except PersistError:
            continue


def _places(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


# Blosc2.


def frame(
    *chunks: bytes, size: int, step: int, index: bytes | None = None, width: int = 4
) -> bytes:
    """A frame of these chunks, as c-blosc2 writes it."""
    at, places = 0, []
    for chunk in chunks:
        places.append(at)
        at += len(chunk)
    reported = np.array(places, "<i8").tobytes() if index is None else index
    body = b"".join(chunks)
    head = (
        b"\x9e\xa8b2frame\0\xd2"
        + (97).to_bytes(4, "big")
        + b"\xcf"
        + bytes(8)
        + b"\xa4\x12\0\x10\0"
    )
    head += b"\xd3" + size.to_bytes(8, "big") + b"\xd3" + len(body).to_bytes(8, "big")
    head += b"".join(b"\xd2" + number.to_bytes(4, "big") for number in (width, step, step))
    return head.ljust(97, b"\0") + body + long(7, 8, len(reported), len(reported), reported)


def long(flags: int, width: int, size: int, step: int, data: bytes, special: int = 0) -> bytes:
    """A chunk with the long header."""
    filters = bytes(6) + b"\0\0" + bytes(6) + b"\0"
    head = bytes((5, 1, flags, width)) + np.array([size, step, 32 + len(data)], "<i4").tobytes()
    return head + filters + bytes((special << 4,)) + data


def test_what_blosc2_tells_in_one_word() -> None:
    plain = long(7, 4, 8, 8, b"abcdefgh")
    value = long(5, 4, 8, 8, b"wxyz", special=3)
    places = [0, -(1 << 63) | 1 << 56, len(plain), -(1 << 63) | 2 << 56]
    made = blosc2.undo(
        frame(plain, value, size=30, step=8, index=np.array(places, "<i8").tobytes()), MOST, {}
    )
    assert made[:24] == b"abcdefgh" + bytes(8) + b"wxyzwxyz"
    blocks = np.array([36], "<i4").tobytes() + np.array([-7], "<i4").tobytes() + b"\x01"
    assert blosc2.undo(frame(long(0x15, 4, 9, 9, blocks), size=9, step=9), MOST, {}) == b"\x07" * 9
    assert blosc2.undo(frame(size=0, step=0), MOST, {}) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(200),
        frame(size=1 << 40, step=8),
        frame(size=16, step=0),
        frame(size=16, step=8),
        frame(long(7, 4, 8, 8, b"abc"), size=8, step=8),
        frame(long(5, 4, 8, 8, b""), size=8, step=8),
        frame(long(5, 4, 8, 8, bytes(4)), size=8, step=8),
        frame(long(5, 4, 8, 8, np.array([-5], "<i4").tobytes()), size=8, step=8),
        frame(long(5, 4, 8, 8, bytes(8), special=5), size=8, step=8),
        frame(long(0xC5, 4, 8, 8, bytes(8)), size=8, step=8),
        frame(long(7, 4, 1 << 30, 8, bytes(8)), size=8, step=8),
        frame(long(7, 4, 8, 8, bytes(8)), size=8, step=8, index=b"\xff" * 7 + b"\x7f"),
    ],
)
def test_a_blosc2_frame_that_lies_is_reported(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        blosc2.undo(data, MOST, {})
