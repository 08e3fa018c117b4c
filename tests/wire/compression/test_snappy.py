"""Snappy blocks: laid by hand after the format's description, and broken in every way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist._wire.base.source import open_source
from persist._wire.compression.snappy import decompress
from persist.errors import DamagedFileError, FormatError, LimitError


def length(size: int) -> bytes:
    out = b""
    while size >= 0x80:
        out += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return out + bytes((size,))


def literal(data: bytes, wide: bool = False) -> bytes:
    count = len(data) - 1
    if count < 60 and not wide:
        return bytes((count << 2,)) + data
    width = max(1, (count.bit_length() + 7) // 8)
    return bytes((59 + width << 2,)) + count.to_bytes(width, "little") + data


def copy(offset: int, count: int) -> bytes:
    if 4 <= count <= 11 and offset < 2048:
        return bytes((offset >> 8 << 5 | count - 4 << 2 | 1, offset & 0xFF))
    if offset < 65_536:
        return bytes((count - 1 << 2 | 2,)) + offset.to_bytes(2, "little")
    return bytes((count - 1 << 2 | 3,)) + offset.to_bytes(4, "little")


def opened(data: bytes, **limits: int) -> bytes:
    source = open_source(data, limits=limits)
    return decompress(memoryview(data), source, "block at offset 0")


@given(st.lists(st.one_of(
    st.tuples(st.just("literal"), st.binary(min_size=1, max_size=200), st.booleans()),
    st.tuples(st.just("copy"), st.integers(1, 70_000), st.integers(1, 64)),
), max_size=40))  # fmt: skip
def test_literals_and_copies(elements: list[tuple[object, ...]]) -> None:
    whole, data = b"", b""
    for kind, first, second in elements:
        if kind == "literal":
            assert isinstance(first, bytes)
            whole += first
            data += literal(first, bool(second))
        else:
            assert isinstance(first, int)
            assert isinstance(second, int)
            offset = min(first, len(whole))
            if not offset:
                continue
            for _ in range(second):
                whole += whole[-offset : len(whole) - offset + 1]
            data += copy(offset, second)
    assert opened(length(len(whole)) + data) == whole


def test_far_copies_and_long_literals() -> None:
    noise = bytes(number * 7 & 0xFF for number in range(70_000))
    data = length(70_064) + literal(noise) + copy(70_000, 64)
    assert opened(data) == noise + noise[:64]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x80\x80\x80\x80",
        length(4) + copy(1, 4),  # nothing to copy yet
        length(5) + literal(b"a") + copy(2, 4),
        length(5) + literal(b"a") + copy(0, 4),
        length(3) + literal(b"abcd"),
        length(5) + literal(b"abcd"),
        length(4) + literal(b"abcd")[:-1],
        length(8) + b"\xf4\x07",
        length(8) + literal(b"abcd") + b"\x02",
    ],
)
def test_broken_blocks_are_reported(data: bytes) -> None:
    with pytest.raises(DamagedFileError, match="snappy"):
        opened(data)


def test_a_length_that_cannot_be_is_refused_before_anything_is_made() -> None:
    with pytest.raises(DamagedFileError, match="cannot hold"):
        opened(length((1 << 32) - 1) + literal(b"abcd"))


def test_what_is_made_counts() -> None:
    data = length(6401) + literal(b"a") + copy(1, 64) * 100
    assert opened(data) == b"a" * 6401
    with pytest.raises(LimitError):
        opened(data, total=6400)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        assert isinstance(opened(data), bytes)
    except FormatError as error:
        assert "snappy" in error.what or "make more" in error.what
