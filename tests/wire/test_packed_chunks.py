"""SZIP, Blosc and bitshuffle: what is torn or lies is a `ValueError`, in little time and memory."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import persist
from persist._wire import blosc, szip
from persist.errors import PersistError

CASE = Path(__file__).parents[1] / "corpus" / "hdf5" / "h5py-3.16-filters" / "filters.h5"
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
def test_a_blosc_chunk_that_lies_is_told(data: bytes) -> None:
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
def test_a_bitshuffled_chunk_that_lies_is_told(data: bytes, values: tuple[int, ...]) -> None:
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
def test_an_szip_chunk_that_lies_is_told(data: bytes, values: tuple[int, ...]) -> None:
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
