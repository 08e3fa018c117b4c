"""What many small values make together is counted against the limits of the one file that holds them."""

from __future__ import annotations

import array
import bz2
import gzip
import lzma
import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import persist
from persist._wire.base.source import open_source
from persist._wire.tensorflow.tensors import fill
from persist.errors import LimitError

P = b"\x80\x04"


def widened(items: int, copies: int) -> bytes:
    """A pickle whose one text of bytes becomes ``copies`` arrays of eight bytes an item."""
    data = P + b"B" + struct.pack("<I", items) + bytes(items) + b"\x94\x30]("
    one = b"carray\n_array_reconstructor\n(carray\narray\nX\x01\x00\x00\x00qK\x01h\x00tR"
    return data + one * copies + b"e."


def test_bytes_that_become_wide_items_are_charged_as_wide_ones() -> None:
    assert persist.open(widened(4, 2)).tree == [array.array("q", [0] * 4)] * 2
    data = widened(1_000_000, 60)
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="copied again and again"):
            persist.open(data).tree  # noqa: B018
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 << 20


def test_repeated_values_of_tensorflow_are_counted_together() -> None:
    source = open_source(bytes(2000), limits={"total": 1 << 20})
    one = np.ones(1, np.float32)
    shape = (1 << 16,)  # 256 KiB once it is made
    for _ in range(4):
        assert fill(one, shape, source, "a tensor").shape == shape
    with pytest.raises(LimitError, match="more than 1,048,576 bytes"):
        fill(one, shape, source, "a tensor")


def test_a_repeated_value_that_is_read_again_is_counted_once() -> None:
    source = open_source(bytes(2000), limits={"total": 1 << 20})
    one, shape = np.ones(1, np.float32), (1 << 18,)
    fill(one, shape, source, "a tensor")
    assert fill(one, shape, source, "a tensor", is_counted=True).shape == shape


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_opcodes_are_counted_by_the_bytes_on_disk(pack: Callable[[bytes], bytes]) -> None:
    data = pack(P + b"N0" * 1_000_000 + b"N.")
    assert len(data) < 8_000
    with pytest.raises(LimitError, match="1,000,000 opcodes"):
        persist.open(data).tree  # noqa: B018
    assert persist.open(data, limits={"opcodes": 4_000_000}).tree is None
