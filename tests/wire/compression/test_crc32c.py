"""CRC-32C: published values, and NumPy's way equal to the processor's."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist._wire.compression import crc32c as module
from persist._wire.compression.crc32c import crc32c, mask, portable, unmask

# RFC 3720, appendix B.4, and the check value of the catalogue of parametrised CRC algorithms.
PUBLISHED = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


def by_bits(data: bytes) -> int:
    """The definition, a bit at a time."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


@pytest.mark.parametrize(("data", "value"), PUBLISHED)
def test_published_values(data: bytes, value: int) -> None:
    assert crc32c(data) == portable(data) == by_bits(data) == value


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_what_comes_after_continues_the_sum(first: bytes, second: bytes) -> None:
    whole = by_bits(first + second)
    assert portable(second, portable(first)) == whole
    assert crc32c(second, crc32c(first)) == whole


@pytest.mark.parametrize("size", [11_370, 11_371, 90_960, 90_961, 90_968, 1_500_000, 2_345_679])
def test_long_data_is_folded_to_the_same_sum(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    value = 12345
    for start in range(0, size, 5000):  # short enough to be summed byte by byte
        value = portable(data[start : start + 5000], value)
    assert portable(data, 12345) == value
    assert portable(b"!" + data, 12345) != value
    assert portable(memoryview(b"!" + data)[1:], 12345) == value  # words that lie unaligned


def test_what_words_are_folded_by_is_a_multiple_of_the_polynomial() -> None:
    degree = module._DEGREE
    terms = [degree, *(degree - distance for distance in module._DISTANCES)]
    value = sum(1 << term for term in terms)
    for bit in range(degree, 31, -1):
        if value >> bit & 1:
            value ^= 0x11EDC6F41 << bit - 32
    assert (value, terms[-1]) == (0, 0)


@pytest.mark.extra("crc32c")
def test_numpy_gives_what_the_processor_does() -> None:
    data = np.random.default_rng(1).bytes(1_000_003)
    assert portable(data) == crc32c(data)
    assert portable(memoryview(data)[7:], 99) == crc32c(memoryview(data)[7:], 99)


def test_without_the_extra_numpy_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crc32c", None)
    module._implementation.cache_clear()
    try:
        assert module._implementation() is portable
        assert crc32c(b"123456789") == 0xE3069283
    finally:
        module._implementation.cache_clear()


@given(st.integers(0, 0xFFFFFFFF))
def test_a_mask_is_taken_off_again(value: int) -> None:
    assert unmask(mask(value)) == value
    assert mask(value) != value


def test_the_mask_is_that_of_leveldb() -> None:
    # util/crc32c_test.cc: the sum of "foo" differs from its mask, and from the mask of that.
    value = crc32c(b"foo")
    assert mask(value) == ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert unmask(unmask(mask(mask(value)))) == value
